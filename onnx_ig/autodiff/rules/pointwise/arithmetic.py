"""VJP rules of arithmetic on two or more tensors; the driver sums each cotangent to its operand's shape."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like, masked
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import constant, given


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


@vjp("Pow", broadcasts=True)
def power(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = aᵇ:  da = dy · b · aᵇ⁻¹ (0 where b = 0),  db = dy · y · ln a (0 where a = 0 and b ≥ 0)."""
    a, y = given(node, 0), node.outputs[0]
    b = cast_like(op, given(node, 1), a)

    def da() -> ir.Value | None:
        exponent = constant(b)
        if exponent is not None and exponent.size == 1:
            return _constant_power(op, dy, a, b, y, exponent.item())
        slope = op.Mul(b, op.Pow(a, op.Sub(b, 1.0)))
        return op.Mul(dy, op.Where(op.Equal(b, 0.0), 0.0, slope))

    def db() -> ir.Value:
        flat = op.And(op.Equal(a, 0.0), op.GreaterOrEqual(b, 0.0))
        return op.Mul(dy, op.Where(flat, 0.0, op.Mul(y, op.Log(a))))

    return da, db


def _constant_power(
    op: OpBuilder, dy: ir.Value, a: ir.Value, b: ir.Value, y: ir.Value, exponent: float
) -> ir.Value | None:
    """dy · b · aᵇ⁻¹ in fewer operations where the exponent is a common one."""
    if exponent == 0.0:
        return None
    if exponent == 1.0:
        slope = op.Mul(dy, b)
    elif exponent == 2.0:
        slope = op.Mul(dy, op.Mul(a, 2.0))
    elif exponent == 3.0:
        slope = op.Mul(dy, op.Mul(op.Mul(a, a), 3.0))
    elif exponent == 0.5:
        slope = op.Div(op.Mul(dy, 0.5), y)
    elif exponent == -1.0:
        slope = op.Neg(op.Mul(dy, op.Mul(y, y)))
    else:
        slope = op.Mul(dy, op.Mul(op.Pow(a, op.Sub(b, 1.0)), b))
    return slope


@vjp("Mod", broadcasts=True)
def mod(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = a − b · q with the whole number q = ⌊a/b⌋, or a/b cut to an integer (``fmod``):  da = dy,  db = −dy · q."""
    a, b, y = given(node, 0), given(node, 1), node.outputs[0]
    # (a − y) / b is q in both conventions, up to the rounding that Round takes away
    return dy, lambda: op.Neg(op.Mul(dy, op.Round(op.Div(op.Sub(a, y), b))))


@vjp("Sum", broadcasts=True)
def sum_(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = Σᵢ xᵢ:  dxᵢ = dy."""
    return [dy] * len(node.inputs)


@vjp("Mean", broadcasts=True)
def mean(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = Σᵢ xᵢ / n:  dxᵢ = dy / n."""
    share = op.Mul(dy, 1.0 / len(node.inputs)) if len(node.inputs) > 1 else dy
    return [share] * len(node.inputs)


@vjp("Max", "Min", broadcasts=True)
def extremum(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = max or min of the xᵢ:  dxᵢ = dy · [xᵢ = y] / (number of xᵢ that equal y)."""
    if len(node.inputs) == 1:
        return dy
    y = node.outputs[0]
    hits = [op.Equal(given(node, i), y) for i in range(len(node.inputs))]
    share = op.Div(dy, op.Sum(*(cast_like(op, hit, y) for hit in hits)))
    return [lambda hit=hit: masked(op, node, share, hit, y) for hit in hits]  # type: ignore[misc]


@vjp("Where", broadcasts=True)
def where(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = c ? a : b:  da = c ? dy : 0,  db = c ? 0 : dy."""
    condition, y = given(node, 0), node.outputs[0]
    return None, lambda: masked(op, node, dy, condition, y), lambda: masked(op, node, dy, op.Not(condition), y)


@vjp("PRelu", broadcasts=True)
def prelu(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x for x > 0, s·x else:  dx = dy · (1 for x > 0, s else),  ds = dy · min(x, 0)."""
    x, s = given(node, 0), given(node, 1)
    return lambda: op.Mul(dy, op.Where(op.Greater(x, 0.0), 1.0, s)), lambda: op.Mul(dy, op.Min(x, 0.0))
