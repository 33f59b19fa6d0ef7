"""Each edit for one runtime acts, and changes no value."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from onnx_ig.exporting.portable.spelling import SPELLINGS, SpellPass

HEAD = '<ir_version: 8, opset_import: ["" : 18]>\n'
# of each edit: a model, and the operators that must be gone or have come
CASES: dict[str, tuple[str, str, str]] = {
    "bools are gathered as floats": (
        """f (float[2, 3, 4] x) => (float[2, 4] y) <int64[2, 1] i = {1, 2}, float z = {0}>
        { b = Greater (x, z)  g = GatherND <batch_dims = 1> (b, i)  y = Cast <to = 1> (g) }""",
        "GatherND",
        "Greater",
    ),
    "steps are gathered": (
        """f (float[2, 3, 4] x) => (float[2, 3, 2] y) <int64[2] s = {-1, 3}, int64[2] e = {-9223372036854775807, -9},
        int64[2] a = {1, 2}, int64[2] t = {-1, -2}> { y = Slice (x, s, e, a, t) }""",
        "Gather",
        "Gather",
    ),
    "axes are reduced in turn": (
        """f (float[2, 3, 4] x) => (float[2] y) <int64[2] a = {-1, 1}>
        { i = Round (x)  y = ReduceSum <keepdims = 0> (i, a) }""",
        "ReduceSum",
        "ReduceSum",
    ),
    "places are gathered flat": (
        """f (float[2, 3, 4] x) => (float[3, 4] y) <int64[3, 2] i = {0, 1, 1, 2, -1, -3}> { y = GatherND (x, i) }""",
        "Gather",
        "Reshape",
    ),
    "logic is in floats": (
        """f (float[2, 3, 4] x) => (float[2, 3, 4] y) <float z = {0}, float o = {0.5}>
        { a = Greater (x, z)  b = Less (x, o)  c = And (a, b)  d = Xor (c, a)  e = Or (d, b)
        y = Cast <to = 1> (e) }""",
        "Mul",
        "Max",
    ),
    "bool constants are cast": (
        """f (float[2, 3, 4] x) => (float[2, 3, 4] y) <bool[4] m = {1, 0, 1, 0}, float z = {0}>
        { y = Where (m, x, z) }""",
        "Where",
        "Cast",
    ),
    "constants are read once": (
        """f (float[2, 3, 4] x) => (float[2, 5, 4] y) <float[2, 1, 4] c = {1, 2, 3, 4, 5, 6, 7, 8}>
        { z = Concat <axis = 1> (c, x)  y = Concat <axis = 1> (z, c) }""",
        "Concat",
        "Concat",
    ),
    "places keep their axis": (
        "f (float[2, 3, 4] x) => (float[2, 4] y) { i = ArgMin <axis = 1, keepdims = 0> (x)  y = Cast <to = 1> (i) }",
        "ArgMin",
        "Squeeze",
    ),
    "slopes are written out": (
        "f (float[2, 3, 4] x) => (float[2, 3, 4] y) <float[1, 3, 1] s = {0.25, -1, 2}> { y = PRelu (x, s) }",
        "Max",
        "Min",
    ),
    "what no window reads is not padded": (
        """f (float[2, 3, 4] x) => (float[2, 1, 2] y) <float[1, 3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}>
        { y = Conv <kernel_shape = [3], pads = [1, 2], strides = [3]> (x, w) }""",
        "Conv",
        "Conv",
    ),
}
X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)


def run(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {"x": X})[0])


def test_every_spelling_has_a_case() -> None:
    assert set(CASES) == set(SPELLINGS)


@pytest.mark.parametrize("name", CASES)
def test_it_acts_and_changes_no_value(name: str) -> None:
    text, *operators = CASES[name]
    before = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(HEAD + text), data_prop=True)
    model = ir.from_proto(before)
    assert SpellPass(name)(model).modified
    after = ir.to_proto(model)
    assert set(operators) <= {node.op_type for node in after.graph.node} - {"Slice"}
    onnx.checker.check_model(after, full_check=True)
    np.testing.assert_array_equal(run(after), run(before))
    assert not SpellPass(name)(model).modified
