"""VJP rules of RoiAlign and AffineGrid, both products with matrices that other inputs determine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.autodiff.reverse import derivative_of
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_float, attr_int, attr_str, constant, given, known_rank
from onnx_ig.graph.sizes import Size, size, times, vector


@vjp("RoiAlign")
def roi_align(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """Y[r, c] = A_r X[b_r, c] B_rᵀ, with A_r[output height, H] and B_r[output width, W] the mean over sampling points.

    dX[n, c] = Σ_{r with b_r = n} A_rᵀ dY[r, c] B_r: two products, no scatter. The regions' cotangent and
    those of mode max (:func:`_maxima`) are of Y's expression in elementary operators.
    """
    x, rois, batch_of = given(node, 0), given(node, 1), given(node, 2)
    if attr_str(node, "mode", "avg").lower() != "avg":
        return [lambda v=v: derivative_of(op, lambda: _maxima(op, node), dy, v) for v in (x, rois)] + [None]
    n, c, h, w = (size(op, x, i) for i in range(4))
    high, wide = attr_int(node, "output_height", 1), attr_int(node, "output_width", 1)

    def means() -> ir.Value:
        by_row, by_column = _region_matrix(op, node, rois, 1, high, h), _region_matrix(op, node, rois, 0, wide, w)
        rows = op.MatMul(op.CastLike(op.Unsqueeze(by_row, [1]), x), op.Gather(x, batch_of, axis=0))
        columns = op.Transpose(op.CastLike(by_column, x), perm=[0, 2, 1])
        y: ir.Value = op.MatMul(rows, op.Unsqueeze(columns, [1]))  # [R, C, output height, output width]
        return y

    def dx() -> ir.Value:
        by_column = op.Unsqueeze(_region_matrix(op, node, rois, 0, wide, w), [1])  # [R, 1, output width, W]
        by_row = _region_matrix(op, node, rois, 1, high, h)  # [R, output height, H]
        spread = op.MatMul(dy, op.CastLike(by_column, dy))  # [R, C, output height, W]
        flat = op.Reshape(op.Transpose(spread, perm=[0, 2, 1, 3]), vector(op, [-1, times(op, c, w)]))
        images = op.Range(0, op.Squeeze(vector(op, [n]), [0]), 1)
        own = op.CastLike(op.Equal(op.Unsqueeze(batch_of, [0]), op.Unsqueeze(images, [1])), rois)  # [N, R]
        chosen = op.Mul(op.Unsqueeze(own, [2, 3]), op.Unsqueeze(by_row, [0]))  # [N, R, output height, H]
        columns = op.Transpose(op.Reshape(chosen, vector(op, [n, -1, h])), perm=[0, 2, 1])
        rows = op.MatMul(op.CastLike(columns, dy), flat)  # [N, H, C·W]
        image: ir.Value = op.Transpose(op.Reshape(rows, vector(op, [n, h, c, w])), perm=[0, 2, 1, 3])
        return image

    return dx, lambda: derivative_of(op, means, dy, rois), None


@dataclass(frozen=True)
class _Points:
    """Where the outputs of each region read along one axis.

    ``place`` [R, outputs, points]; ``taken`` (1 or 0): whether the region has that point; ``within``: whether the
    point counts, being less than a pixel outside; ``number`` of points, [R, 1, 1] or a number.
    """

    place: ir.Value
    taken: ir.Value
    within: ir.Value
    number: ir.Value | float


def _points(op: OpBuilder, node: ir.Node, rois: ir.Value, axis: int, outputs: int, length: ir.Value) -> _Points:
    """The sampling points along x (``axis`` 0) or y (1) in an image of ``length`` pixels, [1] of rois' type."""
    half = attr_str(node, "coordinate_transformation_mode", "half_pixel") == "half_pixel"
    scale, ratio = attr_float(node, "spatial_scale", 1.0), attr_int(node, "sampling_ratio", 0)
    ends = op.Sub(op.Mul(rois, scale), 0.5 if half else 0.0)  # [R, 4]: x1, y1, x2, y2
    start, stop = (op.Slice(ends, [i], [i + 1], [1]) for i in (axis, axis + 2))
    extent = op.Sub(stop, start)
    if not half:
        extent = op.Max(extent, 1.0)
    step = op.Div(extent, float(outputs))  # [R, 1]
    if ratio > 0:
        points, count = op.CastLike(float(ratio), rois), op.constant(np.array(ratio))
    else:  # as many points as the region's outputs are pixels apart: each region its own number, all up to the largest
        points = op.Ceil(step)
        count = op.Cast(op.Max(op.ReduceMax(points, keepdims=0), 1.0), to=ir.DataType.INT64)
    index = op.CastLike(op.Range(0, count, 1), rois)  # [points]
    fraction = op.Div(op.Add(index, 0.5), op.Max(points, 1.0))  # [points] or [R, points]
    taken = op.CastLike(op.Less(index, points), rois)
    output = op.constant(np.arange(outputs, dtype=np.float32).reshape(1, outputs, 1), like=rois)
    fraction, taken = _with_output_axis(op, fraction), _with_output_axis(op, taken)
    step3, start3 = op.Unsqueeze(step, [2]), op.Unsqueeze(start, [2])
    place = op.Add(start3, op.Mul(op.Add(output, fraction), step3))  # [R, outputs, points]
    within = op.CastLike(op.And(op.GreaterOrEqual(place, -1.0), op.LessOrEqual(place, length)), rois)
    number = _with_output_axis(op, op.Max(points, 1.0)) if ratio <= 0 else float(ratio)
    return _Points(op.Max(op.Min(place, op.Sub(length, 1.0)), 0.0), taken, within, number)


