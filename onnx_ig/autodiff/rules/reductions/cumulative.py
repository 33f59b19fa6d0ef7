"""VJP rules of running sums and products: the cotangent is accumulated in the opposite direction."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, given


@vjp("CumSum")
def cumulative_sum(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """yₖ = Σ_{j≤k} xⱼ (j < k if ``exclusive``):  dxⱼ = Σ_{k≥j} dyₖ (k > j)."""
    return _backwards(op, node, dy), None


@vjp("CumProd")
def cumulative_product(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """yₖ = Π_{j≤k} xⱼ (j < k if ``exclusive``):  dxⱼ = Σ_{k≥j} dyₖ · Π_{i≤k, i≠j} xᵢ.

    Before the first zero that is Σ dyₖ yₖ / xⱼ; at the first zero, Σ dyₖ y'ₖ with y' the product where that zero is 1;
    after it, 0.
    """
    x, axis, reverse = given(node, 0), given(node, 1), attr_int(node, "reverse", 0)
    is_zero = op.Equal(x, 0.0)
    zeros_so_far = op.CumSum(cast_like(op, is_zero, x), axis, reverse=reverse)
    before = cast_like(op, op.Equal(zeros_so_far, 0.0), x)
    first = cast_like(op, op.And(is_zero, op.Equal(zeros_so_far, 1.0)), x)
    without = op.CumProd(op.Add(x, first), axis, reverse=reverse, exclusive=attr_int(node, "exclusive", 0))
    nonzero = op.Add(x, cast_like(op, is_zero, x))
    early = op.Div(op.Mul(before, _backwards(op, node, op.Mul(dy, node.outputs[0]))), nonzero)
    return op.Add(early, op.Mul(first, _backwards(op, node, op.Mul(dy, without)))), None


def _backwards(op: OpBuilder, node: ir.Node, v: ir.Value) -> ir.Value:
    """The running sum of ``v`` along the node's axis from its other end."""
    return op.CumSum(
        v, given(node, 1), exclusive=attr_int(node, "exclusive", 0), reverse=1 - attr_int(node, "reverse", 0)
    )
