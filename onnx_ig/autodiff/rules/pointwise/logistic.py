"""The logistic function written out, 1 / (1 + exp u): its rules meet 0 · ∞ where exp u overflows, Sigmoid's does not.

Converters of classical models write it so (skl2onnx for SGDClassifier). The value is Sigmoid's but for its last bit.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.registry import preparation
from onnx_ig.graph.builder import OpBuilder, rank_of
from onnx_ig.graph.node import constant, given


@preparation("Reciprocal", "Div")
def logistic(op: OpBuilder, node: ir.Node) -> list[ir.Value | None] | None:
    """1 / (1 + exp u) = σ(−u)."""
    if node.op_type == "Div" and not _is_one(given(node, 0), given(node, 1)):
        return None
    total = given(node, len(node.inputs) - 1).producer()
    if total is None or total.op_type != "Add":
        return None
    for one, other in ((0, 1), (1, 0)):
        power = given(total, other).producer()
        if power is not None and power.op_type == "Exp" and _is_one(given(total, one), given(total, other)):
            return [op.Sigmoid(op.Neg(given(power, 0)))]
    return None


def _is_one(value: ir.Value, beside: ir.Value) -> bool:
    """Whether ``value`` is the number one, and leaves the shape of what it is combined with as it is."""
    number, rank = constant(value), rank_of(beside)
    return number is not None and number.size == 1 and number.ndim <= (rank or 0) and bool((number == 1).all())
