"""The forms that our sessions on CUDA run compute what the exported ones do."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

import onnx_ig
from onnx_ig.attribution import build, make_plan
from onnx_ig.quadrature import path_nodes_and_weights
from onnx_ig.runtime.forms import (
    AddProductsPass,
    CompareWithWholeNumbersPass,
    KeepStatisticsPass,
    LeaveUnexpandedPass,
    ReadNormalisedPass,
    ScaleBeforeMasksPass,
    ScaleWeightsPass,
    ScatterToMaximaPass,
    SelectByMasksPass,
    StepForHardSwishPass,
    WriteOutConstantHardSwishPass,
)
from tests.helpers.agreement import agree

SIMPLIFIED = "SimplifiedLayerNormalization"
ROOT_MEAN_SQUARE = "p = Pow(t, two) m = ReduceMean(p, last) a = Add(m, tiny) q = Sqrt(a) r = Div(one, q)"


@pytest.mark.parametrize(
    ("nodes", "length", "operator", "gone"),
    [
        ("y = LayerNormalization<epsilon = 1e-12>(t, s, b)", 4, "LayerNormalization", {"Mul": 3, "ReduceMean": 1}),
        (f"{ROOT_MEAN_SQUARE} u = Mul(t, r) y = Mul(s, u)", 4, SIMPLIFIED, {"Mul": 5, "ReduceMean": 1}),
        (f"{ROOT_MEAN_SQUARE} u = Mul(r, t) y = Mul(u, s)", 4, SIMPLIFIED, {"Mul": 5, "ReduceMean": 1}),
        (f"{ROOT_MEAN_SQUARE} u = Mul(r, t) y = Mul(u, s)", "K", SIMPLIFIED, {"Mul": 4, "ReduceMean": 1}),
        (f"{ROOT_MEAN_SQUARE} u = Mul(t, r) y = Add(u, b)", "K", None, {}),  # how long a row is is not known
    ],
)
def test_gradients_read_what_a_normalisation_gives(
    nodes: str, length: int | str, operator: str | None, gone: dict[str, int]
) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 18]> g (float[N, 3, {length}] x) => (float[N, 3, {length}] y)
    <float two = {{2}}, float one = {{1}}, float tiny = {{1e-6}}, int64[1] last = {{-1}},
     float[4] s = {{0.5, 2, -1, 3}}, float[4] b = {{1, 0, 2, 3}}> {{ t = Sin(x) {nodes} }}"""
    model = onnx_ig.differentiate(onnx.parser.parse_model(text))
    changed = ir.from_proto(model)
    KeepStatisticsPass()(changed)
    before = Counter(node.op_type for node in changed.graph)
    assert ReadNormalisedPass()(changed).modified == (operator is not None)
    after = Counter(node.op_type for node in changed.graph)
    assert not Counter(gone) - (before - after)
    assert operator is None or after[operator] == 2
    rng = np.random.default_rng(0)
    feeds = {name: rng.normal(size=(2, 3, 4)).astype(np.float32) for name in ("x", "cotangent_y")}
    agree(model, changed, feeds, rtol=2e-5, atol=1e-6)


