"""VJP rules of normalisations by statistics of the same example: layer, RMS, instance, group, mean–variance.

The one idea: with d = x − mean x and r a function of v = mean d² alone, d·r pulls a cotangent g back to
r·(g − mean g) − c·d·mean(g·d), where c = −2 dr/dv; for r = (v + ε)^(−½) that is r³.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.axes import Axes, axes_from, inverse_count, per_channel, sum_per_channel
from onnx_ig.autodiff.masks import cast_like, number
from onnx_ig.autodiff.registry import Cotangents, lowering, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_float, attr_int, attr_ints, constant, given, optional

_HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


@vjp("LayerNormalization")
def layer_normalization(
    op: OpBuilder, node: ir.Node, dy: ir.Value | None, dmean: ir.Value | None = None, dinv: ir.Value | None = None
) -> Cotangents:
    """y = d·r·s + b over the axes from ``axis`` on, r = (mean d² + ε)^(−½):  dx as above with g = dy·s.

    ds = Σ dy·d·r,  db = Σ dy.  The outputs mean and r add to dx  dmean / n  and  −dr · r³ · d / n.
    """
    x0, scale, bias = given(node, 0), given(node, 1), optional(node, 2)
    axes = axes_from(op, x0, attr_int(node, "axis", -1))
    x = _wide(op, x0)
    outputs = [*node.outputs, None, None]
    d = op.Sub(x, op.ReduceMean(x, axes) if outputs[1] is None else cast_like(op, outputs[1], x))
    r = _inverse_std(op, d, axes, node) if outputs[2] is None else cast_like(op, outputs[2], x)
    cube = op.Mul(op.Mul(r, r), r)

    def dx() -> ir.Value:
        terms = []
        if dy is not None:
            terms.append(_pull_back(op, op.Mul(_wide(op, dy), cast_like(op, scale, x)), d, r, cube, axes))
        if dmean is not None:
            terms.append(op.Expand(op.Mul(cast_like(op, dmean, x), inverse_count(op, x, axes)), op.Shape(x)))
        if dinv is not None:
            share = op.Mul(op.Mul(cast_like(op, dinv, x), cube), inverse_count(op, x, axes))
            terms.append(op.Neg(op.Mul(d, share)))
        return cast_like(op, terms[0] if len(terms) == 1 else op.Sum(*terms), x0)

    def ds() -> ir.Value | None:
        if dy is None:
            return None
        return cast_like(op, op.unbroadcast(op.Mul(_wide(op, dy), op.Mul(d, r)), scale), scale)

    return (dx, ds, lambda: None if dy is None or bias is None else op.unbroadcast(dy, bias))[: len(node.inputs)]


@vjp("RMSNormalization")
def rms_normalization(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x·r·s over the axes from ``axis`` on, r = (mean x² + ε)^(−½):  dx = r·g − r³·x·mean(g·x) with g = dy·s.

    ds = Σ dy·x·r.
    """
    x0, scale = given(node, 0), given(node, 1)
    axes = axes_from(op, x0, attr_int(node, "axis", -1))
    x, wide_dy = _wide(op, x0), _wide(op, dy)
    r = _inverse_std(op, x, axes, node)

    def dx() -> ir.Value:
        g = op.Mul(wide_dy, cast_like(op, scale, x))
        return cast_like(op, root_mean_square_cotangent(op, x, r, axes, g), x0)

    return dx, lambda: cast_like(op, op.unbroadcast(op.Mul(wide_dy, op.Mul(x, r)), scale), scale)


def root_mean_square_cotangent(op: OpBuilder, x: ir.Value, r: ir.Value, axes: Axes, g: ir.Value) -> ir.Value:
    """dx = r·g − r³·x·mean(g·x) of x·r, r = (mean x² + ε)^(−½) over ``axes``."""
    share = op.Mul(op.Mul(op.Mul(r, r), r), op.ReduceMean(op.Mul(g, x), axes))
    result: ir.Value = op.Sub(op.Mul(g, r), op.Mul(x, share))
    return result


