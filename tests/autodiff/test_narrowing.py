"""Only what is read of a tensor is computed, and its gradient is the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from numpy.testing import assert_allclose

import onnx_ig
from onnx_ig.autodiff import gradient
from onnx_ig.runtime.session import Session

HEADER = '<ir_version: 8, opset_import: ["" : 18]> g (float[N, 6, 4] x) => (float[N, K, L] y)'
CONSTANTS = """<float[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4, 2, 0, 1, 3}, float[4] b = {1, -1, 2, 0.5},
    float[6, 4] table = {1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4, 2, 0, 1, 3, 1, 1, 2, 2, 3, 3, 4, 4},
    int64[1] last = {-1}, int64[1] third = {2}, int64[1] zero = {0}, int64[1] one = {1}, int64[1] four = {4},
    float half = {0.5},
    int64[1] two = {2}, int64[3] split = {0, 6, 4}, int64[4] heads = {0, 6, 2, 2}, int64[1] end = {9223372036854775807},
    int64 first = {0}>"""
THIRD = "y = Gather <axis = 1> (t, third)"
LAST = "y = Gather <axis = 1> (t, last)"
SOME = "y = Slice (t, one, four, one)"
REST = "y = Slice (t, two, end, one, one)"
TOKEN = "c = Gather <axis = 1> (t, first) y = Unsqueeze (c, one)"
ATTENTION = """q = MatMul (x, w) a = Reshape (q, heads) a1 = Transpose <perm = [0, 2, 1, 3]> (a)
    k = Transpose <perm = [0, 2, 3, 1]> (a) s = MatMul (a1, k) m = Mul (s, half) p = Softmax <axis = -1> (m)
    o = MatMul (p, a1) o1 = Transpose <perm = [0, 2, 1, 3]> (o) u = Reshape (o1, split) r = Add (u, x)
    n = LayerNormalization <axis = -1> (r, b, b) h = MatMul (n, w) h1 = Tanh (h) t = Add (h1, n)"""

# What computes t, what reads it, and the size of t's axis 1 afterwards (6: it stays whole).
NARROWED = {
    "attention, one token": (ATTENTION, TOKEN, 1),
    "attention, last token": (ATTENTION, LAST, 1),
    "attention, some tokens": (ATTENTION, SOME, 3),
    "product": ("t = MatMul (x, w)", REST, 4),
    "second factor": ("v = Transpose <perm = [0, 2, 1]> (x) v1 = MatMul (x, v) t = Relu (v1)", THIRD, 1),
    "columns": (
        "z = Transpose <perm = [0, 2, 1]> (x) v = MatMul (w, z) t = Transpose <perm = [0, 2, 1]> (v)",
        THIRD,
        1,
    ),
    "broadcast tensor": ("t = Mul (x, table)", THIRD, 1),
    "broadcast axis": ("v = ReduceMax <keepdims = 1> (x, one) t = Sub (x, v)", SOME, 3),
    "mean of a row": ("v = ReduceMean <keepdims = 1> (x, two) w1 = Sub (x, v) t = Mul (w1, w1)", LAST, 1),
    "softmax along the axis": ("t = Softmax <axis = 1> (x)", THIRD, 6),
    "normalised over the axis": ("t = LayerNormalization <axis = 1> (x, table)", THIRD, 6),
    "read whole too": ("t = Tanh (x)", "g1 = Gather <axis = 1> (t, third) y = Add (g1, t)", 6),
    "two cuts": (
        "t = Tanh (x)",
        "g1 = Gather <axis = 1> (t, third) g2 = Gather <axis = 1> (t, last) y = Add (g1, g2)",
        6,
    ),
    "two readers, one cut": (
        "t = Tanh (x)",
        "g1 = Gather <axis = 1> (t, third) g2 = Gather <axis = 1> (t, third) y = Mul (g1, g2)",
        1,
    ),
}


X = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)


def _model(name: str) -> onnx.ModelProto:
    made, read, _ = NARROWED[name]
    return onnx.parser.parse_model(f"{HEADER} {CONSTANTS} {{ {made} {read} }}")


@pytest.mark.parametrize("name", NARROWED)
def test_the_same_of_less(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    narrowed = onnx_ig.differentiate(_model(name))
    monkeypatch.setattr(gradient, "narrow", lambda op, kept: None)
    whole = onnx_ig.differentiate(_model(name))
    for model, size in ((narrowed, NARROWED[name][2]), (whole, 6)):
        (t,) = (v for v in model.graph.value_info if v.name == "t")
        assert t.type.tensor_type.shape.dim[1].dim_value == size
    y = Session(_model(name), "cpu").run({"x": X})["y"]
    feeds = {"x": X, "cotangent_y": np.random.default_rng(1).normal(size=y.shape).astype(np.float32)}
    expected = Session(whole, "cpu").run(feeds)
    for output, found in Session(narrowed, "cpu").run(feeds).items():
        assert_allclose(found, expected[output], rtol=1e-5, atol=1e-5)


def test_a_tensor_that_is_attributed_stays_whole() -> None:
    method = onnx_ig.IntegratedGradients(_model("product"), at="t", provider="cpu")
    found = method.attribute(torch.from_numpy(X), target=(0, 0), n_steps=4)
    assert found.shape == X.shape
    assert found[:, 2, 0].all()
    assert found.count_nonzero() == len(X)
