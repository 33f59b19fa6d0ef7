"""VJP rules of AveragePool and LpPool: the cotangent, weighted per window, is spread over the window's positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.autodiff.rules.windows.elements import fit, repeat, untap
from onnx_ig.autodiff.rules.windows.geometry import Axis, window
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, given
from onnx_ig.graph.sizes import Size, minus, plus, size, times, vector


@vjp("AveragePool")
def average_pool(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y[i] = Σ_j x[i·stride + j·dilation − begin] / count[i]:  dx[p] = Σ_{i,j reading p} dy[i] / count[i]."""
    x = given(node, 0)
    axes = window(op, node, x)
    include_pad, ceil_mode = attr_int(node, "count_include_pad", 0) == 1, attr_int(node, "ceil_mode", 0) == 1
    counts = [
        counts_along(op, a, size(op, dy, i + 2), size(op, x, i + 2), include_pad, ceil_mode) for i, a in enumerate(axes)
    ]
    whole = _product([c for c in counts if isinstance(c, int)])
    for i, count in enumerate(counts):
        if not isinstance(count, int):
            column = op.Reshape(count, [-1, *[1] * (len(axes) - 1 - i)])
            dy = op.Div(dy, op.CastLike(column, dy) if dy.dtype is None else op.Cast(column, to=dy.dtype))
    return _spread(op, dy, axes, x, 1.0 / whole)


@vjp("LpPool")
def lp_pool(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y[i] = (Σ_j |x[…]|ᵖ)^(1/p):  dx[p] = sign(x) |x|ᵖ⁻¹ Σ_{i reading p} dy[i] y[i]¹⁻ᵖ; zero where y is (a kink)."""
    x, y, p = given(node, 0), node.outputs[0], attr_int(node, "p", 2)
    return op.Mul(power_slope(op, x, p), _spread(op, over_norm(op, dy, y, p), window(op, node, x), x, 1.0))


def power_slope(op: OpBuilder, x: ir.Value, p: int) -> ir.Value:
    """sign(x) |x|ᵖ⁻¹."""
    slope: ir.Value = x if p == 2 else op.Sign(x)
    if p > 2:
        slope = op.Mul(slope, op.Pow(op.Abs(x), float(p - 1)))
    return slope


def over_norm(op: OpBuilder, dy: ir.Value, y: ir.Value, p: int) -> ir.Value:
    """dy · y¹⁻ᵖ, zero where y is zero."""
    if p == 1:
        return dy
    power = y if p == 2 else op.Pow(y, float(p - 1))
    quotient: ir.Value = op.Where(op.Equal(power, 0.0), op.Mul(dy, 0.0), op.Div(dy, power))
    return quotient


def counts_along(
    op: OpBuilder, a: Axis, windows: Size, length: Size, include_pad: bool, ceil_mode: bool
) -> int | ir.Value:
    """How many positions each window averages along one axis: one number where all agree, else int64 [windows].

    Padding counts if ``include_pad``; what a window rounded up (``ceil_mode``) reads beyond the padding never counts.
    """
    assert isinstance(a.kernel, int)
    beyond = minus(op, a.covered(op, windows), plus(op, plus(op, a.begin, length), a.end))
    overflows = ceil_mode and not (isinstance(beyond, int) and beyond <= 0)
    if not overflows and (include_pad or (a.begin == 0 and a.end == 0)):
        return a.kernel
    first, stop = (minus(op, 0, a.begin), plus(op, length, a.end)) if include_pad else (0, length)
    count = windows if isinstance(windows, ir.Value) else op.constant(np.array([windows], np.int64))
    starts = op.Sub(op.Mul(op.Range(0, op.Squeeze(count, [0]), 1), a.stride), _value(op, a.begin))
    positions = op.Add(op.Unsqueeze(starts, [1]), op.constant(np.arange(a.kernel) * a.dilation))  # [windows, kernel]
    inside = op.And(op.GreaterOrEqual(positions, _value(op, first)), op.Less(positions, _value(op, stop)))
    counted: ir.Value = op.ReduceSum(op.Cast(inside, to=ir.DataType.INT64), [1], keepdims=0)
    return counted


def _spread(op: OpBuilder, dy: ir.Value, axes: Sequence[Axis], x: ir.Value, factor: float) -> ir.Value:
    """factor · Σ_{i,j reading p} dy[i] at each position p of x."""
    rank = len(axes) + 2
    if all(a.stride == 1 and a.dilation == 1 and _below_kernel(a) for a in axes):
        # sums over sliding windows: an average pool does them in one pass
        kernel = [a.kernel for a in axes if isinstance(a.kernel, int)]
        total = float(_product(kernel)) * factor
        pads = [minus(op, a.kernel, plus(op, a.begin, 1)) for a in axes] + [
            minus(op, a.kernel, plus(op, a.end, 1)) for a in axes
        ]
        pooled: ir.Value = op.AveragePool(dy, kernel_shape=kernel, pads=pads, count_include_pad=1)
        return pooled if abs(total - 1.0) < 1e-12 else op.Mul(pooled, total)
    if factor != 1.0:
        dy = op.Mul(dy, factor)
    for i, a in enumerate(axes):
        assert isinstance(a.kernel, int)
        axis, windows, length = i + 2, size(op, dy, i + 2), size(op, x, i + 2)
        if a.kernel == a.stride and a.dilation == 1:
            repeated = repeat(op, dy, axis, a.kernel, rank) if a.kernel > 1 else dy
            dy = fit(op, repeated, axis, a, times(op, windows, a.kernel), length)
        else:
            dy = untap(op, [dy] * a.kernel, axis, a, windows, length, rank)
    return dy


def _below_kernel(a: Axis) -> bool:
    return all(isinstance(p, int) and isinstance(a.kernel, int) and p < a.kernel for p in (a.begin, a.end))


def _value(op: OpBuilder, number: Size) -> ir.Value:
    return vector(op, [number])


def _product(numbers: Sequence[int]) -> int:
    return int(np.prod(numbers, dtype=np.int64))
