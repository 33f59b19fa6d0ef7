"""Every rule, on the ONNX standard's node tests and on our own cases.

The gradient against central differences in float64.
"""

import numpy as np
import onnx
import onnx.parser
import pytest

import onnx_ig
from onnx_ig.autodiff.registry import lookup_name
from onnx_ig.runtime.session import Session
from tests.autodiff.cases import own_cases
from tests.judging.judge import judge
from tests.judging.node_tests import operators_of, standard_cases

SHAPES = ("static", "symbolic")


STANDARD = list(standard_cases())
OWN = own_cases()


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("name", STANDARD)
def test_standard_case(name: str, shapes: str) -> None:
    case = standard_cases()[name]
    verdict = judge(case, shapes=shapes)
    entries = [lookup_name(*operator) for operator in operators_of(case)]
    if any(entry is not None and entry.kind == "refused" for entry in entries):
        assert verdict.outcome in ("refused", "unjudged"), verdict.detail
        return
    assert verdict.outcome in ("right", "zero", "unjudged"), verdict.detail


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("name", list(OWN))
def test_own_case(name: str, shapes: str) -> None:
    verdict = judge(OWN[name], shapes=shapes)
    assert verdict.outcome in ("right", "zero"), verdict.detail


def test_dropout_in_training_mode_is_differentiated_at_its_own_draw() -> None:
    """ONNX Runtime draws another mask at each run: y = x · s in one run must come with dx = v · s of the same s."""
    text = """<ir_version: 8, opset_import: ["" : 18]> g (float[N] x, float r, bool t) => (float[N] y)
              { y = Dropout (x, r, t) }"""
    gradient = onnx_ig.differentiate(onnx.parser.parse_model(text), wrt=["x", "r"])
    rng = np.random.default_rng(0)
    x, v = (rng.uniform(1, 2, 200).astype(np.float32) for _ in range(2))
    for ratio, training in ((0.25, True), (0.25, False), (0.0, True), (0.5, True)):
        r = np.array(ratio, np.float32)
        values = Session(gradient, "cpu").run({"x": x, "r": r, "t": np.array(training), "cotangent_y": v})
        scale = values["y"] / x
        assert (0 in scale) == (ratio > 0 and training)
        np.testing.assert_allclose(values["grad_x"], v * scale, rtol=1e-5)
        slope = (v * values["y"]).sum() / (1 - ratio) if training else 0
        np.testing.assert_allclose(values["grad_r"], slope, rtol=1e-5)


@pytest.mark.parametrize("coordinates", ["half_pixel", "half_pixel_symmetric", "asymmetric"])
def test_scales_move_the_places_that_resize_reads(coordinates: str) -> None:
    """Scales are float32 by the standard, so the step of the difference is one that float32 knows."""
    text = f"""<ir_version: 8, opset_import: ["" : 19]> g (float[1,1,5,6] x, float[4] s) => (float[1,1,a,b] y)
              {{ y = Resize <mode = "cubic", coordinate_transformation_mode = "{coordinates}"> (x, , s) }}"""
    model, rng = onnx.parser.parse_model(text), np.random.default_rng(0)
    x, s = rng.standard_normal((1, 1, 5, 6)).astype(np.float32), np.array([1, 1, 2.13, 1.61], np.float32)
    forward = Session(model, "cpu")
    v = rng.standard_normal(forward.run({"x": x, "s": s})["y"].shape).astype(np.float32)
    grad = Session(onnx_ig.differentiate(model, wrt=["s"]), "cpu").run({"x": x, "s": s, "cotangent_y": v})["grad_s"]
    for axis in (2, 3):
        step = np.float32(2**-9) * np.eye(4, dtype=np.float32)[axis]
        high, low = (forward.run({"x": x, "s": s + side * step})["y"] for side in (1, -1))
        np.testing.assert_allclose(grad[axis], np.sum(v * (high - low)) * 2**8, rtol=2e-3, atol=5e-3)


@pytest.mark.parametrize("shape", [[1, 1, 4, 4], [1, 1, 5, 5]])
def test_max_unpool_follows_the_runtimes_reading_of_its_indices(shape: list[int]) -> None:
    """MaxUnpool is linear and copies: whatever place the runtime copies an element to, its cotangent comes from."""
    text = f"""<ir_version: 8, opset_import: ["" : 18]> g (float[1,1,2,2] x) => (float[1,1,a,b] y)
              <int64[1,1,2,2] i = {{5, 7, 13, 15}}, int64[4] s = {{{", ".join(map(str, shape))}}}>
              {{ y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (x, i, s) }}"""
    gradient = onnx_ig.differentiate(onnx.parser.parse_model(text))
    x = np.array([5, 6, 7, 8], np.float32).reshape(1, 1, 2, 2)
    v = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    values = Session(gradient, "cpu").run({"x": x, "cotangent_y": v})
    places = [int(np.flatnonzero(values["y"] == element)[0]) for element in x.ravel()]
    np.testing.assert_array_equal(values["grad_x"].ravel(), v.ravel()[places])
