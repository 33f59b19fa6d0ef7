"""VJP rule of MaxRoiPool: each output is one pixel of its bin, and its cotangent goes there.

The one idea: bins are rectangles of whole pixels that the regions determine, so all are read with as many pixels as the
largest has, the surplus masked; the regions themselves, rounded, have derivative zero.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.masks import masked, number
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_float, attr_ints, given
from onnx_ig.graph.shapes import scatter_add
from onnx_ig.graph.sizes import Size, size, times, vector


@vjp("MaxRoiPool")
def max_roi_pool(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """Y[r, c, i, j] = max of X[b_r, c, pixel] over the pixels of bin (i, j) of region r, 0 where it has none.

    dX[b_r, c, the bin's first pixel, row by row, with the maximum] += dY[r, c, i, j].
    """
    x, rois = given(node, 0), given(node, 1)
    n, c, h, w = (size(op, x, i) for i in range(4))
    pooled = attr_ints(node, "pooled_shape")
    assert pooled is not None, "MaxRoiPool requires pooled_shape"
    # in float32 as in ONNX Runtime's kernel: another precision would round some regions to other pixels
    regions = op.Cast(rois, to=ir.DataType.FLOAT)  # [R, 5]: batch, x1, y1, x2, y2
    ends = _rounded(op, op.Mul(regions, attr_float(node, "spatial_scale", 1.0)))
    row, row_taken = _bins(op, ends, 2, pooled[0], h)
    column, column_taken = _bins(op, ends, 1, pooled[1], w)
    pixels = vector(op, [-1, *pooled, times(op, size(op, row, 2), size(op, column, 2))])

    def crossed(combine: str, of_row: ir.Value, of_column: ir.Value) -> ir.Value:
        """[R, pooled height, pooled width, K] of [R, pooled height, rows] and [R, pooled width, columns]."""
        both = getattr(op, combine)(op.Unsqueeze(of_row, [2, 4]), op.Unsqueeze(of_column, [1, 3]))
        laid: ir.Value = op.Reshape(both, pixels)
        return laid

    batch = op.Cast(op.Unsqueeze(op.Slice(regions, [0], [1], [1]), [2]), to=ir.DataType.INT64)
    row = op.Mul(op.Add(row, op.Mul(batch, vector(op, [h]))), vector(op, [w]))  # of all images, one below the other
    pixel, taken = crossed("Add", row, column), op.Unsqueeze(crossed("And", row_taken, column_taken), [4])
    rows = op.Reshape(op.Transpose(x, perm=[0, 2, 3, 1]), vector(op, [-1, c]))  # [N · H · W, C]
    values = op.Where(taken, op.Gather(rows, pixel, axis=0), number(op, float("-inf"), x))
    first = op.ArgMax(values, axis=3, keepdims=0)  # [R, pooled height, pooled width, C]
    chosen = op.GatherElements(pixel, first, axis=3)
    filled = op.Gather(taken, 0, axis=3)  # a bin that has pixels has its first one
    sent = masked(op, node, op.Transpose(dy, perm=[0, 2, 3, 1]), filled, x)
    flat = vector(op, [-1, c])
    total = scatter_add(op, op.Shape(rows), op.Reshape(chosen, flat), op.Reshape(sent, flat), 0)
    return op.Transpose(op.Reshape(total, vector(op, [n, h, w, c])), perm=[0, 3, 1, 2]), None


def _rounded(op: OpBuilder, value: ir.Value) -> ir.Value:
    """The nearest whole number, halves away from zero (Round takes them to the even one)."""
    away = op.Abs(value)
    whole = op.Floor(away)
    up = op.CastLike(op.GreaterOrEqual(op.Sub(away, whole), 0.5), value)
    rounded: ir.Value = op.Mul(op.Sign(value), op.Add(whole, up))
    return rounded


def _bins(op: OpBuilder, ends: ir.Value, first: int, outputs: int, length: Size) -> tuple[ir.Value, ir.Value]:
    """Where each bin of each region reads an axis of ``length`` pixels: index (int64) and whether the bin has it.

    Both [R, outputs, pixels of the longest bin]. Columns ``first`` and ``first + 2`` of ``ends`` hold the first and
    last pixel of the regions; neighbouring bins share a pixel where they do not divide the region evenly.
    """
    start, stop = (op.Slice(ends, [i], [i + 1], [1]) for i in (first, first + 2))
    step = op.Div(op.Max(op.Add(op.Sub(stop, start), 1.0), 1.0), float(outputs))  # [R, 1]
    limit = op.CastLike(vector(op, [length]), ends)
    bins = np.arange(outputs, dtype=np.float32)

    def inside(edge: ir.Value) -> ir.Value:
        within: ir.Value = op.Min(op.Max(op.Add(edge, start), 0.0), limit)
        return within

    begin, end = inside(op.Floor(op.Mul(step, bins))), inside(op.Ceil(op.Mul(step, bins + 1)))
    longest = op.ReduceMax(op.Concat(op.Reshape(op.Sub(end, begin), [-1]), [1.0], axis=0), keepdims=0)
    index = op.Add(op.Unsqueeze(begin, [2]), op.Range(0.0, longest, 1.0))
    taken = op.Less(index, op.Unsqueeze(end, [2]))
    return op.Cast(op.Min(index, op.Sub(limit, 1.0)), to=ir.DataType.INT64), taken