@vjp("InstanceNormalization")
def instance_normalization(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = d·r·s + b over the axes of x [N, C, ...] from 2:  dx as above, g = dy·s,  ds = Σ dy·d·r,  db = Σ dy."""
    x0, scale = given(node, 0), given(node, 1)
    x, wide_dy, axes = _wide(op, x0), _wide(op, dy), axes_from(op, x0, 2)
    d = op.Sub(x, op.ReduceMean(x, axes))
    r = _inverse_std(op, d, axes, node)

    def dx() -> ir.Value:
        numbers = constant(scale)
        unit = numbers is not None and bool(np.all(numbers == 1))
        g = wide_dy if unit else op.Mul(wide_dy, per_channel(op, cast_like(op, scale, x), x))
        return cast_like(op, _pull_back(op, g, d, r, op.Mul(op.Mul(r, r), r), axes), x0)

    def ds() -> ir.Value:
        return cast_like(op, sum_per_channel(op, op.Mul(wide_dy, op.Mul(d, r))), scale)

    return dx, ds, lambda: sum_per_channel(op, dy)


@lowering("GroupNormalization")
def group_normalization(op: OpBuilder, node: ir.Node) -> Sequence[ir.Value]:
    """x [N, C, ...] as [N, G, −1]: an InstanceNormalization whose channels are the groups, then scale and bias.

    Up to opset 20 there is one scale and bias per group, from 21 on one per channel.
    """
    x, scale, bias = given(node, 0), given(node, 1), given(node, 2)
    groups, epsilon = attr_int(node, "num_groups", 1), attr_float(node, "epsilon", 1e-5)
    grouped = op.Reshape(x, [0, groups, -1])
    if op.opset < 21:
        return [op.reshape_like(op.InstanceNormalization(grouped, scale, bias, epsilon=epsilon), x)]
    ones, zeros = (op.Expand(number(op, value, x), [groups]) for value in (1.0, 0.0))
    unit = op.reshape_like(op.InstanceNormalization(grouped, ones, zeros, epsilon=epsilon), x)
    return [op.Add(op.Mul(unit, per_channel(op, scale, x)), per_channel(op, bias, x))]


@vjp("MeanVarianceNormalization")
def mean_variance_normalization(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = d·r with r = 1/(√v + ε), ε = 1e-9:  dx as above with c = r²/√v (0 where v = 0)."""
    x0, axes = given(node, 0), attr_ints(node, "axes", [0, 2, 3])
    x, g = _wide(op, x0), _wide(op, dy)
    d = op.Sub(x, op.ReduceMean(x, axes))
    std = op.Sqrt(op.ReduceMean(op.Mul(d, d), axes))
    r = op.Reciprocal(op.Add(std, 1e-9))
    nonzero = op.Add(std, cast_like(op, op.Equal(std, 0.0), x))
    return cast_like(op, _pull_back(op, g, d, r, op.Div(op.Mul(r, r), nonzero), axes or []), x0)


def _pull_back(op: OpBuilder, g: ir.Value, d: ir.Value, r: ir.Value, c: ir.Value, axes: Axes) -> ir.Value:
    """r·(g − mean g) − d·c·mean(g·d)."""
    share = op.Mul(c, op.ReduceMean(op.Mul(g, d), axes))
    centred = op.Sub(g, op.ReduceMean(g, axes))
    return op.Sub(op.Mul(centred, r), op.Mul(d, share))


def _inverse_std(op: OpBuilder, d: ir.Value, axes: Axes, node: ir.Node) -> ir.Value:
    """(mean d² + ε)^(−½)."""
    variance = op.ReduceMean(op.Mul(d, d), axes)
    return op.Reciprocal(op.Sqrt(op.Add(variance, attr_float(node, "epsilon", 1e-5))))


def _wide(op: OpBuilder, x: ir.Value) -> ir.Value:
    """``x`` in float32 where it is a half-precision tensor, whose squares overflow (``stash_type``)."""
    return op.Cast(x, to=ir.DataType.FLOAT) if x.dtype in _HALF else x
