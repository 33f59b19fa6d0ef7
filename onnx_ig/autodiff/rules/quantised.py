"""Straight-through expressions of the standard's quantised operators (see :mod:`onnx_ig.autodiff.straight_through`).

The value stays the quantised operator's own; these float expressions say what its derivative is. Rounding is taken
for the identity, and x beyond the range of the integers has derivative zero.
"""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like
from onnx_ig.autodiff.registry import straight_through
from onnx_ig.graph.builder import OpBuilder, rank_of
from onnx_ig.graph.node import attr_int, constant, given, known_rank, optional
from onnx_ig.graph.shapes import cut
from onnx_ig.graph.sizes import size

Real = Callable[[ir.Value], ir.Value]


@straight_through("QuantizeLinear")
def quantize_linear(op: OpBuilder, node: ir.Node, real: Real) -> list[ir.Value | None]:
    """q = saturate(round(x / s) + z):  q ≈ x / s + z where that lies within the range of q's type, constant beyond."""
    x, scale = given(node, 0), _spread(op, node, given(node, 1))
    zero = _zero(op, node, optional(node, 2), scale, real)
    return [quantised(op, x, scale, zero, _type(node))]


@straight_through("DequantizeLinear")
def dequantize_linear(op: OpBuilder, node: ir.Node, real: Real) -> list[ir.Value | None]:
    """y = (q − z) · s; straight after a QuantizeLinear by the same s and z just x, clipped."""
    q, scale = given(node, 0), _spread(op, node, given(node, 1))
    zero = _zero(op, node, optional(node, 2), scale, real)
    maker = q.producer()
    if maker is not None and maker.op_type == "QuantizeLinear" and _undoes(node, maker):
        return [cast_like(op, within(op, given(maker, 0), scale, zero, _type(maker)), given(node, 1))]
    return [_dequantised(op, cast_like(op, real(q), scale), scale, zero)]


@straight_through("DynamicQuantizeLinear")
def dynamic_quantize_linear(op: OpBuilder, node: ir.Node, real: Real) -> list[ir.Value | None]:
    """q = round(x / s) + z with s and z chosen so that nothing is clipped, held constant:  q ≈ x / s + z."""
    x, scale, zero = given(node, 0), node.outputs[1], node.outputs[2]
    return [op.Add(op.Div(x, scale), real(zero)), None, None]


@straight_through("QLinearConv")
def qlinear_conv(op: OpBuilder, node: ir.Node, real: Real) -> list[ir.Value | None]:
    """q = quantise(Conv(dequantise(x), dequantise(w)) + b · s_x · s_w); w's scale may be one per output channel."""
    x, xs, xz, w, ws, wz, ys, yz = (given(node, i) for i in range(8))
    rank = known_rank(node, w)
    data = _dequantised(op, real(x), xs, real(xz))
    weight = _dequantised(op, real(w), _along(op, ws, 0, rank), _along(op, real(wz), 0, rank))
    bias = optional(node, 8)
    inputs = [data, weight] + ([] if bias is None else [op.Mul(real(bias), op.Reshape(op.Mul(xs, ws), [-1]))])
    if bias is not None:
        inputs[2] = op.Expand(inputs[2], op.Shape(bias))
    (y,) = op.add_node("Conv", inputs, dict(node.attributes), 1)
    return [quantised(op, y, ys, real(yz), _type(node, yz))]


@straight_through("QLinearMatMul")
def qlinear_matmul(op: OpBuilder, node: ir.Node, real: Real) -> list[ir.Value | None]:
    """q = quantise(dequantise(A) @ dequantise(B)); A's scale may be one per row, B's one per column."""
    a, as_, az, b, bs, bz, ys, yz = (given(node, i) for i in range(8))
    left = _dequantised(op, real(a), _by_row(op, as_), _by_row(op, real(az)))
    y = op.MatMul(left, _dequantised(op, real(b), bs, real(bz)))
    return [quantised(op, y, ys, real(yz), _type(node, yz))]


@straight_through("MatMulInteger")
def matmul_integer(op: OpBuilder, node: ir.Node, real: Real) -> list[ir.Value | None]:
    """Y = (A − z_a) @ (B − z_b); z_a may be one per row, z_b one per column."""
    a, b, az, bz = given(node, 0), given(node, 1), optional(node, 2), optional(node, 3)
    left = real(a) if az is None else op.Sub(real(a), _by_row(op, real(az)))
    right = real(b) if bz is None else op.Sub(real(b), real(bz))
    return [op.MatMul(left, right)]


@straight_through("ConvInteger")
def conv_integer(op: OpBuilder, node: ir.Node, real: Real) -> list[ir.Value | None]:
    """Y = Conv(x − z_x, w − z_w); z_w may be one per output channel."""
    x, w, xz, wz = given(node, 0), given(node, 1), optional(node, 2), optional(node, 3)
    data = real(x) if xz is None else op.Sub(real(x), real(xz))
    weight = real(w) if wz is None else op.Sub(real(w), _along(op, real(wz), 0, known_rank(node, w)))
    return list(op.add_node("Conv", [data, weight], dict(node.attributes), 1))


