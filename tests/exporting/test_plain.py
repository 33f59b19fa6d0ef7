"""Files spell out what runtimes beside ONNX Runtime want spelt out, and their values are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

import onnx_ig
from onnx_ig.exporting.plain import RespellPass

HEAD = '<ir_version: 8, opset_import: ["" : 18]>\n'
CONV = """f (float[N, 1, 4, 4] x) => (float[N, 2] y) <float[2, 1, 4, 4] w>
    { c = Conv (x, w)  t = Tanh (c)  y = Flatten (t) }"""
NANS = "f (float[N, 3] x) => (float[N, 3] y) <float z = {0}> { m = IsNaN (x)  s = Sin (x)  y = Where (m, z, s) }"
SCAN = """f (float[N, 3] x) => (float[N, 3] y) <float[3] s = {0, 0, 0}> { last, y = Scan <num_scan_inputs = 1,
    body = b (float[3] h, float[3] e) => (float[3] k, float[3] o) { o = Add (h, e)  k = Mul (o, e) }> (s, x) }"""

PAD = """f (float[N, 3] x) => (float[N, 6] y) <int64[2] p = {1, 2}, int64[1] a = {-1}>
    { s = Sin (x)  y = Pad <mode = "constant"> (s, p, , a) }"""

ROW = """f (float[N, 3] x) => (float[N, 3, 1] y) <int64[1] a = {2}, float[3, 1, 1] k = {1, -2, 3}>
    { e = Unsqueeze (x, a)  c = Conv <kernel_shape = [1], group = 3> (e, k)  r = Relu (c)  y = Tanh (r) }"""


def parsed(text: str) -> onnx.ModelProto:
    """The model of the text, and the weight that is not in it."""
    model = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(HEAD + text.replace("<float[2, 1, 4, 4] w>", "")))
    if " w)" in text:
        weight = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 1, 4, 4)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    return model


def kernels_are_named(graph: onnx.GraphProto) -> bool:
    """Every convolution says its kernel's shape."""
    found = [{a.name: list(a.ints) for a in node.attribute} for node in graph.node if node.op_type == "Conv"]
    return bool(found) and all(attributes.get("kernel_shape") == [4, 4] for attributes in found)


def nothing_asks_for_nan(graph: onnx.GraphProto) -> bool:
    """x is compared with itself instead."""
    return {"Equal", "Not"} <= {node.op_type for node in graph.node} and "IsNaN" not in [n.op_type for n in graph.node]


def bodies_read_no_output(graph: onnx.GraphProto) -> bool:
    """What a Scan stacks is read by nothing in its body."""
    (body,) = (a.g for node in graph.node if node.op_type == "Scan" for a in node.attribute if a.name == "body")
    return body.output[1].name not in {x for node in body.node for x in node.input}


def pads_are_of_all_axes(graph: onnx.GraphProto) -> bool:
    """With the value that is written there."""
    return all(len(node.input) == 3 and all(node.input) for node in graph.node if node.op_type == "Pad")


def activations_are_apart(graph: onnx.GraphProto) -> bool:
    """The second reads no other."""
    made = {y: node.op_type for node in graph.node for y in node.output}
    return all(made[node.input[0]] != "Relu" for node in graph.node if node.op_type == "Tanh")


X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
WITH_NAN = np.where(X > 0.9, np.float32(np.nan), X)
CASES: dict[str, tuple[str, np.ndarray, Callable[[onnx.GraphProto], bool]]] = {
    "kernel_shape": (CONV, np.linspace(-1, 1, 48, dtype=np.float32).reshape(3, 1, 4, 4), kernels_are_named),
    "IsNaN": (NANS, WITH_NAN, nothing_asks_for_nan),
    "Pad": (PAD, X, pads_are_of_all_axes),
    "activations in a row": (ROW, X, activations_are_apart),
    "an output that the body reads": (SCAN, X, bodies_read_no_output),
}


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {"x": x})[0])


@pytest.mark.parametrize("name", CASES)
def test_respelt_and_the_same(name: str) -> None:
    text, x, holds = CASES[name]
    before, model = parsed(text), ir.from_proto(parsed(text))
    assert not holds(before.graph)
    assert RespellPass()(model).modified
    after = ir.to_proto(model)
    assert holds(after.graph)
    onnx.checker.check_model(after, full_check=True)
    np.testing.assert_array_equal(run(after, x), run(before, x))


def test_activations_stay_where_no_convolution_can_be() -> None:
    text = "f (float[N, 3] x) => (float[N, 3] y) { r = Relu (x)  y = Tanh (r) }"
    assert not RespellPass()(ir.from_proto(parsed(text))).modified


def test_files_are_respelt(tmp_path: Path) -> None:
    file = onnx_ig.export(parsed(CONV), tmp_path / "explained.onnx", n_steps=3, steps_per_run=0)
    assert kernels_are_named(onnx.load(file).graph)
