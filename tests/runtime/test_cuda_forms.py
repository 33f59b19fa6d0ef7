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
    KeepStatisticsPass,
    ReadNormalisedPass,
    ScaleBeforeMasksPass,
    ScatterToMaximaPass,
    StepForHardSwishPass,
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


@pytest.mark.parametrize(("type_", "replaced"), [("float", True), ("double", False)])
def test_hard_swish_by_a_step(type_: str, replaced: bool) -> None:
    text = f'<ir_version: 8, opset_import: ["" : 18]> g ({type_}[N] x) => ({type_}[N] y) {{ y = HardSwish(x) }}'
    model = onnx_ig.differentiate(onnx.parser.parse_model(text))
    changed = ir.from_proto(model)
    assert StepForHardSwishPass()(changed).modified == replaced
    assert ("Shrink" in [node.op_type for node in changed.graph]) == replaced
    up, down = np.nextafter(np.float32(3), np.float32([np.inf, 0]))
    x = np.array([-1e18, -up, -3, -down, -1, -1e-30, 0, 1e-7, 0.5, 2.999, down, 3, up, 3.001, 50, 1e18])
    if replaced:
        x = x.astype(np.float32)
        dy = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
        agree(model, changed, {"x": x, "cotangent_y": dy})


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
