"""VJP rules of activation functions: pointwise, one tensor in, one out. They read y rather than x where y tells enough.

(y is kept in memory for the next layer anyway, and reading x would keep a runtime from fusing the activation.)
"""

from __future__ import annotations

from math import pi, sqrt

import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like, masked, number
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_float, attr_str, given

_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


@vjp("Relu")
def relu(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = max(x, 0):  dx = dy · [y > 0]."""
    y = node.outputs[0]
    return masked(op, node, dy, op.Greater(y, 0.0), y)


@vjp("LeakyRelu")
def leaky_relu(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x for x > 0, α·x else:  dx = dy · (1 for x > 0, α else)."""
    alpha, y = attr_float(node, "alpha", 0.01), node.outputs[0]
    if 0.0 <= alpha <= 1.0:  # max(sign y, α) is 1 for x > 0 and α else, in fewer passes than Where
        return op.Mul(dy, op.Max(op.Sign(y), alpha))
    return op.Mul(dy, op.Where(op.Greater(given(node, 0), 0.0), number(op, 1.0, y), alpha))


@vjp("Sigmoid")
def sigmoid(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = 1 / (1 + e⁻ˣ):  dx = dy · y · (1 − y)."""
    y = node.outputs[0]
    return op.Mul(dy, op.Mul(y, op.Sub(1.0, y)))


@vjp("Tanh")
def tanh(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = tanh x:  dx = dy · (1 − y²)."""
    y = node.outputs[0]
    return op.Mul(dy, op.Sub(1.0, op.Mul(y, y)))


@vjp("Elu")
def elu(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x for x > 0, α(eˣ − 1) else:  dx = dy · (1 for x > 0, y + α else)."""
    alpha, y = attr_float(node, "alpha", 1.0), node.outputs[0]
    if alpha == 1.0:
        return op.Mul(dy, op.Add(op.Min(y, 0.0), 1.0))
    return op.Mul(dy, op.Where(op.Greater(given(node, 0), 0.0), 1.0, op.Add(y, alpha)))


@vjp("Selu")
def selu(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = γx for x > 0, γα(eˣ − 1) else:  dx = dy · (γ for x > 0, y + γα else)."""
    alpha, gamma = attr_float(node, "alpha", _SELU_ALPHA), attr_float(node, "gamma", _SELU_GAMMA)
    return op.Mul(dy, op.Where(op.Greater(given(node, 0), 0.0), gamma, op.Add(node.outputs[0], gamma * alpha)))


@vjp("Celu")
def celu(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = max(x, 0) + min(α(e^(x/α) − 1), 0):  dx = dy · (1 for x > 0, e^(x/α) = 1 + y/α else)."""
    alpha = attr_float(node, "alpha", 1.0)
    return op.Mul(dy, op.Add(op.Mul(op.Min(node.outputs[0], 0.0), 1.0 / alpha), 1.0))


@vjp("Gelu")
def gelu(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """See :func:`gelu_cotangent`."""
    return gelu_cotangent(op, given(node, 0), attr_str(node, "approximate", "none") == "tanh", dy)


def gelu_by_erf(op: OpBuilder, x: ir.Value) -> ir.Value:
    """x · Φ(x) = x / 2 · (1 + erf(x / √2)), in the order of operators that ONNX Runtime fuses."""
    y: ir.Value = op.Mul(op.Mul(x, 0.5), op.Add(op.Erf(op.Div(x, sqrt(2))), 1.0))
    return y


def gelu_cotangent(op: OpBuilder, x: ir.Value, tanh: bool, dy: ir.Value) -> ir.Value:
    """y = x·Φ(x):  dx = dy · (Φ + x·φ) with the normal distribution's Φ and density φ.

    With ``tanh`` approximately: y = x·s with s = σ(v), v = √(8/π)·(x + 0.044715 x³):  dx = dy · (s + x·s·(1 − s)·v').
    All is computed from x again, by other nodes than a forward pass would hold (Φ from erf(−x/√2), no x·x): else
    runtimes would find them equal, keep them from one pass to the other, and not fuse the forward pass.
    """
    if tanh:
        scale, cubic = sqrt(8 / pi), 0.044715
        scaled = op.Mul(x, sqrt(scale * cubic))
        squared = op.Mul(scaled, scaled)
        s = op.Sigmoid(op.Mul(x, op.Add(squared, scale)))
        dv = op.Add(op.Mul(squared, 3.0), scale)
        slope = op.Mul(op.Mul(op.Mul(x, s), op.Sub(1.0, s)), dv)
        return op.Mul(dy, op.Add(s, slope))
    scaled = op.Mul(x, -sqrt(0.5))
    cumulative = op.Sub(0.5, op.Mul(op.Erf(scaled), 0.5))
    density = op.Mul(op.Exp(op.Neg(op.Mul(scaled, scaled))), 1 / sqrt(2 * pi))
    return op.Mul(dy, op.Add(cumulative, op.Mul(x, density)))


@vjp("HardSigmoid")
def hard_sigmoid(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = min(max(αx + β, 0), 1):  dx = dy · α · [0 < y < 1]."""
    y = node.outputs[0]
    inside = op.And(op.Greater(y, 0.0), op.Less(y, 1.0))
    return masked(op, node, op.Mul(dy, attr_float(node, "alpha", 0.2)), inside, y)


@vjp("HardSwish")
def hard_swish(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x·h with h = min(max(x/6 + ½, 0), 1):  dx = dy · (h + [|x| < 3]·(h − ½))."""
    x = given(node, 0)
    h = op.HardSigmoid(x, alpha=1.0 / 6.0, beta=0.5)
    inside = cast_like(op, op.Less(op.Abs(x), 3.0), x)
    return op.Mul(dy, op.Add(h, op.Mul(inside, op.Sub(h, 0.5))))


@vjp("Softplus")
def softplus(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = ln(1 + eˣ):  dx = dy · σ(x)."""
    return op.Mul(dy, op.Sigmoid(given(node, 0)))


@vjp("Softsign")
def softsign(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x / (1 + |x|):  dx = dy / (1 + |x|)²."""
    denominator = op.Add(op.Abs(given(node, 0)), 1.0)
    return op.Div(dy, op.Mul(denominator, denominator))


@vjp("ThresholdedRelu")
def thresholded_relu(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x for x > α, 0 else:  dx = dy · [x > α]."""
    x = given(node, 0)
    return masked(op, node, dy, op.Greater(x, attr_float(node, "alpha", 1.0)), x)


@vjp("Shrink")
def shrink(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x + b for x < −λ, x − b for x > λ, 0 else:  dx = dy · [x < −λ or x > λ]."""
    x, lambd = given(node, 0), attr_float(node, "lambd", 0.5)
    outside = op.Or(op.Less(x, -lambd), op.Greater(x, lambd))
    return masked(op, node, dy, outside, x)


@vjp("Mish")
def mish(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x·t with t = tanh(ln(1 + eˣ)):  dx = dy · (t + x·(1 − t²)·σ(x))."""
    x = given(node, 0)
    t = op.Tanh(op.Softplus(x))
    slope = op.Mul(op.Sub(1.0, op.Mul(t, t)), op.Sigmoid(x))
    return op.Mul(dy, op.Add(t, op.Mul(x, slope)))


@vjp("Swish")
def swish(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x·s with s = σ(αx):  dx = dy · (s + αy·(1 − s))."""
    x, y, alpha = given(node, 0), node.outputs[0], attr_float(node, "alpha", 1.0)
    s = op.Sigmoid(x if alpha == 1.0 else op.Mul(x, alpha))
    scaled = y if alpha == 1.0 else op.Mul(y, alpha)
    return silu_cotangent(op, s, scaled, dy)


def silu_cotangent(op: OpBuilder, s: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """dx = dy · (s + y·(1 − s)) of y = x·s, s = σ(x): for large x 1 − s is 0, and nothing is subtracted from y."""
    result: ir.Value = op.Mul(dy, op.Add(s, op.Mul(y, op.Sub(1.0, s))))
    return result