def test_normalised_gradients_in_a_loop() -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]> g (float[N, 4] x) => (float[N, 4] y)
    <float[4] s = {0.5, 2, -1, 3}, float[4] b = {1, 0, 2, 3}> { t = Sin(x) y = LayerNormalization(t, s, b) }"""
    model = onnx_ig.load(onnx.parser.parse_model(text))
    path = path_nodes_and_weights("gausslegendre", 6)
    built = ir.to_proto(build(model, make_plan(model, path=path, steps_per_run=2, target=1)))
    changed = ir.from_proto(built)
    KeepStatisticsPass()(changed)
    assert ReadNormalisedPass()(changed).modified
    (loop,) = (node for node in changed.graph if node.op_type == "Loop")
    assert Counter(node.op_type for node in loop.attributes["body"].as_graph())["LayerNormalization"] == 2
    agree(built, changed, {"x": np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)}, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("type_", "shape", "step"),
    [
        ("float", "N", "HardSigmoid"),
        ("float", "N, C, 4", "HardSigmoid"),
        ("float", "N, 2, 4", "BatchNormalization"),
        ("float", "N, 16", "BatchNormalization"),
        ("double", "N", None),
    ],
)
def test_hard_swish_by_a_step(type_: str, shape: str, step: str | None) -> None:
    replaced = step is not None
    text = f"""<ir_version: 8, opset_import: ["" : 18]> g ({type_}[{shape}] x) => ({type_}[{shape}] y)
    {{ y = HardSwish(x) }}"""
    model = onnx_ig.differentiate(onnx.parser.parse_model(text))
    changed = ir.from_proto(model)
    assert StepForHardSwishPass()(changed).modified == replaced
    operators = [node.op_type for node in changed.graph]
    assert (step in operators) == ("Shrink" in operators) == replaced
    up, down = np.nextafter(np.float32(3), np.float32([np.inf, 0]))
    x = np.array([-1e18, -up, -3, -down, -1, -1e-30, 0, 1e-7, 0.5, 2.999, down, 3, up, 3.001, 50, 1e18])
    if replaced:
        x = x.astype(np.float32).reshape(((2, 2, 4), (1, 16), (16,))[2 if shape == "N" else shape == "N, 16"])
        dy = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
        agree(model, changed, {"x": x, "cotangent_y": dy}, rtol=0 if step == "HardSigmoid" else 5e-7)


SQUEEZED = "g = ReduceMean(x, places) "


@pytest.mark.parametrize(
    ("nodes", "gone"),
    [
        (SQUEEZED + "y = Conv(g, w)", ["ReduceMean"]),
        (SQUEEZED + "z = Where(m, g, nought) y = Conv(z, w)", ["ReduceMean"]),
        (SQUEEZED + "z = Where(m, nought, g) y = Conv(z, w)", []),
        (SQUEEZED + "z = Where(m, g, half) y = Conv(z, w)", []),
        (SQUEEZED + "z = Relu(g) y = Conv(z, w)", []),
        (SQUEEZED + "f = Flatten(g) h = Mul(half, f) y = Gemm(h, v, b)", ["ReduceMean", "Mul"]),
        (SQUEEZED + "f = Flatten(g) h = Mul(f, half) y = MatMul(h, v)", ["ReduceMean", "Mul"]),
        (SQUEEZED + "f = Flatten(g) p = MatMul(f, v) q = Flatten(g) y = Add(p, q)", []),  # another reads the mean
        (SQUEEZED + "f = Flatten(g) h = Mul(f, halves) y = MatMul(h, v)", []),
        ("y = Mul(x, half)", []),
    ],
)
def test_factors_in_weights(nodes: str, gone: list[str]) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 18]> g (float[N, 2, 3, 5] x) => (float[N, P] y)
    <float nought = {{0}}, float half = {{0.5}}, float[2] halves = {{0.5, 0.5}}, int64[2] places = {{2, 3}},
     float[2, 2, 1, 1] w = {{1, 2, 3, 4}}, float[2, 2] v = {{1, 2, 3, 4}}, float[2] b = {{1, -1}}>
    {{ t = ReduceMax(x, places) m = Greater(t, half) {nodes} }}"""
    model = onnx.parser.parse_model(text)
    if "Conv" in nodes or "= Mul(x" in nodes:
        model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, ["N", 2, "H", "W"]))
    model = onnx.shape_inference.infer_shapes(model)
    changed = ir.from_proto(model)
    assert ScaleWeightsPass()(changed).modified == bool(gone)
    before, after = ({node.op_type for node in g} for g in (ir.from_proto(model).graph, changed.graph))
    assert before - after == set(gone)
    agree(model, changed, {"x": np.random.default_rng(0).normal(size=(2, 2, 3, 5)).astype(np.float32)}, 1e-5, 1e-6)


