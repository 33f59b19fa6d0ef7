"""VJP rules of reductions: a cotangent goes back to the elements that were reduced, with the weight that each has."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.axes import expand_to, inverse_count, inverse_ratio, reduces_nothing, with_reduced_axes
from onnx_ig.autodiff.masks import cast_like, masked, number
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import constant, given, optional

_LOWEST = {ir.DataType.FLOAT16: -65504.0}


@vjp("ReduceSum")
def reduce_sum(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = Σ x:  dx = dy."""
    if reduces_nothing(node):
        return dy
    return expand_to(op, with_reduced_axes(op, node, dy), given(node, 0))


@vjp("ReduceMean")
def reduce_mean(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = Σ x / n:  dx = dy / n."""
    if reduces_nothing(node):
        return dy
    x, axes = given(node, 0), optional(node, 1)
    numbers = constant(axes)
    if axes is None or (numbers is not None and numbers.size == 0):
        share = inverse_count(op, x, None)
    elif numbers is not None:
        share = inverse_count(op, x, [int(axis) for axis in numbers])
    else:
        share = inverse_ratio(op, x, node.outputs[0])
    return expand_to(op, with_reduced_axes(op, node, op.Mul(dy, share)), x)


@vjp("ReduceMax", "ReduceMin")
def reduce_extremum(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = max or min of x:  dx = dy · [x = y] / (number of elements that equal y)."""
    if reduces_nothing(node):
        return dy
    x = given(node, 0)
    hit = op.Equal(x, with_reduced_axes(op, node, node.outputs[0]))
    ties = _again(op, node, "ReduceSum", cast_like(op, hit, x))
    return masked(op, node, with_reduced_axes(op, node, op.Div(dy, ties)), hit, x)


@vjp("ReduceProd")
def reduce_prod(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = Π x:  dxᵢ = dy · Π_{j≠i} xⱼ = dy · p / x'ᵢ · [no other element is zero] with x' = x (1 for 0), p = Π x'."""
    if reduces_nothing(node):
        return dy
    x = given(node, 0)
    zeros = cast_like(op, op.Equal(x, 0.0), x)
    nonzero = op.Add(x, zeros)
    scaled = with_reduced_axes(op, node, op.Mul(dy, _again(op, node, "ReduceProd", nonzero)))
    others = op.Sub(with_reduced_axes(op, node, _again(op, node, "ReduceSum", zeros)), zeros)
    return masked(op, node, op.Div(scaled, nonzero), op.Equal(others, 0.0), x)


@vjp("ReduceSumSquare")
def reduce_sum_square(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = Σ x²:  dx = 2 dy · x."""
    return op.Mul(with_reduced_axes(op, node, op.Mul(dy, 2.0)), given(node, 0))


@vjp("ReduceL1")
def reduce_l1(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = Σ |x|:  dx = dy · sign x."""
    return op.Mul(with_reduced_axes(op, node, dy), op.Sign(given(node, 0)))


@vjp("ReduceL2")
def reduce_l2(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = √Σ x²:  dx = dy · x / y, 0 where y = 0."""
    y = node.outputs[0]
    nonzero = op.Add(y, cast_like(op, op.Equal(y, 0.0), y))
    return op.Mul(with_reduced_axes(op, node, op.Div(dy, nonzero)), given(node, 0))


@vjp("ReduceLogSum")
def reduce_log_sum(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = ln Σ x:  dx = dy · e⁻ʸ."""
    scaled = op.Mul(dy, op.Exp(op.Neg(node.outputs[0])))
    return expand_to(op, with_reduced_axes(op, node, scaled), given(node, 0))


@vjp("ReduceLogSumExp")
def reduce_log_sum_exp(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = ln Σ eˣ:  dx = dy · eˣ⁻ʸ, 0 where every x is −∞."""
    x, y = given(node, 0), node.outputs[0]
    lowest = number(op, _LOWEST.get(x.dtype, -3e38) if x.dtype is not None else -65504.0, y)
    finite = with_reduced_axes(op, node, op.Max(y, lowest))
    return op.Mul(with_reduced_axes(op, node, dy), op.Exp(op.Sub(x, finite)))


def _again(op: OpBuilder, node: ir.Node, op_type: str, x: ir.Value) -> ir.Value:
    """Another reduction over the same axes, into the same shape."""
    attributes = {name: a for name, a in node.attributes.items() if name in ("keepdims", "noop_with_empty_axes")}
    return op.add_node(op_type, [x, *node.inputs[1:]], attributes, 1)[0]
