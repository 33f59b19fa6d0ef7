"""VJP rules of activation functions: pointwise, one tensor in, one out."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.builder import OpBuilder
from onnx_ig.autodiff.node import given
from onnx_ig.autodiff.registry import Cotangents, vjp


@vjp("Relu")
def relu(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = max(x, 0):  dx = dy · [y > 0]."""
    # A product with a cast comparison makes fewer passes over memory than Where.
    return op.Mul(dy, op.Cast(op.Greater(node.outputs[0], 0.0), to=given(node, 0).dtype))


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
