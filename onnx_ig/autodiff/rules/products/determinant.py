"""VJP rule of Det: by cofactors, so that singular matrices have their gradient too."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import given
from onnx_ig.graph.shapes import with_last_axes


@vjp("Det")
def det(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y[...] = det X[..., n, n]:  dXᵢⱼ = dy · (−1)ⁱ⁺ʲ · det(X without row i and column j).

    ONNX has no inverse. The n² minors are gathered into one tensor [..., n, n, n−1, n−1]: meant for small n.
    """
    x = given(node, 0)
    size = op.dim(x, -1)
    dy = op.Unsqueeze(dy, [-2, -1])
    if x.shape is not None and 1 in (x.shape[-1], x.shape[-2]):
        return dy
    n = op.Squeeze(size, [0])
    rows, rest = op.Range(0, n, 1), op.Range(0, op.Sub(n, 1), 1)
    column = op.Unsqueeze(rows, [1])
    skipping = op.Add(
        rest, op.Cast(op.GreaterOrEqual(rest, column), to=ir.DataType.INT64)
    )  # [n, n−1]: 0..n−1 without i
    without_row = op.Gather(x, skipping, axis=-2)  # [..., i, n−1, n]
    without_both = op.Gather(without_row, skipping, axis=-1)  # [..., i, n−1, j, n−1]
    minors = op.Det(with_last_axes(op, without_both, [0, 2, 1, 3]))
    odd = op.Mod(op.Add(rows, column), 2)
    sign = cast_like(op, op.Sub(1, op.Mul(odd, 2)), x)
    return op.Mul(dy, op.Mul(minors, sign))
