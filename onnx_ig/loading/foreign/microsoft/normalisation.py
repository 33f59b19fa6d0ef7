"""Rewritings of ONNX Runtime's fused normalisations (domain com.microsoft)."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.axes import axes_from
from onnx_ig.autodiff.masks import cast_like, number
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_float, attr_int, given, known_rank, optional
from onnx_ig.loading.foreign.microsoft.activation import is_read, must_not_be_read, silu
from onnx_ig.loading.foreign.microsoft.products import channels_first, channels_last
from onnx_ig.loading.foreign.table import MICROSOFT, foreign

_HALF = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


@foreign("SkipLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """s = input + skip + bias,  y = LayerNormalization(s) over the last axis; s is output 3."""
    must_not_be_read(node, 1, 2)
    total = _sum(op, node, 4)
    beta = optional(node, 3)
    scales = [given(node, 2), *([] if beta is None else [beta])]
    y = op.LayerNormalization(total, *scales, axis=-1, epsilon=attr_float(node, "epsilon", 1e-12))
    return _with_sum(node, y, total)


@foreign("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_simplified_layer_normalization(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """s = input + skip + bias,  y = s / √(mean s² + ε) · γ over the last axis; s is output 3."""
    must_not_be_read(node, 1, 2)
    total = _sum(op, node, 3)
    y, _ = _root_mean_square(op, total, given(node, 2), -1, attr_float(node, "epsilon", 1e-12))
    return _with_sum(node, y, total)


def _simplified(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """y = x / √(mean x² + ε) · γ over the axes from ``axis`` on; output 1 is the factor before γ."""
    axis, epsilon = attr_int(node, "axis", -1), attr_float(node, "epsilon", 1e-5)
    y, factor = _root_mean_square(op, given(node, 0), given(node, 1), axis, epsilon)
    return [y, factor if is_read(node, 1) else None][: len(node.outputs)]


foreign("SimplifiedLayerNormalization", domain="")(_simplified)  # ONNX Runtime keeps it in the default domain
foreign("SimplifiedLayerNormalization", domain=MICROSOFT)(_simplified)


def _root_mean_square(
    op: OpBuilder, x: ir.Value, scale: ir.Value, axis: int, epsilon: float
) -> tuple[ir.Value, ir.Value]:
    wide = op.Cast(x, to=ir.DataType.FLOAT) if x.dtype in _HALF else x
    square = op.ReduceMean(op.Mul(wide, wide), axes_from(op, x, axis))
    factor = op.Reciprocal(op.Sqrt(op.Add(square, epsilon)))
    return op.Mul(cast_like(op, op.Mul(wide, factor), scale), scale), factor


def _sum(op: OpBuilder, node: ir.Node, bias_index: int) -> ir.Value:
    total, bias = op.Add(given(node, 0), given(node, 1)), optional(node, bias_index)
    return total if bias is None else op.Add(total, bias)


def _with_sum(node: ir.Node, y: ir.Value, total: ir.Value) -> list[ir.Value | None]:
    return [y, None, None, total if is_read(node, 3) else None][: len(node.outputs)]


@foreign("GroupNorm", "SkipGroupNorm", domain=MICROSOFT)
def group_norm(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """GroupNormalization, then x · σ(x) if ``activation`` is 1; channels last unless told otherwise.

    SkipGroupNorm normalises X + skip + bias, which is its output 1; skip and bias may lack the axes between.
    """
    x0, gamma, beta = given(node, 0), given(node, 1), given(node, 2)
    rank, last = known_rank(node, x0), attr_int(node, "channels_last", 1)
    for index in range(3, len(node.inputs)):
        term = optional(node, index)
        if term is not None:
            shaped = op.Reshape(term, [0, *[1] * (rank - 2), -1]) if known_rank(node, term) == 2 else term
            x0 = op.Add(x0, shaped)
    x = channels_first(op, x0, rank) if last else x0
    groups, epsilon = attr_int(node, "groups", 1), attr_float(node, "epsilon", 1e-5)
    grouped = op.Reshape(cast_like(op, x, gamma), [0, groups, -1])
    ones, zeros = (op.Expand(number(op, value, gamma), [groups]) for value in (1.0, 0.0))
    unit = op.Reshape(op.InstanceNormalization(grouped, ones, zeros, epsilon=epsilon), op.Shape(x))
    scale, shift = (op.Reshape(v, [-1] + [1] * (rank - 2)) for v in (gamma, beta))
    y = op.Add(op.Mul(unit, scale), shift)
    y = silu(op, y) if attr_int(node, "activation", 0) else y
    y = cast_like(op, channels_last(op, y, rank) if last else y, given(node, 0))
    outputs: list[ir.Value | None] = [y, x0]
    return outputs[: len(node.outputs)]
