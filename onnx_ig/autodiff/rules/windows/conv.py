"""VJP rules of Conv and ConvTranspose: each is the other's transpose, so two constructions serve all four gradients."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.autodiff.rules.windows.geometry import Axis, cut, halves, pad, spatial_rank, window
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, attr_ints, attr_str, given
from onnx_ig.graph.sizes import Size, floordiv, higher_of, minus, plus, size, times, vector


@vjp("Conv")
def conv(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """Y[N, M, o] = Σ_{c,j} W[M, c, j] · X[N, c, o·stride + j·dilation − begin] + B[M], c within M's group.

    dX = the transposed convolution of dY with W;  dW = the correlation of X with dY;  dB = Σ_{N,o} dY.
    """
    x, w = given(node, 0), given(node, 1)
    axes, group = window(op, node, x, w), attr_int(node, "group", 1)
    return (
        lambda: conv_input_gradient(op, axes, group, w, dy, x),
        lambda: conv_weight_gradient(op, axes, group, x, dy),
        lambda: _sum_to_channels(op, dy, len(axes)),
    )[: len(node.inputs)]


@vjp("ConvTranspose")
def conv_transpose(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """Y[N, M, i·stride + j·dilation − begin] = Σ_{i,c,j} W[c, M, j] · X[N, c, i] + B[M], c within M's group.

    dX = the convolution of dY with W;  dW = the correlation of dY with X;  dB = Σ_{N,o} dY.
    """
    x, w = given(node, 0), given(node, 1)
    axes, group = transposed_window(op, node, x, w), attr_int(node, "group", 1)
    spatial = range(2, len(axes) + 2)

    def dx() -> ir.Value:
        begins, ends = [a.begin for a in axes], [a.end for a in axes]
        source, pads = _explicit(op, dy, begins, ends)
        made = op.Conv(
            source,
            w,
            group=group,
            strides=[a.stride for a in axes],
            dilations=[a.dilation for a in axes],
            pads=pads,
        )
        # output_padding of a stride or more leaves room for windows beyond the last
        lengths = _sizes(op, x, len(axes))
        exact = [isinstance(a.end, int) and a.end > -a.stride for a in axes]
        return cut(
            op,
            made,
            spatial,
            [0] * len(axes),
            lengths,
            [m if e else None for m, e in zip(lengths, exact, strict=True)],
        )

    return (
        dx,
        lambda: conv_weight_gradient(op, axes, group, dy, x),
        lambda: _sum_to_channels(op, dy, len(axes)),
    )[: len(node.inputs)]


def conv_input_gradient(
    op: OpBuilder, axes: Sequence[Axis], group: int, w: ir.Value, dy: ir.Value, x: ir.Value
) -> ir.Value:
    """dX[N, C, spatial of x] of a convolution of x with W[M, C/group, kernel...], from dY[N, M, ...].

    Stride 1: a Conv of dY with W rotated by half a turn and its channel axes exchanged. Else a ConvTranspose with
    symmetric pads and output_padding, cut to x's size: runtimes differ on asymmetric pads and on output_shape.
    """
    n = len(axes)
    reaches = [a.reach(op) for a in axes]
    if all(a.stride == 1 for a in axes):
        begins = [minus(op, plus(op, r, -1), a.begin) for r, a in zip(reaches, axes, strict=True)]
        ends = [minus(op, plus(op, r, -1), a.end) for r, a in zip(reaches, axes, strict=True)]
        if all(isinstance(p, int) and p >= 0 for p in (*begins, *ends)):
            turned = rotated(op, w, n, group)
            return op.Conv(dy, turned, group=group, dilations=[a.dilation for a in axes], pads=[*begins, *ends])
    pads: list[int] = []
    room: list[int] = []
    starts: list[Size] = []
    made_sizes: list[Size | None] = []
    lengths, windows = _sizes(op, x, n), _sizes(op, dy, n)
    for a, length, count in zip(axes, lengths, windows, strict=True):
        p = min(a.begin, a.end) if isinstance(a.begin, int) and isinstance(a.end, int) else 0
        start, made = minus(op, a.begin, p), minus(op, a.covered(op, count), 2 * p)
        need = plus(op, start, length)
        # what the windows leave over at the end of x is less than a stride
        extra = max(0, need - made) if isinstance(need, int) and isinstance(made, int) else a.stride - 1
        pads.append(p)
        room.append(extra)
        starts.append(start)
        made_sizes.append(plus(op, made, extra) if isinstance(made, int) else None)
    full = op.ConvTranspose(
        dy,
        w,
        group=group,
        strides=[a.stride for a in axes],
        dilations=[a.dilation for a in axes],
        pads=[*pads, *pads],
        output_padding=room if any(room) else None,
    )
    return cut(op, full, range(2, n + 2), starts, lengths, made_sizes)


def conv_weight_gradient(op: OpBuilder, axes: Sequence[Axis], group: int, x: ir.Value, dy: ir.Value) -> ir.Value:
    """dW[M, C/group, kernel...] of a convolution of X[N, C, ...] that gives Y[N, M, ...].

    dW[m, c, j] = Σ_{N,o} dY[N, m, o] · X[N, c, o·stride + j·dilation − begin]:
    a convolution of Xᵀ[C, N, ...] with dYᵀ[M, N, ...] as its weight, stride and dilation exchanged.
    """
    n = len(axes)
    rest = list(range(2, n + 2))
    if group == 1:
        source = op.Transpose(x, perm=[1, 0, *rest])
    else:  # [N, g, C/g, ...] → [C/g, g·N, ...]: the groups take dY's channels in order
        split = op.Reshape(x, op.Concat([0, group, -1], op.Shape(x, start=2), axis=0))
        moved = op.Transpose(split, perm=[2, 1, 0, *(i + 1 for i in rest)])
        per_group = op.Div(op.dim(x, 1), [group])
        source = op.Reshape(moved, op.Concat(per_group, [-1], op.Shape(x, start=2), axis=0))
    source, pads = _explicit(op, source, [a.begin for a in axes], [a.end for a in axes])
    made = op.Conv(
        source,
        op.Transpose(dy, perm=[1, 0, *rest]),
        group=group,
        strides=[a.dilation for a in axes],
        dilations=[a.stride for a in axes],
        pads=pads,
    )
    # what the windows leave over at the end of x shows as positions beyond the kernel
    kernels = [a.kernel for a in axes]
    cut_to_kernel = cut(op, made, rest, [0] * n, kernels, _sizes(op, made, n))
    return op.Transpose(cut_to_kernel, perm=[1, 0, *rest])


def rotated(op: OpBuilder, w: ir.Value, n: int, group: int) -> ir.Value:
    """W[M, C/g, kernel...] → [C, M/g, kernel...], each kernel rotated by half a turn."""
    rest = list(range(2, n + 2))
    kernels = [size(op, w, i) for i in rest]
    turning = [i for i, k in zip(rest, kernels, strict=True) if k != 1]
    if turning:
        lowest = -(2**63) + 1
        w = op.Slice(w, [-1] * len(turning), [lowest] * len(turning), turning, [-1] * len(turning))
    if group == 1:
        return op.Transpose(w, perm=[1, 0, *rest])
    outs, ins = floordiv(op, size(op, w, 0), group), size(op, w, 1)
    if outs == 1 and ins == 1:
        return w
    split = op.Reshape(w, vector(op, [group, outs, ins, *kernels]))
    moved = op.Transpose(split, perm=[0, 2, 1, *(i + 1 for i in rest)])
    return op.Reshape(moved, vector(op, [times(op, ins, group), outs, *kernels]))


def transposed_window(op: OpBuilder, node: ir.Node, x: ir.Value, w: ir.Value) -> list[Axis]:
    """The window that slides over a ConvTranspose's *output* and whose transpose the node is.

    ``end`` is chosen such that the windows cover exactly begin + output + end positions.
    """
    n = spatial_rank(node, x, w)
    kernel: Sequence[Size] = attr_ints(node, "kernel_shape") or [size(op, w, i + 2) for i in range(n)]
    strides, dilations = attr_ints(node, "strides") or [1] * n, attr_ints(node, "dilations") or [1] * n
    extra, pads = attr_ints(node, "output_padding") or [0] * n, attr_ints(node, "pads") or [0] * (2 * n)
    wanted, auto_pad = attr_ints(node, "output_shape"), attr_str(node, "auto_pad", "NOTSET")
    axes = []
    for i in range(n):
        axis = Axis(kernel[i], strides[i], dilations[i], 0, 0)
        if wanted is None and auto_pad in ("NOTSET", "VALID"):
            begin: Size = pads[i] if auto_pad == "NOTSET" else 0
            end: Size = minus(op, pads[n + i] if auto_pad == "NOTSET" else 0, extra[i])
        else:
            covered = axis.covered(op, size(op, x, i + 2))
            length: Size = wanted[i - n] if wanted is not None else times(op, size(op, x, i + 2), strides[i])
            total = minus(op, covered, length)
            begin, _ = halves(op, higher_of(op, plus(op, total, extra[i]), 0), upper=auto_pad == "SAME_UPPER")
            end = minus(op, total, begin)
        axes.append(Axis(kernel[i], strides[i], dilations[i], begin, end))
    return axes


def _explicit(op: OpBuilder, x: ir.Value, begins: Sequence[Size], ends: Sequence[Size]) -> tuple[ir.Value, list[int]]:
    """Pads known now stay for Conv's attribute; those computed at run time become a Pad of ``x``.

    A negative end is left to Conv's rounding.
    """
    spatial = range(2, len(begins) + 2)
    known = [(b, e) if isinstance(b, int) and isinstance(e, int) else None for b, e in zip(begins, ends, strict=True)]
    begins = [0 if k else b for k, b in zip(known, begins, strict=True)]
    ends = [0 if k else higher_of(op, e, 0) for k, e in zip(known, ends, strict=True)]
    fixed = [(0, 0) if k is None else (k[0], max(k[1], 0)) for k in known]
    return pad(op, x, spatial, begins, ends), [p[0] for p in fixed] + [p[1] for p in fixed]


def _sizes(op: OpBuilder, x: ir.Value, n: int) -> list[Size]:
    """The sizes of x's n spatial axes."""
    return [size(op, x, i + 2) for i in range(n)]


def _sum_to_channels(op: OpBuilder, dy: ir.Value, n: int) -> ir.Value:
    """dY[N, M, ...] summed to [M]."""
    return op.ReduceSum(dy, [0, *range(2, n + 2)], keepdims=0)
