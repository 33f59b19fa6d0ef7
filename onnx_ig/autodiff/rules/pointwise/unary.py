"""VJP rules of functions of one tensor: powers, exponentials, limits, copies and casts."""

from __future__ import annotations

from math import pi, sqrt

import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like, masked, number
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import constant, given, optional, output


@vjp("Identity")
def identity(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x:  dx = dy."""
    return dy


@vjp("Cast", "CastLike")
def cast(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x in another float type:  dx = dy in x's type. An integer on either side is never on a path."""
    return lambda: cast_like(op, dy, given(node, 0))


@vjp("Dropout")
def dropout(op: OpBuilder, node: ir.Node, dy: ir.Value | None, *dmask: ir.Value | None) -> Cotangents:
    """Inference: y = x, dx = dy. Training: y = x · mask / (1 − ratio), dx = dy · mask / (1 − ratio) of the same draw.

    d ratio = Σ dy · y / (1 − ratio): between the values at which an element of the mask turns over.
    """
    x, ratio, training = given(node, 0), optional(node, 1), optional(node, 2)
    mode = constant(training)
    if dy is None or training is None or (mode is not None and not mode.any()):
        return (dy, None, None)[: len(node.inputs)]
    kept = op.Sub(1.0, number(op, 0.5, x) if ratio is None else cast_like(op, ratio, x))
    if mode is None:
        kept = op.Where(training, kept, number(op, 1.0, x))

    def d_ratio() -> ir.Value:
        slope = op.ReduceSum(op.Div(op.Mul(dy, node.outputs[0]), kept), keepdims=0)
        if mode is None:
            slope = op.Mul(slope, cast_like(op, training, x))
        return cast_like(op, slope, given(node, 1))

    mask = output(op, node, 1)
    return lambda: op.Div(masked(op, node, dy, mask, x), kept), d_ratio, None


@vjp("Neg")
def neg(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = −x:  dx = −dy."""
    return op.Neg(dy)


@vjp("Abs")
def absolute(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = |x|:  dx = dy · sign x, 0 at 0."""
    return op.Mul(dy, op.Sign(given(node, 0)))


@vjp("Reciprocal")
def reciprocal(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = 1/x:  dx = −dy · y²."""
    y = node.outputs[0]
    return op.Neg(op.Mul(dy, op.Mul(y, y)))


@vjp("Sqrt")
def square_root(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = √x:  dx = dy / (2y)."""
    return op.Div(op.Mul(dy, 0.5), node.outputs[0])


@vjp("Exp")
def exp(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = eˣ:  dx = dy · y."""
    return op.Mul(dy, node.outputs[0])


@vjp("Log")
def log(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = ln x:  dx = dy / x."""
    return op.Div(dy, given(node, 0))


@vjp("Erf")
def erf(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = erf x:  dx = dy · 2/√π · e^(−x²)."""
    x = given(node, 0)
    return op.Mul(dy, op.Mul(op.Exp(op.Neg(op.Mul(x, x))), 2 / sqrt(pi)))


@vjp("Clip")
def clip(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = min(max(x, l), h):  dx = dy · [l ≤ x ≤ h],  dl = Σ dy · [x < l ≤ h],  dh = Σ dy · [max(x, l) > h]."""
    x, low, high, y = given(node, 0), optional(node, 1), optional(node, 2), node.outputs[0]

    def dl() -> ir.Value | None:
        if low is None:
            return None
        below = op.Less(x, low)
        if high is not None:
            below = op.And(below, op.LessOrEqual(low, high))
        return op.unbroadcast(masked(op, node, dy, below, x), low)

    def dh() -> ir.Value | None:
        if high is None:
            return None
        lifted = x if low is None else op.Max(x, low)
        return op.unbroadcast(masked(op, node, dy, op.Greater(lifted, high), x), high)

    # x is within the bounds exactly where it comes out unchanged: one comparison
    return (lambda: masked(op, node, dy, op.Equal(x, y), x), dl, dh)[: len(node.inputs)]
