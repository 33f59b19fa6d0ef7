"""Half precision: gradients that float16 would lose or overflow, sums in float32, bfloat16, float16 inside float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.reference import ReferenceEvaluator

import onnx_ig
from onnx_ig.errors import ModelError
from onnx_ig.runtime.session import Session

X = np.random.default_rng(0).uniform(0.2, 1, (3, 4))
W = np.array([[1, -2], [3, 4], [-5, 6], [0.5, 1]])
TYPES: dict[str, Any] = {
    "float": np.float32,
    "double": np.float64,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}


def parsed(text: str, **constants: np.ndarray) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(v, n) for n, v in constants.items())
    return proto


def scaled(first: float, second: float) -> onnx.ModelProto:
    """y = Σ first · second · tanh x, in float16, the cotangent meeting ``second`` before ``first``."""
    constants = {"a": np.array(first, np.float16), "b": np.array(second, np.float16), "one": np.array([1])}
    return parsed(
        "f (float16[N, 4] x) => (float16[N] y) { e = Tanh (x) s = Mul (e, a) t = Mul (s, b)"
        " y = ReduceSum <keepdims = 0> (t, one) }",
        **constants,
    )


# a gradient of first · second, on whose way the cotangent is second
PRODUCTS: dict[str, tuple[float, float]] = {
    "below what float16 resolves on the way": (6e4, 1e-7),
    "a millionth": (1e-3, 1e-3),
    "beyond the first scale": (1e3, 1.0),
    "beyond the second scale": (0.1, 6e4),
    "ordinary": (0.5, 3.0),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_no_gradient_is_lost_or_overflows(name: str) -> None:
    model, x = scaled(*PRODUCTS[name]), X.astype(np.float16)
    factor = float(np.prod([np.float16(v).astype(np.float64) for v in PRODUCTS[name]]))
    gradient = onnx_ig.InputXGradient(model, multiply_by_inputs=False, provider="cpu").attribute(x)
    expected = factor * (1 - np.tanh(x.astype(np.float64)) ** 2)
    np.testing.assert_allclose(gradient.astype(np.float64), expected, rtol=0.02, atol=6e-8)
    integrated = onnx_ig.IntegratedGradients(model, provider="cpu").attribute(x, n_steps=20, internal_batch_size=15)
    np.testing.assert_allclose(integrated.astype(np.float64), factor * np.tanh(x), rtol=0.02, atol=6e-8)


def test_what_float16_cannot_hold_is_infinite_and_never_plausible() -> None:
    got = onnx_ig.InputXGradient(scaled(6e4, 10.0), provider="cpu").attribute(X.astype(np.float16))
    assert np.isinf(got).all()


@pytest.mark.filterwarnings("default:.* was not (run|checked)")  # no kernels of bfloat16 here
@pytest.mark.parametrize("dtype", TYPES)
def test_element_types_in_the_exported_file(dtype: str, tmp_path: Path) -> None:
    """In onnx's reference evaluator: ONNX Runtime has no bfloat16 kernels on CPU."""
    kind = TYPES[dtype]
    model = parsed(f"f ({dtype}[N, 4] x) => ({dtype}[N, 2] y) {{ s = Tanh (x) y = MatMul (s, w) }}", w=W.astype(kind))
    file = onnx_ig.export(model, tmp_path / "ig.onnx", target=1, n_steps=20)
    onnx.checker.check_model(file, full_check=True)
    x = X.astype(kind)
    got, delta = ReferenceEvaluator(onnx.load(file)).run(["attribution_x", "convergence_delta"], {"x": x})
    assert got.dtype == kind and delta.dtype == (np.float64 if dtype == "double" else np.float32)
    error = np.abs(got.astype(np.float64) - np.tanh(x.astype(np.float64)) * W[:, 1])
    assert error.max() < 8 * float(ml_dtypes.finfo(kind).eps)


def test_a_type_without_kernels_is_refused_with_what_to_do() -> None:
    model = parsed("f (bfloat16[N, 4] x) => (bfloat16[N, 4] y) { y = Tanh (x) }")
    with pytest.raises(ModelError, match=r"Tanh.*bfloat16.*convert the model to float32"):
        onnx_ig.InputXGradient(model, provider="cpu").attribute(X.astype(ml_dtypes.bfloat16), target=1)


def test_float16_inside_a_float32_model() -> None:
    model = parsed(
        """f (float[N, 4] x) => (float[N, 2] y) { h = Cast <to = 10> (x) s = Tanh (h) t = Mul (s, a) z = MatMul (t, w)
        c = Cast <to = 1> (z) y = Mul (c, b) }""",
        w=W.astype(np.float16), a=np.array(1e-4, np.float16), b=np.array(1e-4, np.float32),
    )  # fmt: skip
    got = onnx_ig.IntegratedGradients(model, provider="cpu").attribute(X.astype(np.float32), target=1, n_steps=20)
    np.testing.assert_allclose(got, np.tanh(X) * W[:, 1] * 1e-8, rtol=0.02)


def test_the_parts_of_the_step_form_are_float32(tmp_path: Path) -> None:
    file = onnx_ig.export(scaled(1e-3, 1e-3), tmp_path / "step.onnx", form="step", baselines=0)
    nodes, weights = (values.astype(np.float32) for values in np.polynomial.legendre.leggauss(9))
    session, x = Session(file, "cpu"), X.astype(np.float16)
    total = np.zeros(X.shape)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        part = session.run({"x": x, "path_nodes": node[None], "path_weights": weight[None]})["attribution_x"]
        assert part.dtype == np.float32
        total += part
    np.testing.assert_allclose(total, np.tanh(x.astype(np.float64)) * 1e-6, rtol=0.01)
