"""An attribution model made portable, and held against what its runtime is known to lack."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnx_ig.errors import ModelError
from onnx_ig.exporting.portable.runtimes import Needs
from onnx_ig.exporting.portable.settling import settle
from onnx_ig.exporting.portable.spelling import SpellPass

_NAMED = 3  # nodes of an operator that a message names


def make_portable(model: ir.Model, needs: Needs) -> None:
    """In place: sizes computed, loops written out, operators spelt as the runtime reads them.

    Raises:
        ModelError: a loop or a size that only the data tell, or an operator that the runtime lacks.
    """
    settle(model, weights=needs.weights_in_order)
    for name in needs.spelling:
        SpellPass(name)(model)
    RemoveUnusedNodesPass()(model)  # constants that were respelt
    reasons = lacking(model, needs)
    if reasons:
        raise ModelError(
            f"{needs.title} ({needs.versions}) cannot run the attribution model: {'; '.join(reasons)}. Choose another "
            "runtime, or a model without these operators"
        )


def lacking(model: ir.Model, needs: Needs) -> list[str]:
    """What the runtime is known to lack of the model's operators: each with its nodes and what happens."""
    found: dict[str, list[str]] = {}
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain == "" and node.op_type in needs.lacks:
            found.setdefault(node.op_type, []).append(node.name or f"→ {node.outputs[0].name}")
    reasons = [f"{op_type} ({_some(names)}): {needs.lacks[op_type]}" for op_type, names in found.items()]
    constants = [str(y.name) for y in model.graph.outputs if _is_constant_alone(y)] if needs.no_constant_outputs else []
    return reasons + [f"it does not find outputs that are constant ({', '.join(constants)})" for _ in constants[:1]]


def _is_constant_alone(output: ir.Value) -> bool:
    """Whether an output is a constant, or in a file a copy of one, that nothing else reads."""
    node = output.producer()
    is_copy = node is not None and node.op_type == "Identity"
    value = node.inputs[0] if node is not None and is_copy else output
    return value is not None and value.is_initializer() and len(value.uses()) <= is_copy


def _some(names: Sequence[str]) -> str:
    more = f", {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
