"""Select each example's target in the graph: its score, and the cotangent that makes the gradient that score's.

The one idea: the cotangent is a one-hot tensor of the output's shape anyway. A target out of range marks no element of
it, which is how that is noticed, and the score is the sum of what is marked. So no runtime follows an index: each has
its own way (clamps, wraps, returns zero) with one out of range.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder, same_shape

# A graph's input of targets, or indices that are settled; None: the output is one number per example.
Target = ir.Value | tuple[int, ...] | None
# The numbers of path points and of examples, int64 [1] each, of an output whose rows are both, path points first.
Grid = tuple[ir.Value, ir.Value]


@dataclass(frozen=True)
class Selection:
    """The targets of N examples in an output [N, d_1, ..., d_r], or that of one in [d_1, ..., d_r].

    Attributes:
        axes: r.
        marks: bool, true at the target; of the output's shape, or with one row for all examples.
        one_hot: ``marks`` in the type of the output.
        valid: bool [N] or [1], whether the target is within the output's range; None: it is known to be.
        place: the indices of the target, where they are known to be within range.
        for_all: whether one row serves all examples.
    """

    axes: int
    marks: ir.Value
    one_hot: ir.Value
    valid: ir.Value | None
    place: tuple[int, ...] | None
    for_all: bool


def apart(op: OpBuilder, target: Target, count: int) -> list[Target]:
    """Each of the ``count`` targets on axis 1 of a graph's input of targets."""
    return [op.Gather(target, k, axis=1) for k in range(count)]


def largest(op: OpBuilder, output: ir.Value, count: int, one_row: bool) -> list[ir.Value]:
    """The indices of the ``count`` largest elements of each row of ``output``, the largest first, [N] each.

    One ArgMax after the other, each without what those before it found: of equal elements the first comes first in
    every runtime, which TopK does not promise, and some have no TopK.
    """
    found: list[ir.Value] = []
    left = output
    for _ in range(count):
        found.append(op.Reshape(op.ArgMax(left, axis=0 if one_row else 1, keepdims=0), [-1]))
        marks = select(op, output, 1, found[-1], one_row).marks
        left = op.Where(marks, op.constant(np.array(-np.inf), like=output), left)
    return found


def side_by_side(op: OpBuilder, of_targets: Sequence[ir.Value], axis: int) -> ir.Value:
    """The values of several targets of each example on a new ``axis``; the value of a single one as it is."""
    if len(of_targets) == 1:
        return of_targets[0]
    stacked: ir.Value = op.Concat(*(op.Unsqueeze(x, [axis]) for x in of_targets), axis=axis)
    stacked.type = of_targets[0].type
    return stacked


def select(op: OpBuilder, output: ir.Value, rank: int, target: Target, one_row: bool) -> Selection:
    """Where ``target`` (int64 [N], or [N, rank]) is in the last ``rank`` dimensions of ``output``.

    Args:
        rank: 0: the output is one number per example, and ``target`` is None.
        one_row: the output has no batch axis; ``target`` is then of one row.
    """
    if target is None:
        assert output.shape is not None
        rank = len(output.shape) - (not one_row)
        target = (0,) * rank
    columns = [_column(op, target, axis, rank, one_row) for axis in range(rank)]
    equal = [op.Equal(c, _positions(op, output, axis - rank)) for axis, c in enumerate(columns)]
    marks = functools.reduce(op.And, reversed(equal)) if equal else op.constant(np.ones([] if one_row else 1, bool))
    one_hot = op.Cast(marks, to=output.dtype)
    if isinstance(target, tuple) and _known_sizes(output, rank) is not None:
        return Selection(rank, marks, one_hot, None, target, True)
    exact = output.dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE)  # half precision has no ReduceMax on some CPUs
    seen = op.ReduceMax(one_hot if exact else op.Cast(marks, to=ir.DataType.FLOAT), _last(rank), keepdims=0)
    valid = op.Reshape(op.Cast(seen, to=ir.DataType.BOOL), [-1]) if one_row else op.Cast(seen, to=ir.DataType.BOOL)
    return Selection(rank, marks, one_hot, valid, None, isinstance(target, tuple))


