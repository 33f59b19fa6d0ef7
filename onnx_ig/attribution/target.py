"""Select each example's target in the graph: its score, and the cotangent that makes the gradient that score's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder


@dataclass(frozen=True)
class Selection:
    """Target selection for R rows of an output.

    Attributes:
        flat: int64 [R], the target's position in a row (zero where out of range); None: the row is one number.
        valid: bool [R], whether the target is within the output's range; None: always.
    """

    flat: ir.Value | None
    valid: ir.Value | None


def select(op: OpBuilder, output: ir.Value, rank: int, target: ir.Value | None) -> Selection:
    """Check ``target`` (int64 [R], or [R, rank]) against the ``rank`` dimensions of each row of ``output``.

    Runtimes clamp, wrap or return zero for an index out of range, each in its own way; so validity is explicit.
    """
    if target is None:
        return Selection(None, None)
    dims = op.Concat(*(op.dim(output, axis) for axis in range(-rank, 0)), axis=0)
    columns = op.Unsqueeze(target, [1]) if rank == 1 else target  # [R, rank]
    inside = op.And(op.GreaterOrEqual(columns, 0), op.Less(columns, dims))
    valid = op.Equal(op.ReduceMin(op.Cast(inside, to=ir.DataType.INT32), [1], keepdims=0), 1)
    flat = op.Gather(columns, 0, axis=1)
    for axis in range(1, rank):  # row-major: Horner's scheme over the axes
        flat = op.Add(op.Mul(flat, op.Slice(dims, [axis], [axis + 1], [0])), op.Gather(columns, axis, axis=1))
    return Selection(op.Mul(flat, op.Cast(valid, to=ir.DataType.INT64)), valid)


def score(op: OpBuilder, output: ir.Value, selection: Selection, one_row: bool) -> ir.Value:
    """F per row, [R]: the selected element, NaN where the target is out of range."""
    if selection.flat is None:
        return op.Reshape(output, [-1])
    rows = op.Reshape(output, [1, -1]) if one_row else op.Flatten(output, axis=1)
    picked = op.Squeeze(op.GatherElements(rows, op.Unsqueeze(selection.flat, [1]), axis=1), [1])
    return op.Where(selection.valid, picked, _nan(op, output))


def seed(op: OpBuilder, output: ir.Value, selection: Selection, weights: ir.Value | None, one_row: bool) -> ir.Value:
    """The cotangent of ``output``: each row's weight (one without ``weights``) at its target, zero elsewhere."""
    shape = op.Shape(output)
    if selection.flat is None:
        ones = op.constant(np.ones(1), like=output) if weights is None else weights
        return op.Expand(ones, shape) if weights is None else op.Reshape(ones, shape)
    rows = op.Reshape(output, [1, -1]) if one_row else op.Flatten(output, axis=1)
    positions = op.Range(0, op.Squeeze(op.Shape(rows, start=1, end=2), [0]), 1)
    marks = op.Cast(op.Equal(op.Unsqueeze(selection.flat, [1]), op.Unsqueeze(positions, [0])), to=output.dtype)
    if weights is not None:
        marks = op.Mul(marks, op.Unsqueeze(weights, [1]))
    return op.Reshape(marks, shape)


def masked(op: OpBuilder, x: ir.Value, selection: Selection, rank: int, one_row: bool) -> ir.Value:
    """``x`` [N, ...] (``rank`` axes) with NaN in the rows whose target is out of range."""
    if selection.valid is None:
        return x
    shape = [1] * rank if one_row else [-1] + [1] * (rank - 1)
    return op.Where(op.Reshape(selection.valid, shape), x, _nan(op, x))


def _nan(op: OpBuilder, like: ir.Value) -> ir.Value:
    return op.constant(np.array(np.nan), like=like)
