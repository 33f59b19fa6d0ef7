"""The matrix of one-dimensional interpolation, R[output size, input size], as the Resize operator defines it.

The one idea: resizing along an axis is linear, so the matrix is all a gradient needs; it is written in graph operators,
which fold to a constant where the sizes are known and stay arithmetic on Range where they are not. Coordinates are
float32, as in ONNX Runtime, so that positions exactly between two pixels round the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.sizes import Size

_FLOAT = ir.DataType.FLOAT


@dataclass(frozen=True)
class Interpolation:
    """Resize's attributes that say how an output position reads the input.

    ``coordinates`` is coordinate_transformation_mode; ``rounding`` is nearest_mode.
    """

    mode: str
    coordinates: str
    rounding: str
    cubic_a: float
    exclude_outside: bool
    antialias: bool

    def repeats(self, scale: float) -> bool:
        """Whether each input element simply appears ``scale`` times in a row."""
        if self.mode != "nearest" or scale < 1 or scale != int(scale):
            return False
        centred = self.coordinates in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
        return (centred and self.rounding.startswith("round")) or (
            self.coordinates == "asymmetric" and self.rounding == "floor"
        )


def axis_matrix(
    op: OpBuilder,
    how: Interpolation,
    inputs: Size,
    outputs: Size,
    scale: ir.Value | float,
    roi: tuple[ir.Value, ir.Value] | None,
) -> ir.Value:
    """R with y[o] = Σ_i R[o, i] x[i]; float32.

    ``roi``: start and end in units of the input, for tf_crop_and_resize, whose rows outside the input are zero.
    """
    length_in, length_out = _float(op, inputs), _float(op, outputs)
    place = _origin(op, how, length_in, length_out, scale, roi)  # [outputs]
    base = _rounded(op, how.rounding, place) if how.mode == "nearest" else op.Floor(place)
    index = op.Add(op.Unsqueeze(base, [1]), _offsets(op, how, scale))  # [outputs, taps]
    if how.mode == "nearest":
        weight = op.Add(op.Mul(index, 0.0), 1.0)
    else:
        distance = op.Sub(index, op.Unsqueeze(place, [1]))
        if how.antialias:
            distance = op.Mul(distance, min(1.0, scale) if isinstance(scale, float) else op.Min(scale, 1.0))
        weight = _linear(op, distance) if how.mode == "linear" else _cubic(op, distance, how.cubic_a)
    last = op.Sub(length_in, 1.0)
    if how.exclude_outside and how.mode != "nearest":
        inside = op.And(op.GreaterOrEqual(index, 0.0), op.LessOrEqual(index, last))
        weight = op.Mul(weight, op.Cast(inside, to=_FLOAT))
    if how.mode != "nearest" and (how.antialias or how.exclude_outside):
        weight = op.Div(weight, op.ReduceSum(weight, [1], keepdims=1))
    if how.coordinates == "tf_crop_and_resize":
        inside = op.And(op.GreaterOrEqual(place, 0.0), op.LessOrEqual(place, last))
        weight = op.Mul(weight, op.Unsqueeze(op.Cast(inside, to=_FLOAT), [1]))
    column = op.Cast(op.Min(op.Max(index, 0.0), last), to=ir.DataType.INT64)
    shape = op.Concat(_int(op, outputs), _int(op, inputs), axis=0)
    empty = op.ConstantOfShape(shape, value=ir.tensor(np.zeros(1, np.float32)))
    matrix: ir.Value = op.ScatterElements(empty, column, weight, axis=1, reduction="add")
    return matrix


def _origin(
    op: OpBuilder,
    how: Interpolation,
    length_in: ir.Value,
    length_out: ir.Value,
    scale: ir.Value | float,
    roi: tuple[ir.Value, ir.Value] | None,
) -> ir.Value:
    """The input coordinate of each output position, float32 [outputs]."""
    o = op.Range(0.0, op.Squeeze(length_out, [0]), 1.0)
    place: ir.Value
    if how.coordinates == "align_corners":
        place = op.Div(op.Mul(o, op.Sub(length_in, 1.0)), op.Max(op.Sub(length_out, 1.0), 1.0))
    elif how.coordinates == "asymmetric":
        place = op.Div(o, scale)
    elif how.coordinates == "tf_half_pixel_for_nn":
        place = op.Div(op.Add(o, 0.5), scale)
    elif how.coordinates == "tf_crop_and_resize":
        assert roi is not None
        start, end = roi
        last = op.Sub(length_in, 1.0)
        many = op.Div(op.Mul(op.Mul(o, op.Sub(end, start)), last), op.Max(op.Sub(length_out, 1.0), 1.0))
        single = op.Mul(op.Mul(op.Add(start, end), 0.5), last)
        place = op.Where(op.Greater(length_out, 1.0), op.Add(op.Mul(start, last), many), op.Add(op.Mul(o, 0.0), single))
    else:
        place = op.Sub(op.Div(op.Add(o, 0.5), scale), 0.5)
        if how.coordinates == "half_pixel_symmetric":
            adjustment = op.Div(length_out, op.Mul(length_in, scale))
            place = op.Add(op.Mul(op.Div(length_in, 2.0), op.Sub(1.0, adjustment)), place)
        elif how.coordinates == "pytorch_half_pixel":
            place = op.Where(op.Greater(length_out, 1.0), place, op.Mul(place, 0.0))
    return place


def _rounded(op: OpBuilder, rounding: str, place: ir.Value) -> ir.Value:
    rounded: ir.Value
    if rounding == "round_prefer_floor":
        rounded = op.Ceil(op.Sub(place, 0.5))
    elif rounding == "round_prefer_ceil":
        rounded = op.Floor(op.Add(place, 0.5))
    else:
        rounded = op.Floor(place) if rounding == "floor" else op.Ceil(place)
    return rounded


def _offsets(op: OpBuilder, how: Interpolation, scale: ir.Value | float) -> ir.Value:
    """The taps beside the floor of the coordinate that can have weight, float32 [taps]."""
    support = 1 if how.mode == "linear" else 2
    if how.mode == "nearest":
        return op.constant(np.zeros(1, np.float32))
    if how.antialias and not isinstance(scale, float):
        reach = op.Squeeze(op.Ceil(op.Div(float(support), op.Min(scale, 1.0))), [0])
        taps: ir.Value = op.Range(op.Sub(1.0, reach), op.Add(reach, 1.0), 1.0)
        return taps
    if how.antialias:
        support = math.ceil(support / min(1.0, float(scale)))  # type: ignore[arg-type]
    return op.constant(np.arange(1 - support, support + 1, dtype=np.float32))


def _linear(op: OpBuilder, distance: ir.Value) -> ir.Value:
    """max(0, 1 − |d|)."""
    weight: ir.Value = op.Max(op.Sub(1.0, op.Abs(distance)), 0.0)
    return weight


def _cubic(op: OpBuilder, distance: ir.Value, a: float) -> ir.Value:
    """Keys' kernel: (a+2)|d|³ − (a+3)|d|² + 1 up to 1, a|d|³ − 5a|d|² + 8a|d| − 4a up to 2, then zero."""
    d = op.Min(op.Abs(distance), 2.0)
    near = op.Add(op.Mul(op.Mul(op.Sub(op.Mul(d, a + 2), a + 3), d), d), 1.0)
    far = op.Sub(op.Mul(op.Add(op.Mul(op.Sub(op.Mul(d, a), 5 * a), d), 8 * a), d), 4 * a)
    weight: ir.Value = op.Where(op.LessOrEqual(d, 1.0), near, far)
    return weight


def _int(op: OpBuilder, length: Size) -> ir.Value:
    return op.constant(np.array([length], np.int64)) if isinstance(length, int) else length


def _float(op: OpBuilder, length: Size) -> ir.Value:
    if isinstance(length, int):
        return op.constant(np.array([length], np.float32))
    number: ir.Value = op.Cast(length, to=_FLOAT)
    return number
