"""Masks: cotangents that pass at some elements and are zero at the others.

The one idea: a product with 0 and 1 makes half the passes over memory of Where, but 0 · ∞ is NaN; so the product is
taken unless something downstream has an infinite derivative (√, log, 1/x ...), as in √(Relu(x)) at x < 0.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import constant

_SINGULAR = frozenset(
    {
        "Sqrt",
        "Log",
        "Reciprocal",
        "Asin",
        "Acos",
        "Acosh",
        "Atanh",
        "ReduceL2",
        "ReduceLogSum",
        "LpNormalization",
        "LpPool",
    }
    | {"GlobalLpPool", "Mod"}
)
# Every product of the cotangent with a weight mixes elements: an infinite one would spoil the gradient anyway.
_MIXING = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
_LONGEST_WALK = 256  # nodes looked at; deeper ones are taken to be regular


def cast_like(op: OpBuilder, value: ir.Value, like: ir.Value) -> ir.Value:
    """``value`` in the element type of ``like``."""
    if like.dtype is None:
        return op.CastLike(value, like)
    return value if value.dtype == like.dtype else op.Cast(value, to=like.dtype)


def number(op: OpBuilder, value: float, like: ir.Value) -> ir.Value:
    """A constant number of the element type of ``like``."""
    return cast_like(op, op.constant(np.asarray(value, np.float64), like), like)


def masked(op: OpBuilder, node: ir.Node, dy: ir.Value, keep: ir.Value, like: ir.Value) -> ir.Value:
    """dy · [keep], exactly zero where ``keep`` is false; ``like`` has dy's element type."""
    if _may_be_infinite(node.outputs[0]):
        return op.Where(keep, dy, 0.0)
    return op.Mul(dy, cast_like(op, keep, like))


def _may_be_infinite(y: ir.Value) -> bool:
    """Whether an operator with a singular derivative depends on ``y`` before the next matrix product."""
    pending, seen = [y], {y}
    while pending and len(seen) < _LONGEST_WALK:
        value = pending.pop()
        for node, index in value.uses():
            if _is_singular(node, index):
                return True
            if node.op_type not in _MIXING:
                fresh = [out for out in node.outputs if out not in seen]
                pending += fresh
                seen.update(fresh)
    return False


def _is_singular(node: ir.Node, index: int) -> bool:
    if node.op_type == "Pow":
        exponent = constant(node.inputs[1])
        return exponent is None or bool((exponent < 1).any())
    if node.op_type == "Div":
        return index == 1
    return node.op_type in _SINGULAR
