"""Which rule differentiates which operator: one table, filled by decorators, where a second entry is an error.

Five kinds of entry: a VJP rule (:func:`vjp`), an operator whose derivative is zero everywhere it exists
(:func:`zero_vjp`), a rewriting into operators that have rules (:func:`lowering`), a float expression that lends an
operator on integers its derivative (:func:`straight_through`), and a refusal with its reason (:func:`refused`).
Operators that have none of these but a function body in the ONNX standard are expanded with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import refuse


@dataclass(frozen=True)
class Missing:
    """A cotangent that exists mathematically and is not written; an error only if that input is on the path."""

    reason: str
    advice: str = "Attribute at a tensor after this node (--at), or choose another output"


# A cotangent, None (derivative zero), Missing, or a callable that builds the cotangent only if it is needed.
Cotangent = ir.Value | Missing | Callable[[], "ir.Value | Missing | None"] | None
Cotangents = Cotangent | Sequence[Cotangent] | Mapping[ir.Value, Cotangent]
VjpRule = Callable[..., Cotangents]
LoweringRule = Callable[[OpBuilder, ir.Node], Sequence[ir.Value | None]]
StraightThroughRule = Callable[[OpBuilder, ir.Node, Callable[..., ir.Value]], Sequence["ir.Value | None"]]
PreparationRule = Callable[[OpBuilder, ir.Node], Sequence[ir.Value | None] | None]


@dataclass(frozen=True)
class Entry:
    """What the table holds for an operator: ``kind`` is ``rule``, ``zero``, ``lowering``, ``straight-through`` or
    ``refused``.
    """

    kind: str
    function: Callable[..., Any] | None = None
    broadcasts: bool = False
    selective: bool = False
    reason: str = ""


# Key of a node's ``meta``: the entry that is its alone.
_OWN = "onnx_ig.rule"
_TABLE: dict[tuple[str, str], Entry] = {}
_PREPARATIONS: dict[str, PreparationRule] = {}


def _register(op_types: Sequence[str], domain: str, entry: Entry) -> None:
    for op_type in op_types:
        if (domain, op_type) in _TABLE:
            raise ValueError(f"{domain or 'ai.onnx'}::{op_type} already has a {_TABLE[domain, op_type].kind}")
        _TABLE[domain, op_type] = entry


def vjp(
    *op_types: str, domain: str = "", broadcasts: bool = False, selective: bool = False
) -> Callable[[VjpRule], VjpRule]:
    """Register ``rule(op, node, *output_cotangents) -> one cotangent per input`` for the operators.

    An output that nothing reads arrives as None. ``broadcasts=True``: the driver sums each cotangent over the axes
    along which its input was broadcast. ``selective=True`` (control flow, where all cotangents come out of one node):
    the rule is also given ``wanted``, the values it reads that lie on the path, and returns a mapping from them.
    """

    def register(rule: VjpRule) -> VjpRule:
        _register(op_types, domain, Entry("rule", rule, broadcasts, selective))
        return rule

    return register


def zero_vjp(*op_types: str, reason: str, domain: str = "") -> None:
    """Declare that the operators' derivative is zero wherever it exists (``reason`` says why)."""
    _register(op_types, domain, Entry("zero", reason=reason))


def refused(*op_types: str, reason: str, advice: str, domain: str = "") -> None:
    """Declare that a gradient through the operators is refused: an error with this reason if they lie on a path."""

    def rule(_op: OpBuilder, node: ir.Node, *_dys: ir.Value | None) -> Cotangents:
        raise refuse(node, reason, advice)

    _register(op_types, domain, Entry("refused", rule, reason=reason))


def lowering(*op_types: str) -> Callable[[LoweringRule], LoweringRule]:
    """Register ``rule(op, node) -> one value per output``, the node written in operators that have rules."""

    def register(rule: LoweringRule) -> LoweringRule:
        _register(op_types, "", Entry("lowering", rule))
        return rule

    return register


def straight_through(*op_types: str) -> Callable[[StraightThroughRule], StraightThroughRule]:
    """Register ``rule(op, node, real) -> one float expression per output``, whose derivative is taken for the node's.

    The node stays and gives the value. ``real(x)`` is the tensor x as float numbers; None: that output is held
    constant.
    See :mod:`onnx_ig.autodiff.straight_through`.
    """

    def register(rule: StraightThroughRule) -> StraightThroughRule:
        _register(op_types, "", Entry("straight-through", rule))
        return rule

    return register


def preparation(*op_types: str) -> Callable[[PreparationRule], PreparationRule]:
    """Register ``rule(op, node) -> one value per output, or None``: rewrites the forms of a node that its VJP rule
    does not take.

    None: the node is as the rule needs it. The operators have a VJP rule besides.
    """

    def register(rule: PreparationRule) -> PreparationRule:
        for op_type in op_types:
            if op_type in _PREPARATIONS:
                raise ValueError(f"{op_type} already has a preparation")
            _PREPARATIONS[op_type] = rule
        return rule

    return register


def prepare(op: OpBuilder, node: ir.Node) -> Sequence[ir.Value | None] | None:
    """What the node's preparation makes of it: one value per output, None where there is nothing to do."""
    if _OWN in node.meta or node.domain not in ("", "ai.onnx"):
        return None
    rule = _PREPARATIONS.get(node.op_type)
    return None if rule is None else rule(op, node)


def with_rule(node: ir.Node, rule: VjpRule) -> None:
    """Let this one node be differentiated by ``rule``, whatever the table says of its operator.

    For a lowering that knows more of the node it makes than the operator's own rule could.
    """
    node.meta[_OWN] = Entry("rule", rule)


def lookup(node: ir.Node) -> Entry | None:
    """The node's own entry, else the table's for its operator."""
    own: Entry | None = node.meta.get(_OWN)
    return own or lookup_name(node.domain, node.op_type)


def lookup_name(domain: str, op_type: str) -> Entry | None:
    """The table's entry for an operator by name."""
    return _TABLE.get(("" if domain == "ai.onnx" else domain, op_type))


def registered() -> dict[tuple[str, str], Entry]:
    """A copy of the table: (domain, operator) → entry."""
    return dict(_TABLE)
