"""VJP rules of the trigonometric and hyperbolic functions and their inverses, without any other of them where possible.

GPU providers lack kernels for several of them; products and roots run everywhere.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import given


@vjp("Sin")
def sin(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = sin x:  dx = dy · cos x."""
    return op.Mul(dy, op.Cos(given(node, 0)))


@vjp("Cos")
def cos(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = cos x:  dx = −dy · sin x."""
    return op.Neg(op.Mul(dy, op.Sin(given(node, 0))))


@vjp("Tan")
def tan(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = tan x:  dx = dy · (1 + y²)."""
    y = node.outputs[0]
    return op.Mul(dy, op.Add(op.Mul(y, y), 1.0))


@vjp("Asin")
def asin(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = arcsin x:  dx = dy / √(1 − x²)."""
    return op.Div(dy, op.Sqrt(_one_minus_square(op, given(node, 0))))


@vjp("Acos")
def acos(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = arccos x:  dx = −dy / √(1 − x²)."""
    return op.Neg(op.Div(dy, op.Sqrt(_one_minus_square(op, given(node, 0)))))


@vjp("Atan")
def atan(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = arctan x:  dx = dy / (1 + x²)."""
    x = given(node, 0)
    return op.Div(dy, op.Add(op.Mul(x, x), 1.0))


@vjp("Sinh")
def sinh(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = sinh x:  dx = dy · cosh x."""
    return op.Mul(dy, op.Cosh(given(node, 0)))


@vjp("Cosh")
def cosh(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = cosh x:  dx = dy · sinh x."""
    return op.Mul(dy, op.Sinh(given(node, 0)))


@vjp("Asinh")
def asinh(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = arsinh x:  dx = dy / √(x² + 1)."""
    x = given(node, 0)
    return op.Div(dy, op.Sqrt(op.Add(op.Mul(x, x), 1.0)))


@vjp("Acosh")
def acosh(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = arcosh x:  dx = dy / √(x² − 1)."""
    return op.Div(dy, op.Sqrt(op.Neg(_one_minus_square(op, given(node, 0)))))


@vjp("Atanh")
def atanh(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = artanh x:  dx = dy / (1 − x²)."""
    return op.Div(dy, _one_minus_square(op, given(node, 0)))


def _one_minus_square(op: OpBuilder, x: ir.Value) -> ir.Value:
    """1 − x² as (1 − x)(1 + x), which keeps its digits near ±1."""
    return op.Mul(op.Sub(1.0, x), op.Add(x, 1.0))
