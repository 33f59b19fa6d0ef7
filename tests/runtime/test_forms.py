"""The forms that our own sessions run compute what the exported ones do."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

import onnx_ig
from onnx_ig.runtime.forms import (
    ClipForHardSigmoidPass,
    ComputeOutsideScansPass,
    HardSwishInAnyLayoutPass,
    InterleaveBySelectionPass,
    KeepRowsApartPass,
    KeepStatisticsPass,
    MaskInAnyLayoutPass,
    SelectByMasksPass,
    UseRecurrentLibraryPass,
    WalkBackwardsPass,
)
from tests.helpers.agreement import agree

MASK = '<ir_version: 8, opset_import: ["" : 18]> g ({type}[N] y) => ({type}[N] m) <{type} bound = {{{bound}}}>'
GREATER = "{{ c = Greater (y, bound)  m = Cast <to = {to}> (c) }}"
RECURRENT = """<ir_version: 8, opset_import: ["" : 18]>
    g (float[5, N, 3] x, float[2, {gates}, 3] w, float[2, {gates}, 4] r) => (float[5, 2, N, 4] y)
    {{ y = {kind} <hidden_size = 4, direction = "bidirectional"> (x, w, r) }}"""


@pytest.mark.parametrize(
    ("type_", "to", "bound", "replaced"),
    [("float", 1, 0, True), ("float", 1, 1, False), ("double", 11, 0, False), ("float16", 10, 0, False)],
)
def test_masks(type_: str, to: int, bound: int, replaced: bool) -> None:
    text = MASK.format(type=type_, bound=bound) + GREATER.format(to=to)
    model = onnx.parser.parse_model(text)
    numbers = np.array([-np.inf, -1, -1e-38, 0, 1.2e-38, 1e-7, 1, 3e38, np.inf], np.float32)
    with np.errstate(over="ignore"):
        feeds = {"y": numbers.astype(onnx.helper.tensor_dtype_to_np_dtype(to))}
    changed = ir.from_proto(model)
    assert MaskInAnyLayoutPass()(changed).modified == replaced
    assert [node.op_type for node in changed.graph] == (["HardSigmoid"] if replaced else ["Greater", "Cast"])
    agree(model, changed, feeds)


@pytest.mark.parametrize(
    ("nodes", "replaced"),
    [
        ("y = Mul(m, dy)", True),
        ("a = Mul(dy, m) b = Mul(m, x) y = Add(a, b)", True),
        ("a = Mul(dy, m) y = Add(a, m)", False),  # the numbers are read too
        ("y = Mul(m, m)", False),
    ],
)
@pytest.mark.parametrize(("type_", "to"), [("float", 1), ("double", 11), ("int64", 7)])
def test_masks_by_selection(nodes: str, replaced: bool, type_: str, to: int) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 18]> g ({type_}[N] x, {type_}[N] dy) => ({type_}[N] y)
    {{ c = Greater(x, dy) m = Cast<to = {to}>(c) {nodes} }}"""
    model = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text), data_prop=True)
    changed = ir.from_proto(model)
    SelectByMasksPass()(changed)
    floats = to != 7
    assert ("Where" in [node.op_type for node in changed.graph]) == (replaced and floats)
    rng = np.random.default_rng(0)
    feeds = {n: rng.normal(size=9).astype(onnx.helper.tensor_dtype_to_np_dtype(to)) for n in ("x", "dy")}
    agree(model, changed, feeds)


