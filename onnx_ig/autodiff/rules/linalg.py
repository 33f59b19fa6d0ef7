"""VJP rules of matrix products."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.builder import OpBuilder
from onnx_ig.autodiff.node import attr_float, attr_int, given, known_rank
from onnx_ig.autodiff.registry import Cotangents, vjp


@vjp("MatMul")
def matmul(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """Y[..., M, N] = A[..., M, K] @ B[..., K, N]:  dA = dY @ Bᵀ,  dB = Aᵀ @ dY, summed over broadcast axes.

    A vector A[K] stands for [1, K] and B[K] for [K, 1]; the axis so added is absent from Y (numpy's rule).
    """
    a, b = given(node, 0), given(node, 1)
    row, column = known_rank(node, a) == 1, known_rank(node, b) == 1
    a2 = op.Unsqueeze(a, [0]) if row else a
    b2 = op.Unsqueeze(b, [-1]) if column else b
    dy2 = op.Unsqueeze(dy, [-1]) if column else dy
    dy2 = op.Unsqueeze(dy2, [-2]) if row else dy2

    def da() -> ir.Value:
        da2 = op.unbroadcast(op.MatMul(dy2, _transposed(op, node, b2)), a2)
        return op.Squeeze(da2, [0]) if row else da2

    def db() -> ir.Value:
        db2 = op.unbroadcast(op.MatMul(_transposed(op, node, a2), dy2), b2)
        return op.Squeeze(db2, [-1]) if column else db2

    return da, db


@vjp("Gemm")
def gemm(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """Y[M, N] = α A' @ B' + β C with A' = A or Aᵀ, B' = B or Bᵀ.

    dA' = α dY @ B'ᵀ,  dB' = α A'ᵀ @ dY,  dC = β dY (summed to C).
    """
    a, b = given(node, 0), given(node, 1)
    alpha, beta = attr_float(node, "alpha", 1.0), attr_float(node, "beta", 1.0)
    ta, tb = attr_int(node, "transA", 0), attr_int(node, "transB", 0)

    def da() -> ir.Value:
        if ta:  # dA = (dY @ B'ᵀ)ᵀ = B' @ dYᵀ
            return op.Gemm(b, dy, alpha=alpha, transA=tb, transB=1)
        return op.Gemm(dy, b, alpha=alpha, transB=1 - tb)

    def db() -> ir.Value:
        if tb:  # dB = (A'ᵀ @ dY)ᵀ = dYᵀ @ A'
            return op.Gemm(dy, a, alpha=alpha, transA=1, transB=ta)
        return op.Gemm(a, dy, alpha=alpha, transA=1 - ta)

    def dc() -> ir.Value:
        scaled = dy if beta == 1.0 else op.Mul(dy, beta)
        return op.unbroadcast(scaled, given(node, 2))

    return (da, db, dc)[: len(node.inputs)]


def _transposed(op: OpBuilder, node: ir.Node, x: ir.Value) -> ir.Value:
    """The last two axes of ``x`` swapped."""
    axes = list(range(known_rank(node, x)))
    return op.Transpose(x, perm=[*axes[:-2], axes[-1], axes[-2]])
