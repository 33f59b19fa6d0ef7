"""VJP rule of GridSample, in two and three dimensions."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.autodiff.rules.sampling.points import (
    AxisTap,
    Tap,
    along_axis,
    axis_taps,
    corners,
    image_cotangent,
    inside,
    pixel_products,
    rows_of,
)
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, attr_str, given, known_rank
from onnx_ig.graph.sizes import Size, size, vector

_MODES = {"bilinear": "linear", "bicubic": "cubic"}  # opset 16's names


@vjp("GridSample")
def grid_sample(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """Y[n, c, p] = Σ_k weight_k(g) · X[n, c, pixel_k(g)] at g = grid[n, p, :], in [−1, 1] across X, last axis first.

    dX[n, c, pixel_k] += weight_k · dY[n, c, p];  dgrid[n, p, a] = Σ_k ∂weight_k/∂g_a · ⟨X[n, :, pixel_k], dY[n, :, p]⟩.
    """
    x, grid = given(node, 0), given(node, 1)
    n = known_rank(node, x) - 2
    batch, channels = size(op, x, 0), size(op, x, 1)
    sizes = [size(op, x, i + 2) for i in range(n)]
    taps, scales = _taps(op, node, grid, batch, sizes)
    flat_dy = op.Transpose(op.Reshape(dy, [0, 0, -1]), perm=[0, 2, 1])  # [N, P, C]

    def dx() -> ir.Value:
        return op.reshape_like(image_cotangent(op, taps, flat_dy, batch, channels, sizes), x)

    def dgrid() -> ir.Value | None:
        if _mode(node) == "nearest":
            return None
        products = pixel_products(op, rows_of(op, op.Reshape(x, [0, 0, -1]), channels), taps, flat_dy)
        parts = [op.Unsqueeze(op.Mul(along_axis(op, taps, products, i), scales[i]), [2]) for i in reversed(range(n))]
        return op.reshape_like(op.Concat(*parts, axis=2), grid)

    return dx, dgrid


def _mode(node: ir.Node) -> str:
    mode = attr_str(node, "mode", "linear")
    return _MODES.get(mode, mode)


def _taps(
    op: OpBuilder, node: ir.Node, grid: ir.Value, batch: Size, sizes: list[Size]
) -> tuple[list[Tap], list[ir.Value]]:
    """The taps at every grid point, and d pixel coordinate / d grid coordinate per axis of X."""
    mode, padding = _mode(node), attr_str(node, "padding_mode", "zeros")
    align = attr_int(node, "align_corners", 0) == 1
    points = op.Reshape(grid, [0, -1, len(sizes)])  # [N, P, axes], last axis of X first
    per_axis: list[list[AxisTap]] = []
    scales = []
    for i in range(len(sizes)):
        g = op.Gather(points, len(sizes) - 1 - i, axis=2)
        length = op.CastLike(vector(op, [sizes[i]]), g)
        scale = op.Mul(op.Sub(length, 1.0) if align else length, 0.5)
        place = op.Mul(op.Add(g, 1.0), scale)
        if not align:
            place = op.Sub(place, 0.5)
        if mode == "nearest":
            place = op.Round(place)
        low, high = (0.0, op.Sub(length, 1.0)) if align else (-0.5, op.Sub(length, 0.5))
        slope = scale
        if padding == "border" and mode != "cubic":  # cubic taps are moved to the border one by one, below
            out = op.Or(op.Less(place, low), op.Greater(place, high))
            slope = op.Mul(scale, op.CastLike(op.Not(out), g))
            place = op.Where(out, op.Max(op.Min(place, op.Sub(length, 1.0)), 0.0), place)
        elif padding == "reflection":
            place, sign = _reflected(op, place, low, high)
            slope = op.Mul(scale, sign)
        taps = axis_taps(op, place, mode)
        if padding == "reflection":
            taps = [AxisTap(op.Floor(_reflected(op, t.index, low, high)[0]), t.weight, t.slope) for t in taps]
        per_axis.append([inside(op, t, length, zeros=padding == "zeros") for t in taps])
        scales.append(slope)
    return corners(op, per_axis, batch, sizes), scales


def _reflected(op: OpBuilder, place: ir.Value, low: float, high: ir.Value) -> tuple[ir.Value, ir.Value]:
    """``place`` mirrored at ``low`` and ``high`` until it lies between them, and the derivative, 1 or −1."""
    below = op.Less(place, low)
    beyond = op.Max(op.Sub(low, place), op.Sub(place, high))
    outside = op.Greater(beyond, 0.0)
    beyond = op.Max(beyond, 0.0)
    span = op.Max(op.Sub(high, low), 1e-6)
    times = op.Floor(op.Div(beyond, span))
    rest = op.Sub(beyond, op.Mul(times, span))
    odd = op.Greater(op.Sub(times, op.Mul(op.Floor(op.Mul(times, 0.5)), 2.0)), 0.5)
    from_low = op.Xor(below, odd)  # which border the rest is counted from
    mirrored = op.Where(from_low, op.Add(rest, low), op.Sub(high, rest))
    sign = op.Where(op.And(outside, op.Not(odd)), op.CastLike(-1.0, place), op.CastLike(1.0, place))
    return op.Where(outside, mirrored, place), sign
