"""VJP rules of operators that cut tensors into contiguous or strided pieces and put them together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder, is_static, rank_of
from onnx_ig.graph.node import attr_int, constant, given, optional, output
from onnx_ig.graph.shapes import INT64_MAX, add_at, cut, pad, positions, reshape, reverse
from onnx_ig.graph.sizes import Size, from_front, higher_of, lower_of, minus, plus, size, sizes, times


@vjp("Concat")
def concat(op: OpBuilder, node: ir.Node, *dys: ir.Value) -> Cotangents:
    """y = [x₀, x₁, ...] along ``axis``:  dxᵢ = the i-th piece of dy."""
    axis = attr_int(node, "axis", 0)
    return [lambda i=i: _piece(op, node, dys[0], axis, i) for i in range(len(node.inputs))]  # type: ignore[misc]


def _piece(op: OpBuilder, node: ir.Node, dy: ir.Value, axis: int, index: int) -> ir.Value:
    """The part of ``dy`` that input ``index`` was; counted from whichever end lies behind known sizes."""
    lengths = [size(op, given(node, i), axis) for i in range(len(node.inputs))]
    own, before, after = lengths[index], lengths[:index], lengths[index + 1 :]
    known_after = sum(n for n in after if isinstance(n, int))
    if isinstance(own, int) and own == 0:
        return op.zeros_like(given(node, index))
    start: Size = 0
    if any(not isinstance(n, int) for n in before) and isinstance(own, int) and all(isinstance(n, int) for n in after):
        start = -(own + known_after)
        return cut(op, dy, axis, start, -known_after if known_after else INT64_MAX)
    for length in before:
        start = plus(op, start, length)
    if isinstance(own, int) and isinstance(start, int):
        return cut(op, dy, axis, start, start + own if after else INT64_MAX)
    if not known_after and not after:
        return cut(op, dy, axis, start, INT64_MAX)
    if known_after and all(isinstance(n, int) for n in after):
        return cut(op, dy, axis, start, -known_after)
    return cut(op, dy, axis, start, plus(op, start, own))


@vjp("Split")
def split(op: OpBuilder, node: ir.Node, *dys: ir.Value | None) -> Cotangents:
    """[y₀, y₁, ...] = x cut along ``axis``:  dx = [dy₀, dy₁, ...], zeros for the pieces that nothing reads."""
    axis = attr_int(node, "axis", 0)
    given_at = [i for i, dy in enumerate(dys) if dy is not None]
    first, last = given_at[0], given_at[-1]
    middle = [
        op.zeros_like(output(op, node, first + i)) if piece is None else piece
        for i, piece in enumerate(dys[first : last + 1])
    ]
    dx = op.Concat(*middle, axis=axis) if len(middle) > 1 else middle[0]
    before, after = (_total(op, node, axis, part) for part in (range(first), range(last + 1, len(dys))))
    dx = pad(op, dx, {axis: (before, after)})
    return (dx, *[None] * (len(node.inputs) - 1))


def _total(op: OpBuilder, node: ir.Node, axis: int, which: range) -> Size:
    total: Size = 0
    for i in which:
        total = plus(op, total, size(op, output(op, node, i), axis))
    return total


@dataclass
class _Cut:
    """``y = x[start::step]`` of a certain length along ``axis``; ``start`` in [0, D]."""

    axis: int
    start: Size
    step: int


@vjp("Slice")
def slice_(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y[i] = x[start + i·step] along each of ``axes``:  dx[start + i·step] = dy[i], 0 elsewhere.

    A step of one is a Pad; a longer one first puts step − 1 zeros behind each element (an axis of size one padded to
    ``step`` and merged); a negative one first turns dy around. Axes or steps that are computed at run time: the same
    Slice of the elements' positions says where dy goes.
    """
    x, y = given(node, 0), node.outputs[0]
    others = [None] * (len(node.inputs) - 1)
    if is_static(y) and 0 in (y.shape or ()):
        return (None, *others)
    cuts = _cuts(op, node)
    if cuts is None or (rank_of(x) is None and any(abs(c.step) > 1 for c in cuts)):
        return (add_at(op, x, op.Slice(positions(op, x), *node.inputs[1:]), dy), *others)
    amounts: dict[int, tuple[Size, Size]] = {}
    strides: dict[int, tuple[int, int]] = {}
    for c in cuts:
        length, full, step = size(op, dy, c.axis), size(op, x, c.axis), abs(c.step)
        lowest = c.start
        if c.step < 0:
            lowest = lower_of(op, minus(op, c.start, times(op, minus(op, length, 1), step)), full)
        offset = lowest % step if isinstance(lowest, int) else 0
        lowest = minus(op, lowest, offset)
        if step > 1:
            strides[c.axis % (rank_of(x) or 1)] = (step, offset)
        amounts[c.axis] = lowest, minus(op, minus(op, full, lowest), times(op, length, step))
    turned = reverse(op, dy, [c.axis for c in cuts if c.step < 0])
    return (pad(op, _spread(op, turned, strides) if strides else turned, amounts), *others)


def _spread(op: OpBuilder, dy: ir.Value, strides: dict[int, tuple[int, int]]) -> ir.Value:
    """``dy`` with each element of each axis in ``strides`` as ``step`` elements: itself at ``offset``, else 0."""
    inserted = [axis + i + 1 for i, axis in enumerate(sorted(strides))]
    ordered = [strides[axis] for axis in sorted(strides)]
    cells = op.Unsqueeze(dy, inserted)
    cells = pad(
        op, cells, {a: (offset, step - 1 - offset) for a, (step, offset) in zip(inserted, ordered, strict=True)}
    )
    merged = [times(op, n, strides[axis][0]) if axis in strides else n for axis, n in enumerate(sizes(op, dy))]
    return reshape(op, cells, merged)


def _cuts(op: OpBuilder, node: ir.Node) -> list[_Cut] | None:
    """What the node cuts, None where axes or steps are only known at run time."""
    x, starts = given(node, 0), given(node, 1)
    known = constant(starts)
    count = len(known) if known is not None else size(op, starts, 0) if rank_of(starts) == 1 else None
    axes, steps = constant(optional(node, 3)), constant(optional(node, 4))
    if not isinstance(count, int) or (axes is None and optional(node, 3)) or (steps is None and optional(node, 4)):
        return None
    cuts = []
    for i in range(count):
        axis, step = int(axes[i]) if axes is not None else i, int(steps[i]) if steps is not None else 1
        start: Size
        if known is not None:
            start = int(known[i])
        else:
            start = op.Cast(cut(op, starts, 0, i, i + 1) if count > 1 else starts, to=ir.DataType.INT64)
        cuts.append(_Cut(axis, _clamped(op, start, size(op, x, axis), backwards=step < 0), step))
    return cuts


def _clamped(op: OpBuilder, start: Size, full: Size, *, backwards: bool) -> Size:
    """``start`` as the standard reads it: negative from the end, then into [0, D], or [0, D − 1] for negative steps."""
    highest = minus(op, full, 1) if backwards else full
    if isinstance(start, int) and start >= np.iinfo(np.int32).max:
        return highest
    if isinstance(start, int) and start == 0:
        return 0
    front = from_front(op, start, full)
    if not isinstance(start, int) or start < 0:
        front = higher_of(op, front, 0)
    return lower_of(op, front, highest) if not isinstance(start, int) or start > 0 else front
