"""VJP rules of matrix products."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder, rank_of
from onnx_ig.graph.node import attr_float, attr_int, given
from onnx_ig.graph.shapes import ones, with_last_axes


@vjp("MatMul")
def matmul(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """Y[..., M, N] = A[..., M, K] @ B[..., K, N]:  dA = dY @ Bᵀ,  dB = Aᵀ @ dY, summed over broadcast axes.

    A vector A[K] stands for [1, K] and B[K] for [K, 1]; the axis so added is absent from Y (numpy's rule).
    """
    a, b = given(node, 0), given(node, 1)
    a2, b2 = _as_matrices(op, a, 0), _as_matrices(op, b, 1)
    dy2 = _as_product(op, dy, a, a2, b, b2)

    def da() -> ir.Value:
        da2 = op.unbroadcast(op.MatMul(dy2, with_last_axes(op, b2, [1, 0])), a2)
        return da2 if a2 is a else op.reshape_like(da2, a)

    def db() -> ir.Value:
        db2 = op.unbroadcast(op.MatMul(with_last_axes(op, a2, [1, 0]), dy2), b2)
        return db2 if b2 is b else op.reshape_like(db2, b)

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


def _as_matrices(op: OpBuilder, x: ir.Value, place: int) -> ir.Value:
    """``x``, or where it is a vector (only the run may know) the matrix with an axis of one element put in."""
    rank = rank_of(x)
    if rank is not None:
        return x if rank > 1 else op.Unsqueeze(x, [place])
    parts = [op.Shape(x)]
    parts.insert(place, ones(op, op.Max(op.Sub(2, op.rank(x)), 0)))
    return op.Reshape(x, op.Concat(*parts, axis=0), allowzero=1)


def _as_product(op: OpBuilder, dy: ir.Value, a: ir.Value, a2: ir.Value, b: ir.Value, b2: ir.Value) -> ir.Value:
    """``dy`` in the shape of a2 @ b2."""
    if None in (rank_of(a), rank_of(b)):
        lead = op.Sub(op.Max(op.rank(a2), op.rank(b2)), 2)
        batch = op.Slice(op.Shape(dy), [0], op.Reshape(lead, [1]))
        return op.Reshape(dy, op.Concat(batch, op.dim(a2, -2), op.dim(b2, -1), axis=0), allowzero=1)
    dy = dy if b2 is b else op.Unsqueeze(dy, [-1])
    return dy if a2 is a else op.Unsqueeze(dy, [-2])
