"""VJP rules of Softmax, LogSoftmax and the two classification losses built on them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnx_ig.autodiff.axes import per_channel
from onnx_ig.autodiff.masks import cast_like
from onnx_ig.autodiff.registry import Cotangents, lowering, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, attr_str, given, optional


@vjp("Softmax")
def softmax(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """See :func:`softmax_cotangent`."""
    return softmax_cotangent(op, node.outputs[0], attr_int(node, "axis", -1), dy)


def softmax_cotangent(op: OpBuilder, y: ir.Value, axis: int, dy: ir.Value) -> ir.Value:
    """y = eˣ / Σ eˣ along an axis:  dx = y · dy − y · Σ(y · dy)."""
    weighted = op.Mul(y, dy)
    return op.Sub(weighted, op.Mul(y, op.ReduceSum(weighted, [axis], keepdims=1)))


@vjp("LogSoftmax")
def log_softmax(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x − ln Σ eˣ along an axis:  dx = dy − eʸ · Σ dy."""
    axis = attr_int(node, "axis", -1)
    return op.Sub(dy, op.Mul(op.Exp(node.outputs[0]), op.ReduceSum(dy, [axis], keepdims=1)))


@lowering("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(op: OpBuilder, node: ir.Node) -> Sequence[ir.Value | None]:
    """The negative log likelihood of the logarithms of the classes' probabilities."""
    log_probability = op.LogSoftmax(given(node, 0), axis=1)
    loss = op.NegativeLogLikelihoodLoss(
        log_probability,
        given(node, 1),
        optional(node, 2),
        reduction=attr_str(node, "reduction", "mean"),
        ignore_index=attr_int(node, "ignore_index", 0) if "ignore_index" in node.attributes else None,
    )
    return [loss, log_probability][: len(node.outputs)]


@vjp("NegativeLogLikelihoodLoss")
def negative_log_likelihood(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """lₙ = −w_t · xₙ,t for the target class t of each position n of x [N, C, ...];  y = l, Σ l, or Σ l / W W = Σ w_t.

    With T [N, C, ...] = [c = t and t is not ignored]:  dx = −dy·w·T (/ W),  dw = −Σₙ dy·x·T, or −Σₙ dy·(x + y)·T / W.
    """
    x, target, weight, y = given(node, 0), given(node, 1), optional(node, 2), node.outputs[0]
    reduction = attr_str(node, "reduction", "mean")
    classes = per_channel(op, op.Range(0, op.Squeeze(op.dim(x, 1), [0]), 1), x)
    hit = op.Equal(op.Cast(op.Unsqueeze(target, [1]), to=ir.DataType.INT64), classes)
    if "ignore_index" in node.attributes:
        hit = op.And(hit, op.Not(op.Equal(classes, attr_int(node, "ignore_index", 0))))
    chosen = cast_like(op, hit, x)
    weighted = chosen if weight is None else op.Mul(chosen, per_channel(op, weight, x))
    if reduction == "none":
        share = op.Neg(op.Unsqueeze(dy, [1]))
    elif reduction == "sum":
        share = op.Neg(dy)
    else:
        share = op.Neg(op.Div(dy, op.ReduceSum(weighted, keepdims=0)))

    def dw() -> ir.Value | None:
        if weight is None:
            return None
        gain = op.Add(x, y) if reduction == "mean" else x
        per_class = op.Mul(op.Mul(share, gain), chosen)  # [N, C, ...]
        return op.ReduceSum(op.Reshape(per_class, [0, 0, -1]), [0, 2], keepdims=0)

    return (lambda: op.Mul(share, weighted), None, dw)[: len(node.inputs)]
