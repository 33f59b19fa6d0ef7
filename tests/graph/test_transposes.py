"""A product whose result is transposed again is taken of the other factor transposed; everything else stays."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx.parser
import pytest
import torch

import onnx_ig
from onnx_ig.runtime.session import Session

HEADER = (
    '<ir_version: 8, opset_import: ["" : 18]> g (float[N, 2, T, 4] q, float[N, 2, T, 4] k) => (float[N, 2, T, T] y)'
)
CONSTANTS = "<float s = {0.5}, float[1] of_one = {2.0}>"
# what is computed, how many Transposes its gradient takes: the model's own, kᵀ for dq, and one for dk
GRAPHS: dict[str, tuple[str, int]] = {
    "keys": ("t = Transpose<perm = [0, 1, 3, 2]>(k) y = MatMul(q, t)", 2),
    "scaled keys": ("t = Transpose<perm = [0, 1, 3, 2]>(k) c = Mul(t, s) y = MatMul(q, c)", 3),
    "scaled from the left": ("t = Transpose<perm = [0, 1, 3, 2]>(k) c = Mul(s, t) y = MatMul(q, c)", 3),
    "scaled twice": ("t = Transpose<perm = [0, 1, 3, 2]>(k) c = Div(t, of_one) d = Mul(c, s) y = MatMul(q, d)", 3),
}


def reference(q: torch.Tensor, k: torch.Tensor, scale: float) -> torch.Tensor:
    return q @ k.transpose(2, 3) * scale


@pytest.mark.parametrize("case", GRAPHS)
def test_the_cotangent_of_keys_is_not_transposed(case: str) -> None:
    nodes, transposes = GRAPHS[case]
    proto = onnx_ig.differentiate(onnx.parser.parse_model(f"{HEADER} {CONSTANTS} {{ {nodes} }}"))
    makes = {y: node for node in proto.graph.node for y in node.output}
    assert makes["grad_k"].op_type != "Transpose"
    assert Counter(node.op_type for node in proto.graph.node)["Transpose"] == transposes
    rng = np.random.default_rng(0)
    q, k = (rng.normal(size=(3, 2, 5, 4)).astype(np.float32) for _ in range(2))
    dy = rng.normal(size=(3, 2, 5, 5)).astype(np.float32)
    found = Session(proto, "cpu").run({"q": q, "k": k, "cotangent_y": dy})
    leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (q, k)]
    y = reference(*leaves, {"keys": 1.0, "scaled twice": 0.25}.get(case, 0.5))
    y.backward(torch.tensor(dy, dtype=torch.float64))
    np.testing.assert_allclose(found["y"], y.detach().numpy(), atol=1e-5)
    for name, leaf in zip(("q", "k"), leaves, strict=True):
        assert leaf.grad is not None
        np.testing.assert_allclose(found[f"grad_{name}"], leaf.grad.numpy(), atol=1e-5)


# products whose cotangent is taken as it comes
STAY: dict[str, str] = {
    "by a weight": "t = Transpose<perm = [0, 1, 3, 2]>(k) y = MatMul(t, w)",
    "scaled by a tensor": "t = Transpose<perm = [0, 1, 3, 2]>(k) m = Mul(t, q) y = MatMul(q, m)",
    "read twice": "t = Transpose<perm = [0, 1, 3, 2]>(k) y0 = MatMul(q, t) e = Exp(t) u = MatMul(q, e) y = Add(y0, u)",
}


@pytest.mark.parametrize("case", STAY)
def test_other_products_keep_their_gradient(case: str) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[N, 2, 4, 4] q, float[N, 2, 4, 4] k) => (float[N, 2, 4, 4] y)'
        f" <float[4, 4] w = {{1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7}}> {{ {STAY[case]} }}"
    )
    proto = onnx_ig.differentiate(model)
    rng = np.random.default_rng(1)
    q, k, dy = (rng.normal(size=(2, 2, 4, 4)).astype(np.float32) for _ in range(3))
    found = Session(proto, "cpu").run({"q": q, "k": k, "cotangent_y": dy})["grad_k"]
    leaf = torch.tensor(k, dtype=torch.float64, requires_grad=True)
    w = torch.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7], dtype=torch.float64).reshape(4, 4)
    t, other = leaf.transpose(2, 3), torch.tensor(q, dtype=torch.float64)
    y = {
        "by a weight": lambda: t @ w,
        "scaled by a tensor": lambda: other @ (t * other),
        "read twice": lambda: other @ t + other @ t.exp(),
    }[case]()
    y.backward(torch.tensor(dy, dtype=torch.float64))
    assert leaf.grad is not None
    np.testing.assert_allclose(found, leaf.grad.numpy(), rtol=1e-5, atol=1e-4)
    if case == "by a weight":  # on the right, where runtimes have it packed
        weights = {x.name for x in proto.graph.initializer if x.name.startswith("w")}
        assert not [n for n in proto.graph.node if n.op_type == "MatMul" and n.input[0] in weights]
