"""An additional input with its examples on another axis than the first (states of recurrent layers), by every door."""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

import onnx_ig
from onnx_ig.errors import InputError
from tests.doors import DOORS, NODES, PRODUCTS, WEIGHTS, Case, assert_right, first_rows

RNG = np.random.default_rng(5)
X, Z = (RNG.normal(size=(7, 3)).astype(np.float32) for _ in range(2))
STATE = RNG.normal(size=(2, 7, 3)).astype(np.float32)
W = RNG.normal(size=(3, 2)).astype(np.float32)


def model(named: bool) -> onnx.ModelProto:
    """y = tanh((x · sin s₀ + s₁) W) for states s [2, N, 3]."""
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x, float[2, N, 3] s) => (float[N, 2] y)
        <int64 zero = {0}, int64 one = {1}> { a = Gather (s, zero)  b = Gather (s, one)  c = Sin (a)
        m = Mul (x, c)  h = Add (m, b)  p = MatMul (h, w)  y = Tanh (p) }"""
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(W, "w"))
    for value in () if named else (*proto.graph.input, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            dim.ClearField("dim_param") if dim.dim_param else None
    return proto


def by_formula(baseline: np.ndarray | float, integrated: bool) -> np.ndarray:
    x, s = X.astype(np.float64), STATE.astype(np.float64)
    start = np.broadcast_to(np.asarray(baseline, np.float64), x.shape)
    total = np.zeros(x.shape)
    for a, weight in zip(NODES, WEIGHTS, strict=True) if integrated else [(1.0, 1.0)]:
        slope = 1 - np.tanh(((start + a * (x - start)) * np.sin(s[0]) + s[1]) @ W)[:, 1:] ** 2
        total += weight * slope * np.sin(s[0]) * W[:, 1]
    return np.asarray((x - start) * total)


@pytest.mark.parametrize("named", [True, False])
def test_states(named: bool, tmp_path: Path) -> None:
    for doors, integrated in (({k: DOORS[k] for k in ("engine", "complete", "step")}, True), (PRODUCTS, False)):
        baselines = {"x": Z} if integrated else {}
        wanted = {"x": by_formula(Z if integrated else 0, integrated)}
        for door, opened in doors.items():
            attribute = opened(Case(model(named), {"x": X}, {}, {"s": STATE}), baselines, tmp_path)
            for n in (1, 2, 7):
                case = Case(model(named), {"x": X[:n]}, {}, {"s": STATE[:, :n]})
                assert_right(attribute(case, first_rows(baselines, n)), first_rows(wanted, n), note=f"{door}, {n}")


def test_examples_stay_together() -> None:
    with pytest.raises(InputError, match="stay together"):
        onnx_ig.InputXGradient(model(True)).attribute({"x": X}, 1, {"s": STATE}, internal_batch_size=2)


def test_dimensions_that_a_branch_not_taken_cannot_have() -> None:
    """Opened again for fixed shapes, ONNX Runtime would refuse the branch that squeezes what is no one."""
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> f (float[N, L] x) => (float[N, 1] y)
        <int64[1] one = {1}, int64[1] two = {2}, float[1, 1, 2] k = {0.5, 2}> {
        u = Unsqueeze (x, one)  c = Conv (u, k)  t = Tanh (c)  s = Shape (t)  d = Gather (s, two)  e = Equal (d, one)
        f = Squeeze (e)  g = If (f) <then_branch = a () => (p) { p = Squeeze (t, two) },
        else_branch = b () => (q) { q = ReduceSum <keepdims = 0> (t, two) }>  y = Identity (g) }"""
    )
    attribute = onnx_ig.IntegratedGradients(proto, provider="cpu").attribute
    x = RNG.normal(size=(1, 5)).astype(np.float32)
    first = attribute({"x": x}, n_steps=4)["x"]
    for _ in range(14):
        np.testing.assert_allclose(attribute({"x": x}, n_steps=4)["x"], first, rtol=1e-5, atol=1e-7)