@pytest.mark.parametrize(
    ("nodes", "replaced"),
    [
        ("e = Expand(s, size) y = Add(x, e)", True),
        ("e = Expand(s, size) y = Mul(e, x)", True),
        ("e = Expand(s, size) y = Sub(e, x)", True),
        ("e = Expand(s, size) y = Max(e, x)", False),
        ("e = Expand(s, size) y = Mul(e, s)", False),  # which is not as large
        ("e = Expand(s, size) y = Mul(e, e)", False),
        ("z = Slice(n, zero, one, zero) e = Expand(s, size) y = Mul(e, z)", False),
    ],
)
def test_operands_stay_small(nodes: str, replaced: bool) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 18]> g (float[2, 3] x, float[N, 3] n) => (float[P, 3] y)
    <float[2, 1] s = {{2, 3}}, int64[2] size = {{2, 3}}, int64[1] zero = {{0}}, int64[1] one = {{1}}>
    {{ {nodes} }}"""
    model = onnx.parser.parse_model(text)
    changed = ir.from_proto(model)
    assert LeaveUnexpandedPass()(changed).modified == replaced
    assert ("Expand" not in [node.op_type for node in changed.graph]) == replaced
    agree(model, changed, {name: np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32) for name in "xn"})


def test_hard_sigmoid_by_whole_numbers() -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]> g (float[N] x) => (float[N] y)
    { y = HardSigmoid<alpha = 0.5>(x) }"""
    model = onnx_ig.differentiate(onnx.parser.parse_model(text))
    changed = ir.from_proto(model)
    SelectByMasksPass()(changed)
    assert CompareWithWholeNumbersPass()(changed).modified
    assert not {"And", "Less", "Greater"} & {node.op_type for node in changed.graph}
    below, above = np.nextafter(np.float32([-1, 1]), np.float32(0))
    x = np.float32([-1e30, -2, -1, below, -1e-30, 0, 0.3, above, 1, 1.5, 1e30])
    agree(model, changed, {"x": x, "cotangent_y": np.linspace(-1, 2, x.size, dtype=np.float32)})


@pytest.mark.parametrize(
    ("nodes", "replaced"),
    [
        ("s = Sigmoid(x) n = Sub(one, s) v = Mul(x, s) p = Mul(v, n) y = Add(s, p)", True),
        ("s = Sigmoid(x) n = Exp(x) p = Mul(s, n) y = Add(p, x)", True),
        ("s = Sigmoid(x) p = Mul(s, row) y = Add(p, x)", False),
        ("r = ReduceSum(x, last) e = Exp(r) s = Sigmoid(x) p = Mul(s, e) y = Add(p, x)", False),
        ("s = Sigmoid(x) p = Mul(s, x) q = Add(p, x) y = Mul(p, q)", False),
        ("s = Sigmoid(x) p = Mul(s, one) y = Add(p, x)", False),
    ],
)
def test_products_are_added_at_once(nodes: str, replaced: bool) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 18]> g (float[N, 3] x) => (float[N, 3] y)
    <float one = {{1}}, float[3] row = {{1, 2, 3}}, int64[1] last = {{-1}}> {{ {nodes} }}"""
    model = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
    changed = ir.from_proto(model)
    known = any(s.name == "GatedAdd" for s in onnxruntime.capi.onnxruntime_pybind11_state.get_all_operator_schema())
    assert AddProductsPass()(changed).modified == (replaced and known)
    agree(model, changed, {"x": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)}, rtol=3e-7)


@pytest.mark.parametrize(
    ("of", "replaced"), [("c", True), ("s", True), ("x", False)], ids=["constant", "of a known size", "of an input"]
)
def test_hard_swish_of_constants(of: str, replaced: bool) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 18]> g (float[2, 3] x) => (float[2, 3] y)
    <float[2, 3] c = {{-4, -2, -0.5, 1, 2, 5}}>
    {{ size = Shape(x) r = Exp(c) s = Expand(r, size) h = HardSwish({of}) y = Mul(h, x) }}"""
    model = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
    changed = ir.from_proto(model)
    assert WriteOutConstantHardSwishPass()(changed).modified == replaced
    assert ("HardSwish" not in [node.op_type for node in changed.graph]) == replaced
    agree(model, changed, {"x": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)}, rtol=3e-7)


