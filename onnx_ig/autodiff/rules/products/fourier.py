"""VJP rules of Fourier transforms: the adjoint of a transform is the opposite transform, scaled.

The one idea: a real tensor is the real part of a complex one, and a one-sided spectrum the front of a whole one, so
that padding by ``dft_length`` and cutting are all that the variants add.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like
from onnx_ig.autodiff.registry import Cotangents, preparation, vjp
from onnx_ig.graph.builder import OpBuilder, rank_of
from onnx_ig.graph.node import attr_int, constant, given, optional, refuse
from onnx_ig.graph.shapes import INT64_MAX, add_at, cut, ones, pad, positions, reshape
from onnx_ig.graph.sizes import Size, from_front, higher_of, minus, plus, size, times

_AXIS_AS_INPUT = 20  # the opset from which DFT's axis is an input
_MOST_SHIFTS = 16  # overlapping frames that are added as shifted copies; more are scattered


@vjp("DFT")
def dft(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = F x, x[..., n, 1|2] cut or padded to L:  dx = L · F⁻¹ dy;  y = F⁻¹ x:  dx = F dy / L; cut or padded to n.

    A one-sided y stands for one padded with zeros. One-sided inverse (y real, from the bins 0 ... L/2 of x): each bin
    but 0 and L/2 counts twice, dx = w · F dy / L with w = 1 or 2.
    """
    x = given(node, 0)
    axis = _axis(op, node)
    n = size(op, x, axis)
    inverse, onesided = attr_int(node, "inverse", 0), attr_int(node, "onesided", 0)
    back_to_real = bool(inverse and onesided)
    length = _length(op, node, 1)
    if length is None:
        length = times(op, minus(op, n, 1), 2) if back_to_real else n
    dx = _transform(op, dy, length, axis, inverse=not inverse, onesided=back_to_real)
    scale = _number(op, length, dy)
    if back_to_real:
        bins = op.Range(
            op.constant(np.array(0, np.int64)), _scalar(op, size(op, dx, axis)), op.constant(np.array(1, np.int64))
        )
        edge = op.Or(op.Equal(bins, 0), op.Equal(op.Mul(bins, 2), _scalar(op, length)))
        weight = op.Sub(2.0, cast_like(op, edge, dy))
        dx = op.Mul(dx, _before_axes(op, weight, axis, x))
    dx = op.Div(dx, scale) if inverse else op.Mul(dx, scale)
    return _real_part(op, _fitted(op, dx, axis, n), x)


