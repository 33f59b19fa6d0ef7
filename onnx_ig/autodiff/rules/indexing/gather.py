"""VJP rules of operators that read elements at given places: what was read receives the cotangents of all its readers.

The general form is a scatter that adds; where the places are constants, cheaper forms do.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.common.types import Array
from onnx_ig.graph.builder import OpBuilder, is_static, rank_of, static_shape
from onnx_ig.graph.node import attr_int, constant, given, known_rank, optional, output
from onnx_ig.graph.shapes import add_at, pad, positions, reshape, scatter_add
from onnx_ig.graph.sizes import Size, from_front, minus, size, sizes

# Up to this many Gathers stand in for a scatter when constant indices repeat.
_MOST_GATHERS = 4


@vjp("Gather")
def gather(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x[.., indices, ..] along ``axis`` (x's axis replaced by the axes of indices):  dx[.., indices, ..] += dy."""
    return taken_from(op, given(node, 0), given(node, 1), attr_int(node, "axis", 0), dy), None


def taken_from(op: OpBuilder, x: ir.Value, indices: ir.Value, axis: int, dy: ir.Value) -> ir.Value:
    """The cotangent of ``x`` for ``dy`` of Gather(x, indices, axis)."""
    rank, index_rank = rank_of(x), rank_of(indices)
    if rank is not None:
        axis %= rank
    if index_rank == 0 or (index_rank == 1 and is_static(indices) and static_shape(indices) == (1,)):
        return _one(op, x, indices, axis, dy)
    if rank is None or index_rank is None:
        return add_at(op, x, op.Gather(positions(op, x), indices, axis=axis), dy)
    length = size(op, x, axis)
    if index_rank != 1:  # the axes of indices as one
        dims = sizes(op, dy)
        count: Size | None = int(np.prod(static_shape(indices), dtype=np.int64)) if is_static(indices) else None
        if count is None:
            count = op.Reshape(op.Size(indices), [1])
        dy = reshape(op, dy, [*dims[:axis], count, *dims[axis + index_rank :]])
    known = constant(indices)
    if known is not None:
        cheap = _known(op, known.ravel(), axis, length, dy)
        if cheap is not None:
            return cheap
    column = op.Reshape(indices, [1] * axis + [-1] + [1] * (rank - 1 - axis))
    return scatter_add(op, op.Shape(x), op.Expand(column, op.Shape(dy)), dy, axis)


def _one(op: OpBuilder, x: ir.Value, index: ir.Value, axis: int, dy: ir.Value) -> ir.Value:
    """One index: zeros before and behind it."""
    known, length = constant(index), size(op, x, axis)
    scalar = rank_of(index) == 0
    position: Size
    if known is not None:
        position = int(known.ravel()[0])
    else:
        position = op.Cast(op.Unsqueeze(index, [0]) if scalar else index, to=ir.DataType.INT64)
    front = from_front(op, position, length)
    behind: Size = minus(op, minus(op, length, front), 1)
    if isinstance(position, int) and position < 0:
        behind = -1 - position
    return pad(op, op.Unsqueeze(dy, [axis]) if scalar else dy, {axis: (front, behind)})


def _known(op: OpBuilder, indices: Array, axis: int, length: Size, dy: ir.Value) -> ir.Value | None:
    """dx for constant indices [n] with dy of size n along ``axis``; None where a scatter costs less."""
    if len(indices) == 0:
        return None
    consecutive = bool(np.all(np.diff(indices) == 1))
    if consecutive and (indices[0] >= 0 or indices[-1] < 0):
        first, last = int(indices[0]), int(indices[-1])
        front = from_front(op, first, length)
        behind = minus(op, length, last + 1) if last >= 0 else -1 - last
        return pad(op, dy, {axis: (front, behind)})
    if not isinstance(length, int):
        return None
    places = np.where(indices < 0, indices + length, indices)
    order = np.argsort(places, kind="stable")
    occurrence = np.arange(len(order)) - np.searchsorted(places[order], places[order])
    repeats = int(occurrence.max()) + 1
    if repeats > _MOST_GATHERS or repeats * length > 4 * len(indices):
        return None
    # readers[r, i]: the r-th reader of x[i]; n, a zero put behind dy, where there is none
    readers = np.full((repeats, length), len(indices), np.int64)
    readers[occurrence, places[order]] = order
    source = pad(op, dy, {axis: (0, 1)}) if (readers == len(indices)).any() else dy
    total = op.Gather(source, readers[0], axis=axis)
    for row in readers[1:]:
        total = op.Add(total, op.Gather(source, row, axis=axis))
    return total


