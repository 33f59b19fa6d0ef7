"""Reading images between their pixels: the taps of a point, and the three products that gradients of sampling need.

The one idea: a sample is Σ_k weight_k · pixel[position_k], the weights a product of one-dimensional ones. Images lie as
rows [batch · pixels, channels], so that a tap is a Gather of rows and its transpose a ScatterND that adds rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.sizes import Size, times, vector

CUBIC_A = -0.75


@dataclass(frozen=True)
class AxisTap:
    """One tap along one axis at points [B, P]: pixel index (whole, in float), weight, d weight / d coordinate."""

    index: ir.Value
    weight: ir.Value
    slope: ir.Value


@dataclass(frozen=True)
class Tap:
    """One tap in all axes at points [B, P]: row of the image (int64), weight, and d weight / d coordinate per axis."""

    row: ir.Value
    weight: ir.Value
    slopes: list[ir.Value]


def axis_taps(op: OpBuilder, place: ir.Value, mode: str) -> list[AxisTap]:
    """The taps of pixel coordinate ``place`` [B, P] by ``mode`` nearest, linear or cubic; indices may lie outside."""
    zero = op.Mul(place, 0.0)
    if mode == "nearest":
        return [AxisTap(op.Round(place), op.Add(zero, 1.0), zero)]
    base = op.Floor(place)
    part = op.Sub(place, base)
    if mode == "linear":
        one = op.Add(zero, 1.0)
        return [AxisTap(base, op.Sub(1.0, part), op.Neg(one)), AxisTap(op.Add(base, 1.0), part, one)]
    taps, a = [], CUBIC_A
    for offset in (-1, 0, 1, 2):
        d = op.Add(part, float(-offset)) if offset <= 0 else op.Sub(float(offset), part)  # distance to the pixel, ≥ 0
        if offset in (0, 1):
            weight = op.Add(op.Mul(op.Mul(op.Sub(op.Mul(d, a + 2), a + 3), d), d), 1.0)
            slope = op.Mul(op.Sub(op.Mul(d, 3 * (a + 2)), 2 * (a + 3)), d)
        else:
            weight = op.Sub(op.Mul(op.Add(op.Mul(op.Sub(op.Mul(d, a), 5 * a), d), 8 * a), d), 4 * a)
            slope = op.Add(op.Mul(op.Sub(op.Mul(d, 3 * a), 10 * a), d), 8 * a)
        index = op.Add(base, float(offset)) if offset else base
        taps.append(AxisTap(index, weight, slope if offset <= 0 else op.Neg(slope)))
    return taps


def inside(op: OpBuilder, tap: AxisTap, length: ir.Value, *, zeros: bool) -> AxisTap:
    """The tap with its index brought into the image; with ``zeros`` one outside weighs nothing."""
    last = op.Sub(length, 1.0)
    index = op.Max(op.Min(tap.index, last), 0.0)
    if not zeros:
        return AxisTap(index, tap.weight, tap.slope)
    valid = op.CastLike(op.Equal(index, tap.index), tap.weight)
    return AxisTap(index, op.Mul(tap.weight, valid), op.Mul(tap.slope, valid))


def corners(op: OpBuilder, per_axis: Sequence[Sequence[AxisTap]], batch: Size, sizes: Sequence[Size]) -> list[Tap]:
    """Every combination of one tap per axis in an image of ``sizes``, ``batch`` images one below the other."""
    image = op.Mul(_range(op, batch), vector(op, [_pixels(op, sizes)]))
    first = op.Unsqueeze(image, [1])  # [B, 1]: the row at which each image starts
    taps = []
    for chosen in itertools.product(*per_axis):
        row = None
        for tap, length in zip(chosen, sizes, strict=True):
            index = op.Cast(tap.index, to=ir.DataType.INT64)
            row = index if row is None else op.Add(op.Mul(row, vector(op, [length])), index)
        weight = _product(op, [t.weight for t in chosen])
        slopes = [
            _product(op, [t.slope if i == axis else t.weight for i, t in enumerate(chosen)])
            for axis in range(len(chosen))
        ]
        taps.append(Tap(op.Add(row, first), weight, slopes))
    return taps


def rows_of(op: OpBuilder, x: ir.Value, channels: Size) -> ir.Value:
    """[B, C, pixels] → rows [B · pixels, C]."""
    rows: ir.Value = op.Reshape(op.Transpose(x, perm=[0, 2, 1]), vector(op, [-1, channels]))
    return rows


def sampled(op: OpBuilder, rows: ir.Value, taps: Sequence[Tap]) -> ir.Value:
    """Σ_k weight_k · pixel_k at each point: [B, P, C]."""
    return _sum(op, [op.Mul(op.Gather(rows, t.row, axis=0), op.Unsqueeze(t.weight, [2])) for t in taps])


def pixel_products(op: OpBuilder, rows: ir.Value, taps: Sequence[Tap], dy: ir.Value) -> list[ir.Value]:
    """⟨pixel_k, dy⟩ over channels for each tap, dy [B, P, C]: what the derivatives of weights are multiplied by."""
    return [op.ReduceSum(op.Mul(op.Gather(rows, t.row, axis=0), dy), [2], keepdims=0) for t in taps]


def along_axis(op: OpBuilder, taps: Sequence[Tap], products: Sequence[ir.Value], axis: int) -> ir.Value:
    """The cotangent of the pixel coordinate along ``axis``: [B, P]."""
    return _sum(op, [op.Mul(t.slopes[axis], p) for t, p in zip(taps, products, strict=True)])


def weighted(op: OpBuilder, taps: Sequence[Tap], products: Sequence[ir.Value]) -> ir.Value:
    """⟨sample, dy⟩ over channels: [B, P]."""
    return _sum(op, [op.Mul(t.weight, p) for t, p in zip(taps, products, strict=True)])


def image_cotangent(
    op: OpBuilder, taps: Sequence[Tap], dy: ir.Value, batch: Size, channels: Size, sizes: Sequence[Size]
) -> ir.Value:
    """dy [B, P, C] added to the pixels it was read from: [B, C, pixels]."""
    pixels = _pixels(op, sizes)
    updates = op.Concat(*[op.Mul(dy, op.Unsqueeze(t.weight, [2])) for t in taps], axis=0)
    rows = op.Unsqueeze(op.Concat(*[t.row for t in taps], axis=0), [2])
    # sums of half floats are made in float32, which ONNX Runtime's CPU kernel also requires
    wide = ir.DataType.DOUBLE if dy.dtype == ir.DataType.DOUBLE else ir.DataType.FLOAT
    half = dy.dtype != wide
    zero = ir.tensor(np.zeros(1, wide.numpy()), dtype=wide)
    empty = op.ConstantOfShape(vector(op, [times(op, batch, pixels), channels]), value=zero)
    added = op.ScatterND(empty, rows, op.Cast(updates, to=wide) if half else updates, reduction="add")
    added = op.CastLike(added, dy) if half else added
    image: ir.Value = op.Transpose(op.Reshape(added, vector(op, [batch, pixels, channels])), perm=[0, 2, 1])
    return image


def _range(op: OpBuilder, count: Size) -> ir.Value:
    numbers: ir.Value = op.Range(0, op.Squeeze(vector(op, [count]), [0]), 1)
    return numbers


def _pixels(op: OpBuilder, sizes: Sequence[Size]) -> Size:
    total: Size = 1
    for length in sizes:
        total = times(op, total, length)
    return total


def _product(op: OpBuilder, factors: Sequence[ir.Value]) -> ir.Value:
    result = factors[0]
    for factor in factors[1:]:
        result = op.Mul(result, factor)
    return result


def _sum(op: OpBuilder, terms: Sequence[ir.Value]) -> ir.Value:
    result = terms[0]
    for term in terms[1:]:
        result = op.Add(result, term)
    return result