def within(op: OpBuilder, x: ir.Value, scale: ir.Value, zero: ir.Value | None, dtype: ir.DataType) -> ir.Value:
    """x where x / s + z is within the range of ``dtype`` (or rounds to it), a constant beyond."""
    lowest, highest = _range(dtype)
    scale = cast_like(op, scale, x)
    low, high = (
        op.Mul(scale, limit if zero is None else op.Sub(limit, cast_like(op, zero, x))) for limit in (lowest, highest)
    )
    if rank_of(scale) == 0 and rank_of(low) == 0:
        return op.Clip(x, low, high)
    numbers = constant(low), constant(high)
    if all(n is not None and n.size == 1 for n in numbers):
        return op.Clip(x, *(op.Reshape(limit, op.constant(np.zeros(0, np.int64))) for limit in (low, high)))
    above = op.GreaterOrEqual(x, low)
    return op.Where(op.And(above, op.LessOrEqual(x, high)), x, op.Where(above, high, low))


def quantised(op: OpBuilder, x: ir.Value, scale: ir.Value, zero: ir.Value | None, dtype: ir.DataType) -> ir.Value:
    """x / s + z within the range of ``dtype``."""
    divided = op.Div(within(op, x, scale, zero, dtype), cast_like(op, scale, x))
    return divided if zero is None else op.Add(divided, cast_like(op, zero, divided))


def _dequantised(op: OpBuilder, q: ir.Value, scale: ir.Value, zero: ir.Value | None) -> ir.Value:
    """(q − z) · s."""
    return op.Mul(q if zero is None else op.Sub(q, zero), scale)


def _range(dtype: ir.DataType) -> tuple[float, float]:
    """What rounds to a number of the type: half a unit beyond the limits of integers, the limits of small floats."""
    if dtype.is_integer():
        info = ml_dtypes.iinfo(dtype.numpy())
        return float(info.min) - 0.5, float(info.max) + 0.5
    limit = float(ml_dtypes.finfo(dtype.numpy()).max)
    return -limit, limit


def _type(node: ir.Node, zero: ir.Value | None = None) -> ir.DataType:
    """The element type of the quantised output."""
    known = node.outputs[0].dtype or (None if zero is None else zero.dtype)
    return known or (ir.DataType.UINT8 if optional(node, 2) is None else given(node, 2).dtype) or ir.DataType.UINT8


def _undoes(node: ir.Node, maker: ir.Node) -> bool:
    """Whether DequantizeLinear ``node`` has the scale, zero point and axis of QuantizeLinear ``maker``."""
    same = all(_equal(optional(node, i), optional(maker, i)) for i in (1, 2))
    return same and all(attr_int(node, a, d) == attr_int(maker, a, d) for a, d in (("axis", 1), ("block_size", 0)))


def _equal(a: ir.Value | None, b: ir.Value | None) -> bool:
    if a is b or a is None or b is None:
        return a is b
    p, q = constant(a), constant(b)
    return p is not None and q is not None and p.dtype == q.dtype and np.array_equal(p, q)


def _spread(op: OpBuilder, node: ir.Node, scale: ir.Value) -> ir.Value:
    """A scale (or zero point) of Quantize- or DequantizeLinear in a shape that broadcasts to the data.

    One for all: as it is. One per index of ``axis``: [n, 1, ..., 1]. One per block of ``block_size`` elements along
    ``axis``: repeated, the last block cut to the data's size.
    """
    block, axis, data = attr_int(node, "block_size", 0), attr_int(node, "axis", 1), given(node, 0)
    if block == 0:
        rank = rank_of(scale)
        if rank == 0:
            return scale
        numbers = constant(scale)
        if numbers is not None and numbers.size == 1:
            return op.Reshape(scale, op.constant(np.zeros(0, np.int64)))
        return _along(op, scale, axis, known_rank(node, data))
    rank = known_rank(node, data)
    axis %= rank
    if isinstance(size(op, scale, axis), int) and size(op, scale, axis) == 1:
        return scale
    parts = op.Unsqueeze(scale, [axis + 1])
    ones = [1] * (rank + 1)
    repeated = op.Expand(parts, [*ones[: axis + 1], block, *ones[axis + 2 :]])
    shape = [0] * rank
    shape[axis] = -1
    # [..., n, block, ...] → [..., n · block, ...]: Reshape copies the dimensions in front, not those behind
    if axis == rank - 1:
        merged = op.Reshape(repeated, shape)
    else:
        behind = op.Shape(scale, start=axis + 1)
        merged = op.Reshape(
            repeated, op.Concat([0] * axis, [-1], behind, axis=0) if axis else op.Concat([-1], behind, axis=0)
        )
    return cut(op, merged, axis, 0, size(op, data, axis))


def _zero(op: OpBuilder, node: ir.Node, zero: ir.Value | None, scale: ir.Value, real: Real) -> ir.Value | None:
    """The zero point as floats beside ``scale``, None where it is absent or all zeros."""
    numbers = constant(zero)
    if zero is None or (numbers is not None and not np.asarray(numbers, np.float32).any()):
        return None
    return cast_like(op, _spread(op, node, real(zero)), scale)


def _along(op: OpBuilder, scale: ir.Value, axis: int, rank: int) -> ir.Value:
    """A scale [n] as [n, 1, ..., 1], to broadcast along ``axis`` of ``rank`` axes; a single one as it is."""
    numbers = constant(scale)
    if rank_of(scale) == 0 or (numbers is not None and numbers.size == 1):
        return scale
    return op.Reshape(scale, [-1] + [1] * (rank - 1 - axis % rank))


def _by_row(op: OpBuilder, scale: ir.Value) -> ir.Value:
    """A scale per row [M] as [M, 1]; a single one, or one with the tensor's own axes, as it is."""
    numbers = constant(scale)
    if rank_of(scale) != 1 or (numbers is not None and numbers.size == 1):
        return scale
    return op.Unsqueeze(scale, [-1])