def _region_matrix(op: OpBuilder, node: ir.Node, rois: ir.Value, axis: int, outputs: int, length: Size) -> ir.Value:
    """[R, outputs, length]: how each output of each region reads the image along x (``axis`` 0) or y (1)."""
    points = _points(op, node, rois, axis, outputs, op.CastLike(vector(op, [length]), rois))
    weight = op.Mul(points.within, points.taken)
    pixels = op.CastLike(op.Range(0, op.Squeeze(vector(op, [length]), [0]), 1), rois)
    away = op.Abs(op.Sub(op.Unsqueeze(points.place, [3]), pixels))
    hat = op.Max(op.Sub(1.0, away), 0.0)  # [R, outputs, points, length]
    total = op.ReduceSum(op.Mul(hat, op.Unsqueeze(weight, [3])), [2], keepdims=0)
    mean: ir.Value = op.Div(total, points.number)
    return mean


def _maxima(op: OpBuilder, node: ir.Node) -> ir.Value:
    """Y[r, c, i, j] = max over sampling points and their four pixels of weight · X[b_r, c, pixel] (not of their sum).

    The first pixel with the maximum is picked; a point outside the image counts as 0.
    """
    x, rois = given(node, 0), given(node, 1)
    _, c, h, w = (size(op, x, i) for i in range(4))
    high, wide = attr_int(node, "output_height", 1), attr_int(node, "output_width", 1)
    row, row_weight, row_taken = _corner_pixels(op, node, rois, 1, high, h)  # [R, output height, points, 2]
    column, column_weight, column_taken = _corner_pixels(op, node, rois, 0, wide, w)

    def crossed(combine: str, of_row: ir.Value, of_column: ir.Value) -> ir.Value:
        """[R, output height, output width, points · points · 4], in the order in which the operator visits them."""
        both = getattr(op, combine)(op.Unsqueeze(of_row, [2, 4, 6]), op.Unsqueeze(of_column, [1, 3, 5]))
        laid: ir.Value = op.Reshape(both, [0, 0, 0, -1])
        return laid

    image = op.Reshape(op.Mul(given(node, 2), vector(op, [times(op, h, w)])), [-1, 1, 1, 1])
    pixel = op.Add(crossed("Add", op.Mul(row, vector(op, [w])), column), image)
    weight = op.CastLike(op.Unsqueeze(crossed("Mul", row_weight, column_weight), [4]), x)
    taken = op.Unsqueeze(op.Greater(crossed("Mul", row_taken, column_taken), 0.0), [4])
    rows = op.Reshape(op.Transpose(x, perm=[0, 2, 3, 1]), vector(op, [-1, c]))  # [N · H · W, C]
    terms = op.Mul(op.Gather(rows, pixel, axis=0), weight)  # [R, output height, output width, K, C]
    lowest = op.CastLike(float("-inf"), x)
    first = op.ArgMax(op.Where(taken, terms, lowest), axis=3, keepdims=1)

    picked = op.GatherElements(op.Mul(terms, op.CastLike(taken, x)), first, axis=3)
    y: ir.Value = op.Transpose(op.Squeeze(picked, [3]), perm=[0, 3, 1, 2])
    return y


