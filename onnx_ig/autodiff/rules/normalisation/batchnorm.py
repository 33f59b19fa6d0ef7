"""VJP rule of BatchNormalization: with running statistics (a product per channel), and with the batch's own."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.axes import all_but_channels, inverse_count, per_channel, sum_per_channel
from onnx_ig.autodiff.masks import cast_like
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_float, attr_int, given


@vjp("BatchNormalization")
def batch_normalization(
    op: OpBuilder, node: ir.Node, dy: ir.Value | None, dmean: ir.Value | None = None, dvar: ir.Value | None = None
) -> Cotangents:
    """y = (x − μ)·r·s + b per channel, r = (σ² + ε)^(−½):  dx = dy·r·s,  ds = Σ dy·(x − μ)·r,  db = Σ dy,

    dμ = −r·s·Σ dy,  dσ² = −½ ds·s·r².
    """
    x, scale, bias, mean, variance = (given(node, i) for i in range(5))
    if attr_int(node, "training_mode", 0):
        return _in_training_mode(op, node, dy, dmean, dvar)
    assert dy is not None  # the only output
    inverse_std = _inverse_std(op, node, variance)
    gain = op.Mul(inverse_std, cast_like(op, scale, variance))

    def ds() -> ir.Value:
        centred = op.Mul(dy, op.Sub(x, per_channel(op, cast_like(op, mean, x), x)))
        return op.Mul(cast_like(op, sum_per_channel(op, centred), variance), inverse_std)

    def dsigma() -> ir.Value:
        return op.Mul(op.Mul(ds(), op.Mul(gain, inverse_std)), -0.5)

    return (
        lambda: op.Mul(dy, per_channel(op, cast_like(op, gain, x), x)),
        lambda: cast_like(op, ds(), scale),
        lambda: cast_like(op, sum_per_channel(op, dy), bias),
        lambda: op.Neg(op.Mul(cast_like(op, sum_per_channel(op, dy), mean), cast_like(op, gain, mean))),
        dsigma,
    )


def _in_training_mode(
    op: OpBuilder, node: ir.Node, dy: ir.Value | None, drunning_mean: ir.Value | None, drunning_var: ir.Value | None
) -> Cotangents:
    """The same with μ = mean x and σ² = mean (x − μ)² over the batch;  running' = running·m + (μ or σ²)·(1 − m).

    dx = r·s·(dy − mean dy − x̂·mean(dy·x̂)) + (1 − m)·(drunning_mean + 2·(x − μ)·drunning_var)/n with x̂ = (x − μ)·r.
    """
    x, scale, bias, running_mean, running_var = (given(node, i) for i in range(5))
    axes = all_but_channels(op, x)
    momentum = attr_float(node, "momentum", 0.9)
    centred = op.Sub(x, op.ReduceMean(x, axes))
    inverse_std = _inverse_std(op, node, op.ReduceMean(op.Mul(centred, centred), axes))
    normal = op.Mul(centred, inverse_std)

    def dx() -> ir.Value:
        terms = []
        if dy is not None:
            spread = op.Mul(normal, op.ReduceMean(op.Mul(dy, normal), axes))
            pulled = op.Sub(op.Sub(dy, op.ReduceMean(dy, axes)), spread)
            terms.append(op.Mul(pulled, op.Mul(inverse_std, per_channel(op, cast_like(op, scale, x), x))))
        share = op.Mul(inverse_count(op, x, axes), 1.0 - momentum)
        if drunning_mean is not None:
            kept = op.Mul(per_channel(op, cast_like(op, drunning_mean, x), x), share)
            terms.append(op.Expand(kept, op.Shape(x)))
        if drunning_var is not None:
            kept = op.Mul(per_channel(op, cast_like(op, drunning_var, x), x), op.Mul(share, 2.0))
            terms.append(op.Mul(centred, kept))
        return terms[0] if len(terms) == 1 else op.Sum(*terms)

    return (
        dx,
        lambda: None if dy is None else cast_like(op, sum_per_channel(op, op.Mul(dy, normal)), scale),
        lambda: None if dy is None else cast_like(op, sum_per_channel(op, dy), bias),
        lambda: None if drunning_mean is None else cast_like(op, op.Mul(drunning_mean, momentum), running_mean),
        lambda: None if drunning_var is None else cast_like(op, op.Mul(drunning_var, momentum), running_var),
    )


def _inverse_std(op: OpBuilder, node: ir.Node, variance: ir.Value) -> ir.Value:
    """(σ² + ε)^(−½), computed once at export where the variance is a constant."""
    return op.Reciprocal(op.Sqrt(op.Add(variance, attr_float(node, "epsilon", 1e-5))))
