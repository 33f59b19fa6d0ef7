"""The moves of data that rules are built from, by sizes that may be known or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder, rank_of
from onnx_ig.graph.sizes import Size, is_number, vector

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)


def reshape(op: OpBuilder, x: ir.Value, shape: Sequence[Size]) -> ir.Value:
    """``x`` in the given shape."""
    unknown = sum(not isinstance(p, int) for p in shape)
    if unknown == 1 and 0 not in shape:
        target = [p if isinstance(p, int) else -1 for p in shape]
        return op.Reshape(x, target, allowzero=0)
    return op.Reshape(x, vector(op, shape), allowzero=1)


def zeros(op: OpBuilder, shape: ir.Value, like: ir.Value) -> ir.Value:
    """Zeros of the shape in the int64 tensor ``shape``, of the element type of ``like``."""
    if like.dtype is None:
        return op.CastLike(op.ConstantOfShape(shape), like)
    value = ir.tensor(np.zeros(1, like.dtype.numpy()), dtype=like.dtype)
    return op.ConstantOfShape(shape, value=value)


def ones(op: OpBuilder, count: ir.Value) -> ir.Value:
    """int64 [count] of ones, to fill up a shape; ``count`` is a number."""
    return op.Expand(1, op.Reshape(count, [1]))


def pad(op: OpBuilder, x: ir.Value, amounts: Mapping[int, tuple[Size, Size]]) -> ir.Value:
    """``x`` with zeros added per axis: ``amounts[axis] = (before, after)``; negative amounts cut off."""
    wanted = {axis: pair for axis, pair in amounts.items() if not (is_number(pair[0], 0) and is_number(pair[1], 0))}
    if not wanted:
        return x
    rank = rank_of(x)
    if rank is not None and all(isinstance(p, int) for pair in wanted.values() for p in pair):
        # the form without axes is the one that every runtime reads
        full = {axis % rank: pair for axis, pair in wanted.items()}
        pairs = [full.get(axis, (0, 0)) for axis in range(rank)]
        return op.Pad(x, [p for p, _ in pairs] + [q for _, q in pairs])
    before, after = [p for p, _ in wanted.values()], [q for _, q in wanted.values()]
    return op.Pad(x, vector(op, before + after), None, list(wanted))


def cut(op: OpBuilder, x: ir.Value, axis: int, start: Size, end: Size) -> ir.Value:
    """``x[start:end]`` along ``axis``."""
    if is_number(start, 0) and is_number(end, INT64_MAX):
        return x
    return op.Slice(x, vector(op, [start]), vector(op, [end]), [axis])


def reverse(op: OpBuilder, x: ir.Value, axes: Sequence[int]) -> ir.Value:
    """``x`` back to front along ``axes``."""
    n = len(axes)
    return op.Slice(x, [-1] * n, [INT64_MIN] * n, list(axes), [-1] * n) if n else x


def positions(op: OpBuilder, x: ir.Value) -> ir.Value:
    """int64 tensor of x's shape: the place of each element in row-major order.

    Moved by the same operator as x, it says which element of x each element of the result is.
    """
    count = op.Range(op.constant(np.array(0, np.int64)), op.Size(x), op.constant(np.array(1, np.int64)))
    return op.Reshape(count, op.Shape(x), allowzero=1)


def with_last_axes(op: OpBuilder, x: ir.Value, order: Sequence[int]) -> ir.Value:
    """``x`` with its last axes in another order: ``order[i]`` is the place among them of what comes to place i."""
    rank, n = rank_of(x), len(order)
    if rank is not None:
        return op.Transpose(x, perm=[*range(rank - n), *(rank - n + i for i in order)])
    letters = "abcdefgh"[:n]  # the one operator that moves axes counted from the end
    return op.Einsum(x, equation=f"...{letters}->...{''.join(letters[i] for i in order)}")


def scatter_add(op: OpBuilder, shape: ir.Value, indices: ir.Value, dy: ir.Value, axis: int) -> ir.Value:
    """Zeros of the shape in ``shape`` to which ``dy`` is added at ``indices`` (dy's shape) along ``axis``.

    ScatterElements, because ScatterND with a reduction loses updates to races between threads on ONNX Runtime CPU (seen
    in 1.31 with two threads and repeated indices). Half precision is added up in float32: ONNX Runtime CPU adds nothing
    narrower, and long sums would lose digits.
    """
    half = dy.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
    wide = op.Cast(dy, to=ir.DataType.FLOAT) if half else dy
    total = op.ScatterElements(zeros(op, shape, wide), indices, wide, axis=axis, reduction="add")
    return op.Cast(total, to=dy.dtype) if half else total


def add_at(op: OpBuilder, x: ir.Value, places: ir.Value, dy: ir.Value) -> ir.Value:
    """Zeros of x's shape to which each element of ``dy`` is added at the row-major place in ``places`` (dy's shape)."""
    count = op.Reshape(op.Size(x), [1])
    flat = scatter_add(op, count, op.Reshape(places, [-1]), op.Reshape(dy, [-1]), 0)
    return op.Reshape(flat, op.Shape(x), allowzero=1)