def _corner_pixels(
    op: OpBuilder, node: ir.Node, rois: ir.Value, axis: int, outputs: int, length: Size
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Index (int64), weight and whether taken of the two pixels around each point: [R, outputs, points, 2]."""
    pixels = op.CastLike(vector(op, [length]), rois)
    points = _points(op, node, rois, axis, outputs, pixels)
    low = op.Floor(points.place)
    part = op.Sub(points.place, low)
    index = op.Concat(op.Unsqueeze(low, [3]), op.Unsqueeze(op.Min(op.Add(low, 1.0), op.Sub(pixels, 1.0)), [3]), axis=3)
    weight = op.Concat(op.Unsqueeze(op.Sub(1.0, part), [3]), op.Unsqueeze(part, [3]), axis=3)
    weight = op.Mul(weight, op.Unsqueeze(points.within, [3]))
    taken = op.Unsqueeze(op.Add(op.Mul(points.place, 0.0), points.taken), [3])
    return op.Cast(index, to=ir.DataType.INT64), weight, op.Expand(taken, op.Shape(index))


def _with_output_axis(op: OpBuilder, value: ir.Value) -> ir.Value:
    """[points] → [1, points], [R, points] → [R, 1, points]: room for the output axis."""
    wide: ir.Value = op.Unsqueeze(value, [-2])
    return wide


@vjp("AffineGrid")
def affine_grid(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """grid[n, p, :] = θ[n] · (position p, 1):  dθ[n] = Σ_p dgrid[n, p, :] ⊗ (position p, 1)."""
    shape = constant(given(node, 1))
    axes = (known_rank(node, node.outputs[0]) if shape is None else shape.size) - 2
    align = attr_int(node, "align_corners", 0) == 1
    lengths = [size(op, node.outputs[0], i + 1) for i in range(axes)]
    parts = []
    for i in reversed(range(axes)):  # the last axis of the image is the first coordinate
        number = vector(op, [lengths[i]])
        length = op.CastLike(number, dy)
        index = op.CastLike(op.Range(0, op.Squeeze(number, [0]), 1), dy)
        if align:
            place = op.Sub(op.Div(op.Mul(index, 2.0), op.Sub(length, 1.0)), 1.0)
        else:
            place = op.Sub(op.Div(op.Add(op.Mul(index, 2.0), 1.0), length), 1.0)
        laid = op.Reshape(place, [-1 if a == i else 1 for a in range(axes + 1)])
        parts.append(op.Expand(laid, vector(op, [*lengths, 1])))
    ones = op.Expand(op.CastLike(1.0, dy), vector(op, [*lengths, 1]))
    positions = op.Reshape(op.Concat(*parts, ones, axis=axes), [-1, axes + 1])  # [P, axes + 1]
    flat = op.Transpose(op.Reshape(dy, [0, -1, axes]), perm=[0, 2, 1])  # [N, axes, P]
    return op.MatMul(flat, positions)
