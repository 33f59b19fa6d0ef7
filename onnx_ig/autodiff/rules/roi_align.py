"""VJP rules of RoiAlign and AffineGrid, both products with matrices that other inputs determine."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.builder import OpBuilder
from onnx_ig.autodiff.node import attr_float, attr_int, attr_str, constant, given, known_rank
from onnx_ig.autodiff.registry import Cotangents, Missing, vjp
from onnx_ig.autodiff.window import Size, mul, size, vector


@vjp("RoiAlign")
def roi_align(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """Y[r, c] = A_r X[b_r, c] B_rᵀ, with A_r[output height, H] and B_r[output width, W] the mean over sampling points.

    dX[n, c] = Σ_{r with b_r = n} A_rᵀ dY[r, c] B_r: two products, no scatter.
    """
    if attr_str(node, "mode", "avg").lower() != "avg":
        unwritten = Missing("the derivative of mode 'max' is not written")
        return unwritten, unwritten, None
    x, rois, batch_of = given(node, 0), given(node, 1), given(node, 2)

    def dx() -> ir.Value:
        n, c, h, w = (size(op, x, i) for i in range(4))
        high, wide = attr_int(node, "output_height", 1), attr_int(node, "output_width", 1)
        by_column = op.Unsqueeze(_region_matrix(op, node, rois, 0, wide, w), [1])  # [R, 1, output width, W]
        by_row = _region_matrix(op, node, rois, 1, high, h)  # [R, output height, H]
        spread = op.MatMul(dy, op.CastLike(by_column, dy))  # [R, C, output height, W]
        flat = op.Reshape(op.Transpose(spread, perm=[0, 2, 1, 3]), vector(op, [-1, mul(op, c, w)]))
        images = op.Range(0, op.Squeeze(vector(op, [n]), [0]), 1)
        own = op.CastLike(op.Equal(op.Unsqueeze(batch_of, [0]), op.Unsqueeze(images, [1])), rois)  # [N, R]
        chosen = op.Mul(op.Unsqueeze(own, [2, 3]), op.Unsqueeze(by_row, [0]))  # [N, R, output height, H]
        columns = op.Transpose(op.Reshape(chosen, vector(op, [n, -1, h])), perm=[0, 2, 1])
        rows = op.MatMul(op.CastLike(columns, dy), flat)  # [N, H, C·W]
        image: ir.Value = op.Transpose(op.Reshape(rows, vector(op, [n, h, c, w])), perm=[0, 2, 1, 3])
        return image

    return dx, Missing("the derivative with respect to the regions is not written"), None


def _region_matrix(op: OpBuilder, node: ir.Node, rois: ir.Value, axis: int, outputs: int, length: Size) -> ir.Value:
    """[R, outputs, length]: how each output of each region reads the image along x (``axis`` 0) or y (1)."""
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
    size_float = op.CastLike(vector(op, [length]), rois)
    within = op.And(op.GreaterOrEqual(place, -1.0), op.LessOrEqual(place, size_float))
    weight = op.Mul(op.CastLike(within, rois), taken)
    nearest = op.Max(op.Min(place, op.Sub(size_float, 1.0)), 0.0)
    pixels = op.CastLike(op.Range(0, op.Squeeze(vector(op, [length]), [0]), 1), rois)
    hat = op.Max(op.Sub(1.0, op.Abs(op.Sub(op.Unsqueeze(nearest, [3]), pixels))), 0.0)  # [R, outputs, points, length]
    total = op.ReduceSum(op.Mul(hat, op.Unsqueeze(weight, [3])), [2], keepdims=0)
    mean: ir.Value = op.Div(total, _with_output_axis(op, op.Max(points, 1.0)) if ratio <= 0 else float(ratio))
    return mean


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
