"""A model is opened again for the shapes that keep coming."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from numpy.testing import assert_allclose, assert_array_equal
from onnxruntime import OrtValue

import onnx_ig
from onnx_ig.runtime.fixed_shapes import _LONGER, _OFTEN, FixedShapesSession

SHAPES = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]>
    g (float[N, M] x, float[N, 2] z) => (int64[2] shape, float[N, 2] y) { shape = Shape (x)  y = Neg (z) }""")


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
    assert [_run(session, 3, 2) for _ in range(_LONGER * _OFTEN)] == [{}] * _LONGER * _OFTEN
    assert _run(session, 3, 2) == {"N": 3, "M": 2}


def test_uploaded_values_tell_their_shapes() -> None:
    session = FixedShapesSession(SHAPES, "cpu")
    x, z = (OrtValue.ortvalue_from_numpy(np.ones((3, 2), np.float32)) for _ in range(2))
    for _ in range(_OFTEN + 1):
        session.run({"x": x, "z": z})
    assert session.fixed == {"N": 3, "M": 2}


def test_one_name_with_two_sizes_stays_open_for_any() -> None:
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]>
        g (float[N] x, float[N] b) => (float[K] y) { y = Add (x, b) }""")
    session = FixedShapesSession(model, "cpu")
    for _ in range(_OFTEN + 2):
        assert len(session.run({"x": np.ones(3, np.float32), "b": np.ones(1, np.float32)})["y"]) == 3
    assert session.fixed == {}


def test_attributions_are_the_same_for_fixed_shapes() -> None:
    source = Path(__file__).parents[2] / "models" / "digits_cnn" / "digits_cnn.onnx"
    x = np.random.default_rng(0).uniform(size=(1, 1, 8, 8)).astype(np.float32)
    method = onnx_ig.IntegratedGradients(source, provider="cpu")
    found = [method.attribute(x, target=7, n_steps=2 * _OFTEN, internal_batch_size=2) for _ in range(3)]
    engine = method._engine_used
    assert engine is not None
    assert engine.session.fixed["path_points"] == 2
    expected = onnx_ig.IntegratedGradients(source, provider="cpu").attribute(x, target=7, n_steps=2 * _OFTEN)
    for each in found:
        assert_allclose(each, expected, atol=1e-6)