@vjp("STFT")
def stft(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y[b, f, k] = Σ_t w[t] · x[b, f·s + t] · e^(−2πikt/l):  with g = l · F⁻¹ dy[b, f]:

    dx[b, f·s + t] += w[t] · g[b, f, t],  dw[t] = Σ_bf x[b, f·s + t] · g[b, f, t].
    """
    x, window = given(node, 0), optional(node, 2)
    length = _length(op, node, 3)
    if length is None:
        length = size(op, window, 0) if window is not None else None
    if length is None:
        raise refuse(node, "it has neither a window nor a frame_length", "Correct the model")
    g = op.Mul(_transform(op, dy, length, 2, inverse=True, onesided=False), _number(op, length, dy))
    g = _real_part(op, g, x)  # [B, F, l, 1|2]

    def dx() -> ir.Value:
        frames = g if window is None else op.Mul(g, op.Unsqueeze(window, [-1]))
        return _overlapped(op, node, x, frames, length)

    def dw() -> ir.Value:
        return op.ReduceSum(op.Mul(_frames(op, node, g, x), g), [0, 1, 3], keepdims=0)

    return (dx, None, dw, None)[: len(node.inputs)]


@preparation("DFT")
def dft_along_known_axis(op: OpBuilder, node: ir.Node) -> list[ir.Value] | None:
    """Along an axis that is computed at run time: of x as [axes before, n, axes behind, 1|2], along the second."""
    given_axis = optional(node, 2) if op.opset >= _AXIS_AS_INPUT else None
    if given_axis is None or constant(given_axis) is not None:
        return None
    x = given(node, 0)
    shape = op.Shape(x)
    axis = from_front(op, op.Reshape(op.Cast(given_axis, to=ir.DataType.INT64), [1]), op.Reshape(op.rank(x), [1]))
    next_axis = op.Add(axis, 1)
    before, n, behind = op.Slice(shape, [0], axis), op.Slice(shape, axis, next_axis), op.Slice(shape, next_axis, [-1])
    counts = (op.ReduceProd(op.Concat([1], sizes, axis=0), keepdims=1) for sizes in (before, behind))
    split = op.Concat(next(counts), n, next(counts), op.Slice(shape, [-1], [INT64_MAX]), axis=0)
    attributes = {name: attr_int(node, name, 0) for name in ("inverse", "onesided")}
    y = op.DFT(op.Reshape(x, split, allowzero=1), optional(node, 1), op.constant(np.array(1, np.int64)), **attributes)
    shape = op.Concat(before, op.Shape(y, start=1, end=2), behind, op.Shape(y, start=3), axis=0)
    return [op.Reshape(y, shape, allowzero=1)]


@preparation("STFT")
def stft_of_signals_with_parts(op: OpBuilder, node: ir.Node) -> list[ir.Value] | None:
    """Of a real signal [B, T], as runtimes allow and PyTorch's exporter writes it: of [B, T, 1]."""
    x = given(node, 0)
    if rank_of(x) == 3:
        return None
    # copies the first two dimensions: right for a signal of unknown rank too
    signal = op.Reshape(x, [0, 0, -1])
    return list(op.add_node("STFT", [signal, *node.inputs[1:]], dict(node.attributes), 1))


def _axis(op: OpBuilder, node: ir.Node) -> int:
    if op.opset < _AXIS_AS_INPUT:
        return attr_int(node, "axis", 1)
    axis = constant(optional(node, 2))
    return -2 if axis is None else int(axis.item())


def _before_axes(op: OpBuilder, weight: ir.Value, axis: int, x: ir.Value) -> ir.Value:
    """A vector so that it broadcasts to x along ``axis``."""
    rank = rank_of(x)
    if axis >= 0 and rank is None:
        return op.Reshape(weight, op.Concat([-1], ones(op, op.Sub(op.rank(x), axis + 1)), axis=0))
    behind = -axis - 1 if axis < 0 or rank is None else rank - 1 - axis
    return op.Reshape(weight, [-1] + [1] * behind)


def _length(op: OpBuilder, node: ir.Node, index: int) -> Size | None:
    value = optional(node, index)
    if value is None:
        return None
    known = constant(value)
    if known is not None:
        return int(known.item())
    return op.Cast(op.Reshape(value, [1]), to=ir.DataType.INT64)


def _transform(op: OpBuilder, x: ir.Value, length: Size, axis: int, *, inverse: bool, onesided: bool) -> ir.Value:
    attributes = {"inverse": int(inverse), "onesided": int(onesided)}
    if op.opset < _AXIS_AS_INPUT:
        return op.DFT(x, _scalar(op, length), axis=axis, **attributes)
    return op.DFT(x, _scalar(op, length), op.constant(np.array(axis, np.int64)), **attributes)


def _scalar(op: OpBuilder, value: Size) -> ir.Value:
    if isinstance(value, int):
        return op.constant(np.array(value, np.int64))
    return op.Squeeze(value, [0])


def _number(op: OpBuilder, value: Size, like: ir.Value) -> ir.Value:
    return cast_like(op, _scalar(op, value), like)


def _fitted(op: OpBuilder, x: ir.Value, axis: int, n: Size) -> ir.Value:
    """``x`` cut or padded with zeros to n along ``axis``."""
    have = size(op, x, axis)
    if isinstance(n, int) and isinstance(have, int) and n <= have:
        return x if n == have else cut(op, x, axis, 0, n)
    return pad(op, cut(op, x, axis, 0, n), {axis: (0, higher_of(op, minus(op, n, have), 0))})


def _real_part(op: OpBuilder, dx: ir.Value, x: ir.Value) -> ir.Value:
    """The first of dx's two parts where x has but one."""
    parts = size(op, x, -1)
    return dx if parts == 2 else cut(op, dx, -1, 0, parts)


def _frames(op: OpBuilder, node: ir.Node, g: ir.Value, values: ir.Value) -> ir.Value:
    """``values``, of the signals' shape, in frames of g's shape [B, F, l, C]."""
    zero, one = (op.constant(np.array(i, np.int64)) for i in (0, 1))
    step = _length(op, node, 1)
    assert step is not None
    starts = op.Mul(op.Range(zero, _scalar(op, size(op, g, 1)), one), _scalar(op, step))
    places = op.Add(op.Unsqueeze(starts, [1]), op.Range(zero, _scalar(op, size(op, g, 2)), one))
    return op.Gather(values, places, axis=1)


def _overlapped(op: OpBuilder, node: ir.Node, x: ir.Value, frames: ir.Value, length: Size) -> ir.Value:
    """Frames [B, F, l, C] added where they lie in the signal [B, T, C]."""
    step = _length(op, node, 1)
    if not isinstance(step, int) or not isinstance(length, int) or -(-length // step) > _MOST_SHIFTS:
        return add_at(op, x, _frames(op, node, frames, positions(op, x)), frames)
    shifts = -(-length // step)
    batch, count, parts = size(op, x, 0), size(op, frames, 1), size(op, x, 2)
    split = reshape(op, pad(op, frames, {2: (0, shifts * step - length)}), [batch, count, shifts, step, parts])
    total: ir.Value | None = None
    for j, piece in enumerate(op.Split(split, axis=2, num_outputs=shifts, _outputs=shifts) if shifts > 1 else [split]):
        moved = pad(op, op.Squeeze(piece, [2]), {1: (j, shifts - 1 - j)})
        total = moved if total is None else op.Add(total, moved)
    assert total is not None
    whole = reshape(op, total, [batch, times(op, plus(op, count, shifts - 1), step), parts])
    return _fitted(op, whole, 1, size(op, x, 1))
