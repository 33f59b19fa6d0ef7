"""Which operators outside the standard are rewritten in its own: one table, where a second entry is an error.

The one idea: it is read while a model is loaded, so differentiation meets the standard's operators alone. What has no
standard form stays in the graph, and its family's file hands differentiation what to know of it: that its derivative is
zero (:func:`~onnx_ig.autodiff.registry.zero_vjp`), why it is refused (:func:`~onnx_ig.autodiff.registry.refused`), or a
rule (:func:`~onnx_ig.autodiff.registry.vjp`).
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from onnx_ig.autodiff.registry import LoweringRule, lookup_name

MICROSOFT = "com.microsoft"  # ONNX Runtime's own
BLOCKED = "com.microsoft.nchwc"  # the same on tensors in blocks of channels
ML = "ai.onnx.ml"  # classical models

UNOPTIMISED = "Use the model as it was before optimisation"  # the advice for what ONNX Runtime put there

_TABLE: dict[tuple[str, str], LoweringRule] = {}


def foreign(*op_types: str, domain: str) -> Callable[[LoweringRule], LoweringRule]:
    """Register ``rule(op, node) -> one value per output``, the node written in the standard's operators.

    Where a node has no such form the rule raises ``refuse(node, reason, advice)``: the node stays, and that is the
    error if it lies on a path. ``domain`` "": an operator that ONNX Runtime puts into the standard's domain.

    Raises:
        ValueError: an operator is in this table, or in that of differentiation, already.
    """

    def register(rule: LoweringRule) -> LoweringRule:
        for op_type in op_types:
            if (domain, op_type) in _TABLE or lookup_name(domain, op_type) is not None:
                raise ValueError(f"{domain or 'ai.onnx'}::{op_type} already has an entry")
            _TABLE[domain, op_type] = rule
        return rule

    return register


def rewriting_of(node: ir.Node) -> LoweringRule | None:
    """How the node is written in the standard's operators; None where nothing is known."""
    return _TABLE.get(("" if node.domain == "ai.onnx" else node.domain, node.op_type))


def rewritten() -> frozenset[tuple[str, str]]:
    """The operators in the table: (domain, operator)."""
    return frozenset(_TABLE)
