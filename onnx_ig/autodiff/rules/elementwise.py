"""VJP rules of arithmetic on two or more tensors; the driver sums each cotangent to its operand's shape."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.builder import OpBuilder
from onnx_ig.autodiff.node import given
from onnx_ig.autodiff.registry import Cotangents, vjp


@vjp("Add", broadcasts=True)
def add(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = a + b:  da = dy,  db = dy."""
    return dy, dy


@vjp("Sub", broadcasts=True)
def sub(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = a − b:  da = dy,  db = −dy."""
    return dy, lambda: op.Neg(dy)


@vjp("Mul", broadcasts=True)
def mul(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = a · b:  da = dy · b,  db = dy · a."""
    a, b = given(node, 0), given(node, 1)
    return lambda: op.Mul(dy, b), lambda: op.Mul(dy, a)


@vjp("Div", broadcasts=True)
def div(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = a / b:  da = dy / b,  db = −dy · y / b."""
    b, y = given(node, 1), node.outputs[0]
    return lambda: op.Div(dy, b), lambda: op.Neg(op.Div(op.Mul(dy, y), b))