@vjp("GatherElements")
def gather_elements(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y[i, j] = x[indices[i, j], j] (for axis 0):  dx[indices[i, j], j] += dy[i, j]."""
    return scatter_add(op, op.Shape(given(node, 0)), given(node, 1), dy, attr_int(node, "axis", 0)), None


@vjp("GatherND")
def gather_nd(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y[b, i] = x[b, indices[b, i]], index tuples in the last axis of indices:  dx[b, indices[b, i]] += dy[b, i]."""
    x, indices, batch_dims = given(node, 0), given(node, 1), attr_int(node, "batch_dims", 0)
    known = constant(indices)
    if known is not None and not batch_dims and is_static(x):
        depth = known.shape[-1]
        tuples = known.reshape(-1, depth) % np.array(static_shape(x)[:depth], np.int64)
        if len(np.unique(tuples, axis=0)) == len(tuples):  # nothing is added twice: whole slices can be put in place
            return op.ScatterND(op.zeros_like(x), indices, dy), None
    return add_at(op, x, op.GatherND(positions(op, x), indices, batch_dims=batch_dims), dy), None


@vjp("Compress")
def compress(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = the slices of x along ``axis`` (absent: of flat x) whose condition holds:  dx = dy there, 0 elsewhere."""
    x, kept = given(node, 0), op.Reshape(op.NonZero(given(node, 1)), [-1])
    if "axis" not in node.attributes:
        return add_at(op, x, kept, dy), None
    return taken_from(op, x, kept, attr_int(node, "axis", 0), dy), None


@vjp("Unique")
def unique(op: OpBuilder, node: ir.Node, dy: ir.Value | None, *others: ir.Value | None) -> Cotangents:
    """y = the distinct elements (slices along ``axis``) of x:  dx = dy at the first place of each, 0 elsewhere."""
    assert dy is not None  # the other outputs hold integers
    x, first = given(node, 0), output(op, node, 1)
    first.dtype, first.shape = ir.DataType.INT64, ir.Shape([None])
    if "axis" not in node.attributes:
        return add_at(op, x, first, dy)
    return taken_from(op, x, first, attr_int(node, "axis", 0), dy)


@vjp("TopK")
def topk(op: OpBuilder, node: ir.Node, dy: ir.Value | None, *others: ir.Value | None) -> Cotangents:
    """y = x[.., indices, ..], the k largest or smallest along ``axis``:  dx[.., indices, ..] = dy, 0 elsewhere."""
    assert dy is not None  # the other output holds integers
    x = given(node, 0)
    return op.ScatterElements(op.zeros_like(x), output(op, node, 1), dy, axis=attr_int(node, "axis", -1)), None


@vjp("OneHot")
def one_hot(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = off + (on − off) · [position = index], values = [off, on]:  d on = Σ dy · [..],  d off = Σ dy − d on."""
    indices, depth, values = given(node, 0), given(node, 1), given(node, 2)

    def dvalues() -> ir.Value:
        hot = op.OneHot(indices, depth, op.constant(np.array([0, 1]), like=values), axis=attr_int(node, "axis", -1))
        on = op.ReduceSum(op.Mul(dy, hot), keepdims=0)
        off = op.Sub(op.ReduceSum(dy, keepdims=0), on)
        return op.Concat(op.Reshape(off, [1]), op.Reshape(on, [1]), axis=0)

    return None, None, dvalues


@vjp("Range")
def range_(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y[i] = start + i·delta:  d start = Σ dy,  d delta = Σ i·dy; limit only says how many there are."""

    def ddelta() -> ir.Value:
        count = op.Cast(positions(op, dy), to=given(node, 2).dtype)
        return op.ReduceSum(op.Mul(dy, count), keepdims=0)

    return lambda: op.ReduceSum(dy, keepdims=0), None, ddelta


@vjp("TensorScatter")
def tensor_scatter(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = cache with update[b, .., t, ..] at (write_indices[b] + t) along ``axis`` (modulo its size where circular).

    d cache = dy with zeros written there;  d update[b, .., t, ..] = dy there.
    """
    cache, update, start = given(node, 0), given(node, 1), optional(node, 2)
    axis, mode = (
        attr_int(node, "axis", -2),
        node.attributes["mode"].as_string() if "mode" in node.attributes else "linear",
    )

    def dcache() -> ir.Value:
        extra = [] if start is None else [start]
        return op.TensorScatter(dy, op.zeros_like(update), *extra, axis=axis, mode=mode)

    def dupdate() -> ir.Value:
        steps = op.Range(op.constant(np.array(0)), op.Squeeze(op.dim(update, axis), [0]), op.constant(np.array(1)))
        behind = (-axis if axis < 0 else known_rank(node, update) - axis) - 1
        steps = op.Unsqueeze(steps, list(range(1, behind + 1))) if behind else steps
        if start is not None:
            ahead = op.Expand(1, op.Reshape(op.Sub(op.rank(update), 1), [1]))
            steps = op.Add(steps, op.Reshape(start, op.Concat([-1], ahead, axis=0)))
        if mode == "circular":
            steps = op.Mod(steps, op.dim(cache, axis))
        return op.GatherElements(dy, op.Expand(steps, op.Shape(update)), axis=axis)

    return (dcache, dupdate, None)[: len(node.inputs)]
