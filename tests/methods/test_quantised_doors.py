"""Quantised operators: 1, 2 and 7 examples, every form of a baseline, every door, beside torch's straight-through twin.

The one idea: the twin is asked for each example at each path point alone. Where the model takes one scale from all rows
of a Run, what rides along changes its rounding, so there the doors agree within that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
import torch

from tests.helpers.doors import DOORS, NODES, PRODUCTS, WEIGHTS, Case, assert_right, first_rows
from tests.helpers.torch_twin import Twin

RNG = np.random.default_rng(6)
SIZES = (1, 2, 7)


def floats(*shape: int) -> np.ndarray:
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def whole(dtype: Any, low: int, high: int, *shape: int) -> np.ndarray:
    return RNG.integers(low, high, shape).astype(dtype)


def number(value: float, dtype: Any = np.float32) -> np.ndarray:
    return np.array(value, dtype)


SCALE = {"s": number(0.02), "z": number(120, np.uint8)}
WEIGHTS_8 = {"ws": number(0.01), "wz": number(0, np.int8)}
LAST = "y = MatMul (t, last)"
# the nodes from x to t [N, 4]; their constants; the rest of x's shape; how far what rides along may change attributions
MODELS: dict[str, tuple[str, dict[str, np.ndarray], tuple[int, ...], float]] = {
    "between quantising and dequantising": (
        """q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  v = DequantizeLinear <axis = 1> (w, ws, wz)
        m = MatMul (d, v)  r = Sigmoid (m)  k = QuantizeLinear (r, s, z)  t = DequantizeLinear (k, s, z)""",
        {**SCALE, "w": whole(np.int8, -100, 100, 5, 4), "ws": np.full(4, 0.01, np.float32), "wz": np.zeros(4, np.int8)},
        (5,), 1e-4,
    ),
    "on quantised numbers": (
        """q = QuantizeLinear (x, s, z)  c = QLinearConv (q, s, z, w, ws, wz, s, z)
        a = com.microsoft.QLinearAdd (c, s, z, c, s, z, ts, z)  f = Flatten (a)
        m = QLinearMatMul (f, ts, z, u, ws, wz, s, z)  d = DequantizeLinear (m, s, z)  t = Sigmoid (d)""",
        {**SCALE, **WEIGHTS_8, "ts": number(0.04), "w": whole(np.int8, -60, 60, 2, 3, 2),
         "u": whole(np.int8, -60, 60, 8, 4)},
        (3, 5), 1e-4,
    ),
    "weights of 4 bits": (
        "m = com.microsoft.MatMulNBits <K = 16, N = 4, bits = 4, block_size = 16> (x, w, ws)  t = Tanh (m)",
        {"w": whole(np.uint8, 0, 256, 4, 1, 8), "ws": floats(4)},
        (16,), 1e-4,
    ),
    "scales from the data": (
        """q, qs, qz = DynamicQuantizeLinear (x)  i = MatMulInteger (q, w, qz, wz)  f = Cast <to = 1> (i)
        k = Mul (qs, ws)  m = Mul (f, k)  t = Tanh (m)""",
        {**WEIGHTS_8, "w": whole(np.int8, -100, 100, 5, 4)},
        (5,), 0.03,
    ),
    "scales from the data, in one operator": (
        "m = com.microsoft.DynamicQuantizeMatMul (x, w, ws, wz)  t = Tanh (m)",
        {**WEIGHTS_8, "w": whole(np.int8, -100, 100, 5, 4)},
        (5,), 0.03,
    ),
    "recurrent, scales from the data": (
        """x0 = Transpose <perm = [1, 0, 2]> (x)
        h = com.microsoft.DynamicQuantizeLSTM <hidden_size = 4> (x0, w, r, b, , , , , ws, wz, ws, wz)
        g = Squeeze (h, one)  t = Gather <axis = 0> (g, two)""",
        {"w": whole(np.int8, -100, 100, 1, 5, 16), "r": whole(np.int8, -100, 100, 1, 4, 16), "b": floats(1, 32),
         "ws": np.full(1, 0.01, np.float32), "wz": np.zeros(1, np.int8), "one": np.array([1]), "two": np.array(2)},
        (3, 5), 0.03,
    ),
}  # fmt: skip


def model(name: str) -> onnx.ModelProto:
    text, constants, rest, _ = MODELS[name]
    shape = ", ".join(map(str, rest))
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18, "com.microsoft" : 1]> f (float[N, {shape}] x) => (float[N, 2] y)'
        f" {{ {text}  {LAST} }}"
    )
    last = np.array([[1, -2], [3, 0.5], [-1, 2], [0.7, -3]], np.float32)
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, key) for key, value in {**constants, "last": last}.items()
    )
    return proto


def wanted(case: Case, start: Any, *, integrated: bool = True) -> np.ndarray:
    """(x − x') · Σ_k w_k ∇F(x' + a_k (x − x')), or x · ∇F(x), of each example alone."""
    twin, x = Twin(case.model), case.inputs["x"]
    starts = np.broadcast_to(np.asarray(start, np.float32), x.shape)
    found = np.zeros_like(x)
    for i in range(len(x)):
        row, first = torch.tensor(x[i : i + 1]), torch.tensor(starts[i : i + 1].copy())
        for a, weight in zip(NODES, WEIGHTS, strict=True) if integrated else [(1.0, 1.0)]:
            point = (first + a * (row - first)).float().requires_grad_()
            (gradient,) = torch.autograd.grad(twin(x=point)["y"][0, case.target], point)
            found[i : i + 1] += weight * ((row - first) * gradient).detach().numpy()
    return found


@pytest.mark.filterwarnings("ignore:the attributions of")  # in so few steps, and by straight-through derivatives
@pytest.mark.parametrize("name", MODELS)
def test_every_door(name: str, tmp_path: Path) -> None:
    _, _, rest, tolerance = MODELS[name]
    case = Case(model(name), {"x": floats(7, *rest)})
    for baselines in ({"x": 0.1}, {"x": floats(1, *rest) / 4}, {"x": floats(7, *rest) / 4}):
        expected = {"x": wanted(case, baselines["x"])}
        for door, opened in DOORS.items():
            attribute = opened(case, baselines, tmp_path)
            for n in SIZES:
                found = attribute(case.first(n), first_rows(baselines, n))
                assert_right(found, first_rows(expected, n), tolerance, f"{door}, {n} examples")
    expected = {"x": wanted(case, 0, integrated=False)}
    for door, opened in PRODUCTS.items():
        attribute = opened(case, {}, tmp_path)
        for n in SIZES:
            assert_right(attribute(case.first(n), {}), first_rows(expected, n), tolerance, f"{door}, {n} examples")
