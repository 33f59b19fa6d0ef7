"""VJP rules of normalisations by a norm: along one axis (LpNormalization), and across neighbouring channels (LRN)."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.masks import number
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_float, attr_int, given


@vjp("LpNormalization")
def lp_normalization(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x / n with n = Σ|x| or √Σx² along ``axis``:  dx = (dy − u·Σ(dy·y)) / n with u = ∂n/∂x = sign x or y."""
    x, y, axis = given(node, 0), node.outputs[0], attr_int(node, "axis", -1)
    if attr_int(node, "p", 2) == 1:
        norm, slope = op.ReduceL1(x, [axis], keepdims=1), op.Sign(x)
    else:
        norm, slope = op.ReduceL2(x, [axis], keepdims=1), y
    along = op.ReduceSum(op.Mul(dy, y), [axis], keepdims=1)
    return op.Div(op.Sub(dy, op.Mul(slope, along)), norm)


@vjp("LRN")
def local_response_normalization(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x·S^(−β), S = k + α·mean x² over ``size`` channels around each:  dx = dy·S^(−β) − 2αβ·x·mean'(dy·y/S),

    where mean' runs over the channels whose window holds this one.
    """
    x, y, size = given(node, 0), node.outputs[0], attr_int(node, "size", 1)
    alpha, beta, k = (attr_float(node, name, d) for name, d in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    before, after = (size - 1) // 2, size // 2  # channels that the window reaches below and above
    s = op.Add(op.Mul(_channel_mean(op, op.Mul(x, x), size, before, after), alpha), k)
    share = _channel_mean(op, op.Div(op.Mul(dy, y), s), size, after, before)
    return op.Sub(op.Mul(dy, op.Pow(s, number(op, -beta, s))), op.Mul(op.Mul(x, share), 2 * alpha * beta))


def _channel_mean(op: OpBuilder, x: ir.Value, size: int, before: int, after: int) -> ir.Value:
    """Σ over the channels c−before … c+after of x [N, C, ...], divided by ``size``; channels outside count as zeros."""
    columns = op.Reshape(x, op.Concat([0, 1], op.dim(x, 1), [-1], axis=0))  # [N, 1, C, the rest]
    pooled = op.AveragePool(columns, kernel_shape=[size, 1], pads=[before, 0, after, 0], count_include_pad=1)
    return op.reshape_like(pooled, x)