@pytest.mark.parametrize(
    ("nodes", "replaced"),
    [
        ("c = Conv(x, w) z = Where(m, c, nought) y = Mul(z, s)", True),
        ("c = Conv(x, w) z = Where(m, c, nought) y = Mul(s, z)", True),
        ("c = Conv(x, w) z = Where(m, c, one) y = Mul(z, s)", False),
        ("c = Conv(x, w) z = Where(m, c, nought) u = Mul(z, s) y = Add(u, z)", False),
        ("c = Sin(x) z = Where(m, c, nought) y = Mul(z, s)", False),
        ("c = Conv(x, w) z = Where(m, c, nought) y = Mul(z, x)", False),
    ],
)
def test_scales_before_masks(nodes: str, replaced: bool) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 18]> g (float[N, 2, 3, 3] x) => (float[N, 2, 3, 3] y)
    <float nought = {{0}}, float one = {{1}}, float[2, 1, 1] s = {{3, -0.5}}, float[2, 2, 1, 1] w = {{1, 2, 3, 4}}>
    {{ m = Greater(x, nought) {nodes} }}"""
    model = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
    changed = ir.from_proto(model)
    assert ScaleBeforeMasksPass()(changed).modified == replaced
    order = [node.op_type for node in changed.graph]
    assert (order[-2:] == ["Mul", "Where"]) == replaced
    agree(model, changed, {"x": np.random.default_rng(0).normal(size=(2, 2, 3, 3)).astype(np.float32)}, rtol=1e-6)


@pytest.mark.parametrize(
    ("kernel", "strides", "pads", "size", "more", "replaced"),
    [
        ("2, 2", "2, 2", "0, 0, 0, 0", (6, 6), "", True),
        ("3, 3", "2, 2", "1, 1, 1, 1", (8, 8), "", True),
        ("3, 3", "2, 2", "0, 0, 0, 0", (8, 8), ", ceil_mode = 1", True),
        ("3, 2", "3, 2", "1, 0, 1, 0", (10, 6), "", True),
        ("3, 1", "2, 1", "0, 0, 0, 0", (7, 5), "", True),
        ("3, 3", "3, 3", "1, 1, 0, 0", (11, 11), "", True),  # as long before the padding is cut off as behind it
        ("2, 2", "3, 3", "0, 0, 0, 0", (8, 9), "", True),
        ("3, 3", "1, 1", "1, 1, 1, 1", (5, 5), "", False),
        ("2, 2", "2, 2", "0, 0, 0, 0", (8, 8), ", dilations = [2, 2]", False),
    ],
)
@pytest.mark.parametrize("before", ["Relu", "Sin"])
def test_maxima_by_their_places(
    kernel: str, strides: str, pads: str, size: tuple[int, int], more: str, replaced: bool, before: str
) -> None:
    attributes = f"kernel_shape = [{kernel}], strides = [{strides}], pads = [{pads}]{more}"
    text = f"""<ir_version: 8, opset_import: ["" : 18]> g (float[N, 2, {size[0]}, {size[1]}] x) => (float[N, 2, P, Q] y)
    {{ t = {before}(x) y = MaxPool<{attributes}>(t) }}"""
    forward = onnx.parser.parse_model(text)
    model = onnx_ig.differentiate(forward)
    changed = ir.from_proto(model)
    replaced &= before == "Relu"
    assert ScatterToMaximaPass()(changed).modified == replaced
    operators = {node.op_type for node in changed.graph}
    assert ("ScatterElements" in operators) == replaced == ("Equal" not in operators)
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, size=(3, 2, *size)).astype(np.float32)  # with many equal maxima
    (y,) = onnxruntime.InferenceSession(forward.SerializeToString()).run(None, {"x": x})
    agree(model, changed, {"x": x, "cotangent_y": rng.normal(size=y.shape).astype(np.float32)}, atol=1e-6)