def test_a_layer_normalisation_keeps_its_statistics() -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (float[N, 3, 8] x, float[8] s, float[8] b) => (float[N, 3, 8] y)
    { t = Sin(x) u = LayerNormalization<epsilon = 1e-12>(t, s, b) v = LayerNormalization(u, s) y = Add(u, v) }"""
    model = onnx_ig.differentiate(onnx.parser.parse_model(text), wrt=["x"])
    changed = ir.from_proto(model)
    KeepStatisticsPass()(changed)
    before, after = (Counter(node.op_type for node in graph) for graph in (ir.from_proto(model).graph, changed.graph))
    assert before - after == Counter(ReduceMean=4, Mul=2, Add=2, Sqrt=2, Reciprocal=2) and not after - before
    rng = np.random.default_rng(0)
    shapes = {"x": (2, 3, 8), "s": (8,), "b": (8,), "cotangent_y": (2, 3, 8)}
    feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    agree(model, changed, feeds, rtol=1e-4)


@pytest.mark.parametrize(("shape", "replaced"), [("N, 2, H, W", True), ("N, C, 3, 3", False), ("N, 2, 9", False)])
def test_hard_swish_by_its_square(shape: str, replaced: bool) -> None:
    text = f'<ir_version: 8, opset_import: ["" : 18]> g (float[{shape}] x) => (float[{shape}] y)'
    model = onnx_ig.differentiate(onnx.parser.parse_model(text + "{ y = HardSwish(x) }"))
    changed = ir.from_proto(model)
    assert HardSwishInAnyLayoutPass()(changed).modified == replaced
    assert ("Conv" in [node.op_type for node in changed.graph]) == replaced
    up, down = np.nextafter(np.float32(3), np.float32([np.inf, 0]))
    x = np.array(
        [-1e18, -up, -3, -down, -1, -1e-30, 0, 1e-7, 0.5, 2.999, down, 3, up, 3.001, 50, 1e18, 1, 2], np.float32
    )
    x = x.reshape({4: (1, 2, 3, 3), 3: (1, 2, 9)}[shape.count(",") + 1])
    dy = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    agree(model, changed, {"x": x, "cotangent_y": dy}, rtol=1e-6)


def test_two_derivatives_of_one_hard_swish() -> None:
    """Each has constants of its own: two initialisers of one name would make the model malformed."""
    derivative = "a{i} = Abs(x) l{i} = Less(a{i}, three) c{i} = Cast<to = 1>(l{i}) s{i} = Sub(h, half)"
    twice = " ".join((derivative + " m{i} = Mul(c{i}, s{i}) g{i} = Add(h, m{i})").format(i=i) for i in (1, 2))
    text = f"""<ir_version: 8, opset_import: ["" : 18]> g (float[N, 2, 3, 3] x) => (float[N, 2, 3, 3] y)
    <float three = {{3}}, float half = {{0.5}}>
    {{ z = HardSwish(x) h = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) {twice} g = Add(g1, g2) y = Add(g, z) }}"""
    model = onnx.parser.parse_model(text)
    changed = ir.from_proto(model)
    assert HardSwishInAnyLayoutPass()(changed).modified
    assert [node.op_type for node in changed.graph].count("Conv") == 2
    x = 3 * np.random.default_rng(0).normal(size=(2, 2, 3, 3)).astype(np.float32)
    agree(model, changed, {"x": x}, rtol=1e-5)


@pytest.mark.parametrize(("kind", "gates"), [("RNN", 4), ("GRU", 12), ("LSTM", 16)])
def test_scans_walk_backwards(kind: str, gates: int) -> None:
    model = onnx_ig.differentiate(onnx.parser.parse_model(RECURRENT.format(kind=kind, gates=gates)))
    rng = np.random.default_rng(0)
    shapes = {"x": (5, 2, 3), "w": (2, gates, 3), "r": (2, gates, 4), "cotangent_y": (5, 2, 2, 4)}
    feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    changed = ir.from_proto(model)
    assert WalkBackwardsPass()(changed).modified
    before, after = (Counter(node.op_type for node in graph) for graph in (ir.from_proto(model).graph, changed.graph))
    assert after["Slice"] < before["Slice"]
    assert before - Counter(Slice=before["Slice"]) == after - Counter(Slice=after["Slice"])
    agree(model, changed, feeds)


@pytest.mark.parametrize(("kind", "gates", "left"), [("RNN", 4, 2), ("GRU", 12, 13), ("LSTM", 16, 11)])
def test_what_feeds_no_step_is_computed_outside(kind: str, gates: int, left: int) -> None:
    model = onnx_ig.differentiate(onnx.parser.parse_model(RECURRENT.format(kind=kind, gates=gates)))
    rng = np.random.default_rng(0)
    shapes = {"x": (5, 2, 3), "w": (2, gates, 3), "r": (2, gates, 4), "cotangent_y": (5, 2, 2, 4)}
    feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    changed = ir.from_proto(model)
    ComputeOutsideScansPass()(changed)
    assert [_kernels(node) for node in changed.graph if node.op_type == "Scan"][:2] == [left] * 2
    WalkBackwardsPass()(changed)
    agree(model, changed, feeds)


@pytest.mark.parametrize(
    ("attributes", "inputs", "replaced"),
    [
        ("", "x, w, r, b", True),
        ("", "x, w, r, , , h, c", True),
        (', direction = "reverse"', "x, w, r, b", True),
        (", input_forget = 1", "x, w, r, b", False),
        (", clip = 0.5", "x, w, r, b", False),
        ("", "x, w, r, b, lengths", False),
        ("", "x, w, r, b, , , , p", False),  # peepholes
    ],
)
def test_a_plain_lstm_by_the_operator(attributes: str, inputs: str, replaced: bool) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 18]>
    g (float[5, 2, 3] x, float[1, 2, 4] h, float[1, 2, 4] c, int32[2] lengths)
        => (float[5, 1, 2, 4] y, float[1, 2, 4] u)
    {{ y, t, u = LSTM <hidden_size = 4{attributes}> ({inputs}) }}"""
    forward, rng = onnx.parser.parse_model(text), np.random.default_rng(0)
    weights = {"w": (1, 16, 3), "r": (1, 16, 4), "b": (1, 32), "p": (1, 12)}
    for name, shape in weights.items():
        forward.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    model = onnx_ig.differentiate(forward, wrt=["x"])
    changed = ir.from_proto(model)
    ComputeOutsideScansPass()(changed)
    UseRecurrentLibraryPass()(changed)
    scans = [node for node in changed.graph if node.op_type == "Scan"]
    assert ("LSTM" in [node.op_type for node in changed.graph]) == replaced
    assert len(scans) == 2 and (_kernels(scans[0]) == 2) == replaced
    WalkBackwardsPass()(changed)
    shapes = {x.name: tuple(d.dim_value for d in x.type.tensor_type.shape.dim) for x in model.graph.input}
    feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    agree(model, changed, feeds | {"lengths": np.array([3, 5], np.int32)}, rtol=1e-4)


