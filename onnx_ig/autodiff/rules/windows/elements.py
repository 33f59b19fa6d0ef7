"""Element j of every sliding window as a tensor of its own (a tap), and the way back: what pooling gradients need.

The one idea: along one axis a tap is a strided slice of the padded input; its transpose shifts and interleaves. Taking
the axes one after the other costs the sum of the kernel's sizes where whole windows would cost their product.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnx_ig.autodiff.rules.windows.geometry import Axis, cut, pad
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.sizes import Size, higher_of, minus, plus, size, times, vector


def taps(op: OpBuilder, x: ir.Value, axis: int, a: Axis, windows: Size, fill: float) -> list[ir.Value]:
    """The kernel's elements: tap j holds x[i·stride + j·dilation − begin] for each window i, ``fill`` outside x."""
    assert isinstance(a.kernel, int)
    end = higher_of(op, minus(op, minus(op, a.covered(op, windows), a.begin), size(op, x, axis)), 0)
    padded = pad(op, x, [axis], [a.begin], [end], fill)
    if a.kernel == 1 and a.stride == 1:
        return [cut(op, padded, [axis], [0], [windows], [size(op, padded, axis)])]
    span = plus(op, times(op, plus(op, windows, -1), a.stride), 1)
    starts = [j * a.dilation for j in range(a.kernel)]
    return [
        op.Slice(padded, [start], vector(op, [plus(op, span, start)]), [axis], [a.stride] if a.stride > 1 else None)
        for start in starts
    ]


def untap(
    op: OpBuilder, parts: Sequence[ir.Value], axis: int, a: Axis, windows: Size, length: Size, rank: int
) -> ir.Value:
    """The transpose of :func:`taps`: each part added to the positions it was read from, ``length`` positions in all."""
    shifts = [j * a.dilation // a.stride for j in range(len(parts))]
    phases: list[ir.Value | None] = [None] * a.stride
    for j, part in enumerate(parts):
        phase = j * a.dilation % a.stride
        shifted = pad(op, part, [axis], [shifts[j]], [shifts[-1] - shifts[j]])
        earlier = phases[phase]
        phases[phase] = shifted if earlier is None else op.Add(earlier, shifted)
    first = phases[0]
    assert first is not None  # tap 0 lies in phase 0
    made = plus(op, windows, shifts[-1])
    spread = first
    if a.stride > 1:
        zeros = op.zeros_like(first) if any(p is None for p in phases) else first
        columns = [op.Unsqueeze(zeros if p is None else p, [axis + 1]) for p in phases]
        spread = merge(op, op.Concat(*columns, axis=axis + 1), axis, rank + 1)
        made = times(op, made, a.stride)
    return fit(op, spread, axis, a, made, length)


def repeat(op: OpBuilder, x: ir.Value, axis: int, times: int, rank: int) -> ir.Value:
    """Each element of ``x`` ``times`` times in a row along ``axis``."""
    columns = op.Expand(op.Unsqueeze(x, [axis + 1]), [1] * (axis + 1) + [times] + [1] * (rank - axis - 1))
    return merge(op, columns, axis, rank + 1)


def merge(op: OpBuilder, x: ir.Value, axis: int, rank: int) -> ir.Value:
    """Axes ``axis`` and ``axis + 1`` of ``x`` as one."""
    rest = [size(op, x, i) for i in range(axis + 2, rank)]
    merged: ir.Value = op.Reshape(x, vector(op, [*[0] * axis, -1, *rest]))
    return merged


def fit(op: OpBuilder, x: ir.Value, axis: int, a: Axis, made: Size, length: Size) -> ir.Value:
    """``length`` elements of ``x`` (``made`` long) from a's begin on; zeros where the windows leave a rest."""
    need = plus(op, a.begin, length)
    # windows leave over less than a stride
    missing = max(0, need - made) if isinstance(need, int) and isinstance(made, int) else a.stride - 1
    padded = pad(op, x, [axis], [0], [missing])
    return cut(op, padded, [axis], [a.begin], [length], [plus(op, made, missing) if isinstance(made, int) else None])