def score(op: OpBuilder, output: ir.Value, selection: Selection, grid: Grid | None = None) -> ir.Value:
    """F per row, [N] ([K, N] with a ``grid``): the selected element, NaN where the target is out of range."""
    if selection.place is not None:
        picked = _element(op, output, selection.place)
        return op.Reshape(picked, [-1] if grid is None else op.Concat(grid[0], [-1], axis=0))
    if grid is not None:
        sizes = _known_sizes(output, selection.axes)
        rest = op.Slice(op.Shape(output), [1], [2**63 - 1], [0]) if sizes is None else sizes
        output = op.Reshape(output, op.Concat(grid[0], [-1], rest, axis=0))
    marked = op.Where(selection.marks, output, op.constant(np.zeros(1), like=output))
    picked = op.ReduceSum(marked, _last(selection.axes), keepdims=0)
    return op.Where(selection.valid, picked, _nan(op, output))


def seed(
    op: OpBuilder, output: ir.Value, selection: Selection, weights: ir.Value | None = None, grid: Grid | None = None
) -> ir.Value:
    """The cotangent of ``output``: the weight of each row's path point (one without ``weights``) at its target, zero
    elsewhere.

    Args:
        weights: in the type of the output, [K]; [1] without a ``grid``.
    """
    marks, shape = selection.one_hot, op.Shape(output)
    if grid is None:
        marks = marks if weights is None else op.Mul(marks, op.Squeeze(weights, [0]))
        return op.Expand(marks, shape) if selection.for_all and not same_shape(marks, output) else marks
    marks = op.Unsqueeze(marks, [0])
    if weights is not None:
        marks = op.Mul(marks, op.Reshape(weights, [-1] + [1] * (selection.axes + 1)))
    if selection.for_all or weights is None:
        marks = op.Expand(marks, op.Concat(*grid, [1] * selection.axes, axis=0))
    return op.Reshape(marks, shape)


def masked(op: OpBuilder, x: ir.Value, selection: Selection, rank: int, one_row: bool) -> ir.Value:
    """``x`` [N, ...] (``rank`` axes) with NaN in the rows whose target is out of range."""
    if selection.valid is None:
        return x
    shape = [1] * rank if one_row else [-1] + [1] * (rank - 1)
    return op.Where(op.Reshape(selection.valid, shape), x, _nan(op, x))


def _column(op: OpBuilder, target: ir.Value | tuple[int, ...], axis: int, rank: int, one_row: bool) -> ir.Value:
    """The index along one axis of the output, of all examples: [N, 1, ...] with ``rank`` ones, or with ones alone."""
    if isinstance(target, tuple):
        return op.constant(np.full([1] * (rank + (not one_row)), target[axis], np.int64))
    column = target if rank == 1 else op.Gather(target, axis, axis=1)
    return column if one_row else op.Unsqueeze(column, list(range(1, rank + 1)))


def _positions(op: OpBuilder, output: ir.Value, axis: int) -> ir.Value:
    """0, 1, ... along ``axis`` (from the end) of ``output``, with an axis of one for each one behind it."""
    positions = op.Range(0, op.Squeeze(op.dim(output, axis), [0]), 1)
    return op.Unsqueeze(positions, list(range(1, -axis))) if axis < -1 else positions


def _known_sizes(output: ir.Value, axes: int) -> list[int] | None:
    """The sizes of the last ``axes`` axes; None: not all of them are known."""
    dims = [] if output.shape is None else list(output.shape)[len(output.shape) - axes :]
    sizes = [d for d in dims if isinstance(d, int)]
    return sizes if len(sizes) == axes else None


def _last(axes: int) -> list[int]:
    return list(range(-axes, 0))


def _element(op: OpBuilder, output: ir.Value, place: tuple[int, ...]) -> ir.Value:
    """The element at ``place`` of the last axes, which become ones."""
    if not place or _known_sizes(output, len(place)) == [1] * len(place):
        return output
    return op.Slice(output, list(place), [p + 1 for p in place], _last(len(place)))


def _nan(op: OpBuilder, like: ir.Value) -> ir.Value:
    return op.constant(np.array(np.nan), like=like)
