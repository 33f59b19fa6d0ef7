"""On the CPU a model is opened again for the shapes that keep coming, and its masks suit the blocked layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import onnx_ig
from onnx_ig.runtime.blocked import mask_in_any_layout
from onnx_ig.runtime.fixed_shapes import _OFTEN, FixedShapesSession

SHAPES = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]>
    g (float[N, M] x, float[N, 2] z) => (int64[2] shape, float[N, 2] y) { shape = Shape (x)  y = Neg (z) }""")
MASK = '<ir_version: 8, opset_import: ["" : 18]> g ({type}[N] y) => ({type}[N] m) <{type} bound = {{{bound}}}>'
GREATER = "{{ c = Greater (y, bound)  m = Cast <to = {to}> (c) }}"


def _run(session: FixedShapesSession, rows: int, columns: int) -> dict[str, int]:
    x, z = np.zeros((rows, columns), np.float32), np.ones((rows, 2), np.float32)
    found = session.run({"x": x, "z": z})
    assert_array_equal(found["shape"], [rows, columns])
    assert_array_equal(found["y"], -z)
    return session.fixed


def test_shapes_that_keep_coming_are_fixed_until_others_come() -> None:
    session = FixedShapesSession(SHAPES, "cpu")
    assert [_run(session, 3, 2) for _ in range(_OFTEN)] == [{}] * _OFTEN
    assert _run(session, 3, 2) == _run(session, 3, 2) == {"N": 3, "M": 2}
    assert _run(session, 4, 2) == {}
    assert _run(session, 3, 2) == {}


def test_one_name_with_two_sizes_stays_open_for_any() -> None:
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]>
        g (float[N] x, float[N] b) => (float[K] y) { y = Add (x, b) }""")
    session = FixedShapesSession(model, "cpu")
    for _ in range(_OFTEN + 2):
        assert len(session.run({"x": np.ones(3, np.float32), "b": np.ones(1, np.float32)})["y"]) == 3
    assert session.fixed == {}


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
    mask_in_any_layout(changed)
    assert [node.op_type for node in changed.graph] == (["HardSigmoid"] if replaced else ["Greater", "Cast"])
    expected, found = (
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)[0]
        for m in (model, ir.to_proto(changed))
    )
    assert_array_equal(found, expected)


def test_attributions_are_the_same_for_fixed_shapes() -> None:
    source = Path(__file__).parent.parent / "models" / "digits_cnn" / "digits_cnn.onnx"
    x = np.random.default_rng(0).uniform(size=(1, 1, 8, 8)).astype(np.float32)
    method = onnx_ig.IntegratedGradients(source, provider="cpu")
    found = [method.attribute(x, target=7, n_steps=2 * _OFTEN, internal_batch_size=2) for _ in range(3)]
    (engine,) = method._engines.values()
    assert engine.session.fixed["path_points"] == 2
    expected = onnx_ig.IntegratedGradients(source, provider="cpu").attribute(x, target=7, n_steps=2 * _OFTEN)
    for each in found:
        assert_allclose(each, expected, atol=1e-6)
