"""What rules ask about axes: those a node reduces, how many elements they hold, and the axis of the channels.

The one idea: an axis may be known, negative, computed at run time, or of unknown rank: shapes in the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeAlias

import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like, number
from onnx_ig.graph.builder import OpBuilder, is_static, rank_of, static_shape
from onnx_ig.graph.node import attr_int, constant, optional
from onnx_ig.graph.shapes import ones

# Known axes, or axes computed in the graph (int64 [k]); reductions take both.
Axes: TypeAlias = "Sequence[int] | ir.Value"


def axes_from(op: OpBuilder, x: ir.Value, first: int) -> Axes:
    """The axes of ``x`` from ``first`` on, counted from the end if possible: a negative ``first`` needs no rank."""
    rank = rank_of(x)
    if first < 0 or rank is not None:
        return list(range(first if first < 0 or rank is None else first - rank, 0))
    return op.Range(first, op.rank(x), 1)


def all_but_channels(op: OpBuilder, x: ir.Value) -> Axes:
    """Every axis of x [N, C, ...] but axis 1."""
    rank = rank_of(x)
    if rank is not None:
        return [axis for axis in range(rank) if axis != 1]
    return op.Concat([0], axes_from(op, x, 2), axis=0)


def reduces_nothing(node: ir.Node) -> bool:
    """Whether a reduction is the identity in every axis: ``noop_with_empty_axes`` and no axes."""
    axes = optional(node, 1)
    numbers = constant(axes)
    return attr_int(node, "noop_with_empty_axes", 0) == 1 and (
        axes is None or (numbers is not None and numbers.size == 0)
    )


def with_reduced_axes(op: OpBuilder, node: ir.Node, y: ir.Value) -> ir.Value:
    """``y``, of the shape of the reduction's output, with the reduced axes kept as ones: it broadcasts to the input."""
    axes = optional(node, 1)
    numbers = constant(axes)
    if attr_int(node, "keepdims", 1) == 1 or axes is None or (numbers is not None and numbers.size == 0):
        return y  # a tensor that has lost all its axes broadcasts as it is
    # axes computed at run time may be empty: then y is whole, or a number, and Unsqueeze leaves it alone
    return op.Unsqueeze(y, axes)


def expand_to(op: OpBuilder, y: ir.Value, x: ir.Value) -> ir.Value:
    """``y`` repeated to the shape of ``x``, to which it broadcasts."""
    return op.Expand(y, op.Shape(x))


def inverse_count(op: OpBuilder, x: ir.Value, axes: Axes | None) -> ir.Value:
    """1 / (number of elements of ``x`` along ``axes``), a number of x's type; every axis when ``axes`` is None."""
    if x.shape is not None and not isinstance(axes, ir.Value):
        sizes = list(x.shape) if axes is None else [x.shape[axis] for axis in axes]
        known = [size for size in sizes if isinstance(size, int)]
        if len(known) == len(sizes):
            return number(op, 1.0 / max(prod(known), 1), x)
    if axes is None:
        shape = op.Shape(x)
    elif isinstance(axes, ir.Value):
        shape = op.Gather(op.Shape(x), axes)
    else:
        shape = op.Concat(*(op.dim(x, axis) for axis in axes), axis=0)
    # float32 on the way: a float16 count ends at 65504
    count = op.Cast(op.ReduceProd(shape, keepdims=0), to=_at_least_float32(x))
    return cast_like(op, op.Reciprocal(count), x)


def inverse_ratio(op: OpBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """(number of elements of ``y``) / (of ``x``), of x's type: one over how many each element of y was reduced from."""
    if is_static(x) and is_static(y):
        return number(op, prod(static_shape(y)) / max(prod(static_shape(x)), 1), x)
    sizes = (op.Cast(op.Size(v), to=_at_least_float32(x)) for v in (y, x))
    return cast_like(op, op.Div(*sizes), x)


def per_channel(op: OpBuilder, v: ir.Value, x: ir.Value) -> ir.Value:
    """v [C] as [C, 1, ..., 1], so that it broadcasts along axis 1 of x [N, C, ...]."""
    rank = rank_of(x)
    if rank is None:
        return op.Reshape(v, op.Concat([-1], ones(op, op.Sub(op.rank(x), 2)), axis=0))
    return v if rank <= 2 else op.Reshape(v, [-1, *[1] * (rank - 2)])


def sum_per_channel(op: OpBuilder, x: ir.Value) -> ir.Value:
    """x [N, C, ...] summed to [C]; a vector [N] has the one channel."""
    if rank_of(x) == 1:
        return op.ReduceSum(x, [0], keepdims=1)
    return op.ReduceSum(x, all_but_channels(op, x), keepdims=0)


def _at_least_float32(x: ir.Value) -> ir.DataType:
    return ir.DataType.DOUBLE if x.dtype == ir.DataType.DOUBLE else ir.DataType.FLOAT
