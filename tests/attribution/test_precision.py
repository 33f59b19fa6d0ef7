"""Half precision: gradients that float16 would lose or overflow, sums in float32, float16 inside float32, bfloat16."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from click.testing import CliRunner
from onnx.reference import ReferenceEvaluator
from torch import nn

import onnx_ig
from onnx_ig.cli import app
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


@pytest.mark.filterwarnings("default:.* holds bfloat16")
@pytest.mark.parametrize("dtype", TYPES)
def test_element_types_in_the_exported_file(dtype: str, tmp_path: Path) -> None:
    """In onnx's reference evaluator, which alone computes in bfloat16."""
    kind = TYPES[dtype]
    model = parsed(f"f ({dtype}[N, 4] x) => ({dtype}[N, 2] y) {{ s = Tanh (x) y = MatMul (s, w) }}", w=W.astype(kind))
    file = onnx_ig.export(model, tmp_path / "ig.onnx", target=1, n_steps=20)
    onnx.checker.check_model(file, full_check=True)
    x = X.astype(kind)
    got, delta = ReferenceEvaluator(onnx.load(file)).run(["attribution_x", "convergence_delta"], {"x": x})
    assert got.dtype == kind and delta.dtype == (np.float64 if dtype == "double" else np.float32)
    error = np.abs(got.astype(np.float64) - np.tanh(x.astype(np.float64)) * W[:, 1])
    assert error.max() < 8 * float(ml_dtypes.finfo(kind).eps)


def in_bfloat16() -> onnx.ModelProto:
    """y = tanh x · W, and beside it what names a type in an attribute, a body and a sequence."""
    return parsed(
        """f (bfloat16[N, 4] x, bool flag) => (bfloat16[N, 2] y) {
        zero = ConstantOfShape <value = bfloat16[1] {0}> (shape) h = Add (x, zero)
        s = If (flag) <then_branch = g () => (bfloat16[N, 4] a) { a = Tanh (h) },
                       else_branch = g () => (bfloat16[N, 4] b) { b = Cast <to = 16> (h) }>
        several = SequenceConstruct (s) first = SequenceAt (several, place) y = MatMul (first, w) }""",
        w=W.astype(ml_dtypes.bfloat16), shape=np.array([4]), place=np.array(0),
    )  # fmt: skip


@pytest.mark.parametrize("method", ["IntegratedGradients", "InputXGradient"])
def test_bfloat16_is_computed_in_float32_and_said(method: str, tmp_path: Path) -> None:
    model, x = in_bfloat16(), X.astype(ml_dtypes.bfloat16)
    onnx.save(model, tmp_path / "m.onnx")
    expected = np.tanh(X) if method == "IntegratedGradients" else X * (1 - np.tanh(X) ** 2)
    for source in (model, tmp_path / "m.onnx", model.SerializeToString()):
        with pytest.warns(onnx_ig.OnnxIgWarning, match="holds bfloat16.*computed in float32"):
            found = getattr(onnx_ig, method)(source, provider="cpu").attribute(
                x, target=1, additional_forward_args=np.array(True)
            )
        assert found.dtype == x.dtype
        np.testing.assert_allclose(found.astype(np.float64), expected * W[:, 1], rtol=0.02)


@pytest.mark.filterwarnings("default:.* holds bfloat16")
def test_bfloat16_in_files(tmp_path: Path) -> None:
    """What is written by the command line is float32, whose arrays any program reads."""
    np.save(tmp_path / "x.npy", X.astype(np.float32))
    np.save(tmp_path / "flag.npy", np.array(True))
    onnx.save(in_bfloat16(), tmp_path / "m.onnx")
    onnx_ig.export(in_bfloat16(), tmp_path / "step.onnx", form="step", target=1, baselines=0)
    for file in ("m.onnx", "step.onnx"):
        arguments = [
            "attribute",
            str(tmp_path / file),
            "-i",
            f"x={tmp_path / 'x.npy'}",
            "--extra",
            f"flag={tmp_path / 'flag.npy'}",
        ]
        target = ["--target", "1"] if file == "m.onnx" else []
        done = CliRunner().invoke(app, [*arguments, *target, "-o", str(tmp_path / "out"), "--overwrite"])
        assert done.exit_code == 0 and "computed in float32" in done.stderr, done.output
        with np.load(tmp_path / "out/attributions.npz", allow_pickle=False) as arrays:
            assert arrays["attribution_x"].dtype == np.float32
            np.testing.assert_allclose(arrays["attribution_x"], np.tanh(X) * W[:, 1], rtol=0.02)


def test_bfloat16_in_torch_is_as_near_as_its_rounding() -> None:
    """Modules in bfloat16 and under autocast, against autograd in float64 at the same weights."""
    torch.manual_seed(20)  # F of one example nearly vanishes, so that rounding is 6 % of it
    net = nn.Sequential(nn.Conv1d(3, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2)).eval().bfloat16().float()
    x = torch.linspace(-1, 1, 24).reshape(2, 3, 4)

    def autocast(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            result: torch.Tensor = net(x).float()
        return result

    cases: list[tuple[Any, torch.Tensor]] = [(copy.deepcopy(net).bfloat16(), x.bfloat16()), (autocast, x)]
    for function, given in cases:
        exact = given.double().requires_grad_()
        (gradient,) = torch.autograd.grad(copy.deepcopy(net).double()(exact)[:, 1].sum(), exact)
        expected = (exact * gradient).detach()
        with pytest.warns(onnx_ig.OnnxIgWarning, match="computed in float32"):
            found = onnx_ig.InputXGradient(function).attribute(given, target=1)
        assert found.dtype == given.dtype
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=0.02 * float(expected.abs().max()))


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