def _kernels(scan: ir.Node) -> int:
    """The nodes of its body that compute."""
    return sum(node.op_type != "Identity" for node in scan.attributes["body"].as_graph())


@pytest.mark.parametrize(
    ("nodes", "shape", "columns", "replaced"),
    [
        ("y = MatMul(x, w)", (2048, 3), 2048, True),
        ("y = MatMul(x, w)", (1536, 3), 1536, False),
        ("t = Transpose(w) y = MatMul(x, t)", (3, 1024), 1024, True),
        ("t = Transpose(w) y = MatMul(x, t)", (1024, 1000), 1000, False),
        ("y = Gemm(x, w)", (1024, 3), 1024, True),
        ("y = Gemm<transB = 1>(x, w)", (3, 1024), 1024, True),
        ("y = Gemm<transB = 1>(x, w)", (1024, 3), 3, False),
        ("t = Transpose(w) y = Gemm<transB = 1>(x, t)", (1024, 3), 1024, True),
        ("z = Relu(w) y = MatMul(x, z)", (1024, 3), 1024, False),  # no weight
    ],
)
def test_products_whose_rows_would_meet(nodes: str, shape: tuple[int, int], columns: int, replaced: bool) -> None:
    text = f'<ir_version: 8, opset_import: ["" : 18]> g (float[N, {columns}] x) => (float[N, M] y) {{ {nodes} }}'
    model, rng = onnx.parser.parse_model(text), np.random.default_rng(0)
    model.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), "w"))
    changed = ir.from_proto(model)
    assert KeepRowsApartPass()(changed).modified == replaced
    assert ("LeakyRelu" in [node.op_type for node in changed.graph]) == replaced
    x = rng.normal(size=(5, columns)).astype(np.float32)
    x[0, 0], x[1, 0] = np.nan, np.inf
    agree(model, changed, {"x": x})


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("parts", [2, 3])
def test_interleaving(axis: int, parts: int) -> None:
    columns = " ".join(f"u{i} = Unsqueeze(v{i}, axis)" for i in range(parts))
    split = ", ".join(f"v{i}" for i in range(parts))
    joined = ", ".join(f"u{i}" for i in range(parts))
    text = f"""<ir_version: 8, opset_import: ["" : 18]> g (float[N, 6, 5] x) => (float[P, Q, R, S] y)
    <int64[1] axis = {{{axis}}}>
    {{ {split} = Split<axis = 1, num_outputs = {parts}>(x) {columns} y = Concat<axis = {axis}>({joined}) }}"""
    model = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
    changed = ir.from_proto(model)
    assert InterleaveBySelectionPass()(changed).modified == (axis == 3)
    assert ("Where" in [node.op_type for node in changed.graph]) == (axis == 3)
    x = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
    x[0, 0], x[0, 3] = np.nan, np.inf
    agree(model, changed, {"x": x})


@pytest.mark.parametrize("attributes", ["", "<alpha = 0.25>", "<beta = 0.75>", "<alpha = 2.0, beta = -0.5>"])
def test_hard_sigmoid_by_clipping(attributes: str) -> None:
    graph = f"(float[N] x) => (float[N] y) {{ y = HardSigmoid{attributes}(x) }}"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> g {graph}')
    changed = ir.from_proto(model)
    assert ClipForHardSigmoidPass()(changed).modified
    assert [node.op_type for node in changed.graph] == ["Mul", "Add", "Clip"]
    agree(model, changed, {"x": np.array([-np.inf, -9, -2.5, -1, 0, 0.25, 2.5, 9, np.inf], np.float32)})
