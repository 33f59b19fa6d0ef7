"""Small models whose outputs have several classes or positions, one for each way in which examples lie in a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
from sklearn.datasets import load_digits

RNG = np.random.default_rng(2)
X, Z = (RNG.normal(size=(5, 4)).astype(np.float32) for _ in range(2))
DIGITS = Path(__file__).resolve().parents[2] / "models" / "digits_cnn" / "digits_cnn.onnx"
IMAGES = (load_digits().images[1400:1405, None] / 16).astype(np.float32)


def model(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    made = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> f {text}')
    made.graph.initializer.extend(onnx.numpy_helper.from_array(w, n) for n, w in weights.items())
    return made


def net(rows: str = "N", size: str = "float", dtype: Any = np.float32) -> onnx.ModelProto:
    rng = np.random.default_rng(3)
    return model(
        f"({size}[{rows}, 4] x) => ({size}[{rows}, 6] y) {{ a = MatMul (x, w)  h = Tanh (a)  b = MatMul (h, v)"
        "  y = Softmax (b) }",
        w=rng.normal(size=(4, 8)).astype(dtype),
        v=rng.normal(size=(8, 6)).astype(dtype),
    )


ROWS = model(
    "(float[N, 4] x, float[N, 4] z) => (float[N, 4] y) { m = Mul (x, z)  h = Tanh (m)  y = MatMul (h, w) }",
    w=RNG.normal(size=(4, 4)).astype(np.float32),
)
STATES = model(
    "(float[N, 4] x, float[2, N, 4] s) => (float[N, 4] y) { a = Gather (s, zero)  m = Mul (x, a)  h = Tanh (m)"
    "  y = MatMul (h, w) }",
    zero=np.array(0), w=RNG.normal(size=(4, 4)).astype(np.float32),
)  # fmt: skip
CHOICE = model(
    "(float[N, 4] x) => (float[N, 4] y) { r = ReduceSum <keepdims = 0> (x)  k = Greater (r, zero)"
    "  y = If (k) <then_branch = a () => (float[N, 4] p) { q = Sin (x) p = Mul (q, x) },"
    "  else_branch = e () => (float[N, 4] o) { o = Mul (x, x) }> }",
    zero=np.array(0, np.float32),
)
MAPS = model(
    "(float[N, 4] x) => (float[N, 2, 2] y) { h = Tanh (x)  s = Mul (h, x)  y = Reshape (s, t) }",
    t=np.array([0, 2, 2]),
)
