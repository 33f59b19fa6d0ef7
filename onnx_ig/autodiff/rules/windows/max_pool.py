"""VJP rule of MaxPool without its Indices output, which is slow on CPU and missing in TensorRT.

The one idea: a maximum over a window is a maximum over rows of maxima over columns, so the cotangent goes back one axis
at a time; on each axis it goes to the first tap that equals the maximum.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.autodiff.rules.windows.elements import taps, untap
from onnx_ig.autodiff.rules.windows.geometry import Axis, window
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, given
from onnx_ig.graph.sizes import size


@vjp("MaxPool")
def max_pool(op: OpBuilder, node: ir.Node, dy: ir.Value, _indices: ir.Value | None = None) -> Cotangents:
    """y[i] = max_j x[i·stride + j·dilation − begin]:  dx[the first position, row by row, of the maximum] += dy[i]."""
    x = given(node, 0)
    axes = window(op, node, x)
    sliding = [i for i, a in enumerate(axes) if (a.kernel, a.stride, a.begin, a.end) != (1, 1, 0, 0)]
    stages = [x]  # pooled along the last axis, then the one before, ...
    for i in reversed(sliding[1:]):
        stages.append(_pooled(op, node, stages[-1], axes, i))
    stages.append(node.outputs[0])
    for i in sliding:  # the first axis decides first: rows come before columns
        pooled, source = stages.pop(), stages[-1]
        dy = _axis_cotangent(op, source, pooled, dy, i + 2, axes[i], len(axes) + 2)
    return dy


def _pooled(op: OpBuilder, node: ir.Node, x: ir.Value, axes: list[Axis], i: int) -> ir.Value:
    """``x`` pooled along spatial axis ``i`` alone, with the node's padding and rounding there."""
    n = len(axes)
    a = axes[i]
    known = isinstance(a.begin, int) and isinstance(a.end, int)
    pooled: ir.Value = op.MaxPool(
        x,
        kernel_shape=[a.kernel if j == i else 1 for j in range(n)],
        strides=[a.stride if j == i else 1 for j in range(n)],
        dilations=[a.dilation if j == i else 1 for j in range(n)] if a.dilation > 1 else None,
        pads=[a.begin if j == i else 0 for j in range(n)] + [a.end if j == i else 0 for j in range(n)]
        if known
        else None,
        auto_pad=None if known else node.attributes["auto_pad"].as_string(),
        ceil_mode=attr_int(node, "ceil_mode", 0),
    )
    return pooled


def _axis_cotangent(op: OpBuilder, x: ir.Value, y: ir.Value, dy: ir.Value, axis: int, a: Axis, rank: int) -> ir.Value:
    """dx of y = the maximum of x over windows along ``axis`` alone."""
    windows = size(op, dy, axis)
    *earlier, _last = taps(op, x, axis, a, windows, float("-inf"))
    parts = []
    for tap in earlier:
        part = op.Mul(dy, cast_like(op, op.Equal(tap, y), x))
        dy = op.Sub(dy, part)  # what no tap has taken yet
        parts.append(part)
    # the maximum is one of the taps: what the earlier ones left is the last one's
    return untap(op, [*parts, dy], axis, a, windows, size(op, x, axis), rank)
