"""The geometry of sliding windows, shared by convolution and pooling: where window i reads the input along each axis.

The one idea: along one axis, element j of window i reads position ``i·stride + j·dilation − begin``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder, rank_of
from onnx_ig.graph.node import attr_ints, attr_str, unknown_rank
from onnx_ig.graph.sizes import Size, floordiv, higher_of, minus, plus, size, times, vector


@dataclass(frozen=True)
class Axis:
    """One spatial axis of a sliding window: position of element j of window i = i·stride + j·dilation − begin."""

    kernel: Size
    stride: int
    dilation: int
    begin: Size
    end: Size

    def reach(self, op: OpBuilder) -> Size:
        """(kernel − 1)·dilation + 1: how many positions one window spans."""
        return plus(op, times(op, plus(op, self.kernel, -1), self.dilation), 1)

    def covered(self, op: OpBuilder, windows: Size) -> Size:
        """(windows − 1)·stride + reach: how many positions all windows span, padding included."""
        return plus(op, times(op, plus(op, windows, -1), self.stride), self.reach(op))


def spatial_rank(node: ir.Node, x: ir.Value, w: ir.Value | None = None) -> int:
    """The number of axes the window slides along.

    Raises:
        NotDifferentiableError: neither attributes nor shapes tell.
    """
    for name in ("kernel_shape", "strides", "dilations", "output_padding", "output_shape"):
        values = attr_ints(node, name)
        if values is not None:
            return len(values)
    pads = attr_ints(node, "pads")
    if pads is not None:
        return len(pads) // 2
    for value in (x, w, node.outputs[0]):
        rank = None if value is None else rank_of(value)
        if rank is not None:
            return rank - 2
    raise unknown_rank(node, x)


def window(op: OpBuilder, node: ir.Node, x: ir.Value, w: ir.Value | None = None) -> list[Axis]:
    """The axes of a Conv or pooling node that slides over ``x`` [N, C, spatial...].

    The kernel's size is read from ``w`` where no attribute tells.
    """
    n = spatial_rank(node, x, w)
    kernel: Sequence[Size] | None = attr_ints(node, "kernel_shape")
    if kernel is None:
        assert w is not None, f"{node.op_type} requires kernel_shape"
        kernel = [size(op, w, i + 2) for i in range(n)]
    strides, dilations = attr_ints(node, "strides") or [1] * n, attr_ints(node, "dilations") or [1] * n
    pads = attr_ints(node, "pads") or [0] * (2 * n)
    auto_pad = attr_str(node, "auto_pad", "NOTSET")
    axes = []
    for i in range(n):
        begin: Size = pads[i] if auto_pad == "NOTSET" else 0
        end: Size = pads[n + i] if auto_pad == "NOTSET" else 0
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            length = size(op, x, i + 2)
            windows = floordiv(op, plus(op, length, strides[i] - 1), strides[i])
            covered = Axis(kernel[i], strides[i], dilations[i], 0, 0).covered(op, windows)
            begin, end = halves(op, higher_of(op, minus(op, covered, length), 0), upper=auto_pad == "SAME_UPPER")
        axes.append(Axis(kernel[i], strides[i], dilations[i], begin, end))
    return axes


def halves(op: OpBuilder, total: Size, *, upper: bool) -> tuple[Size, Size]:
    """``total`` padding split in two; ``upper``: an odd one goes to the end, else to the beginning."""
    small = floordiv(op, total, 2)
    large = minus(op, total, small)
    return (small, large) if upper else (large, small)


# -- moving a tensor along its axes ------------------------------------------------------------------------------------


def pad(
    op: OpBuilder,
    x: ir.Value,
    axes: Sequence[int],
    begins: Sequence[Size],
    ends: Sequence[Size],
    fill: float | None = None,
) -> ir.Value:
    """``x`` with ``begins`` and ``ends`` (≥ 0) elements of ``fill`` (zero) added along ``axes``."""
    kept = [i for i in range(len(axes)) if begins[i] != 0 or ends[i] != 0]
    if not kept:
        return x
    pads = vector(op, [begins[i] for i in kept] + [ends[i] for i in kept])
    value = (
        None
        if fill is None
        else op.CastLike(op.constant(np.array(fill), like=x), x)
        if x.dtype is None
        else op.constant(np.array(fill), like=x)
    )
    padded: ir.Value = op.Pad(x, pads, value, [axes[i] for i in kept])
    return padded


def cut(
    op: OpBuilder,
    x: ir.Value,
    axes: Sequence[int],
    begins: Sequence[Size],
    lengths: Sequence[Size],
    lengths_now: Sequence[Size | None],
) -> ir.Value:
    """``lengths`` elements of ``x`` from ``begins`` along ``axes``; one known to be whole (``lengths_now``) stays."""
    kept = [i for i in range(len(axes)) if not (begins[i] == 0 and lengths[i] == lengths_now[i])]
    if not kept:
        return x
    starts = vector(op, [begins[i] for i in kept])
    ends = vector(op, [plus(op, begins[i], lengths[i]) for i in kept])
    part: ir.Value = op.Slice(x, starts, ends, [axes[i] for i in kept])
    return part
