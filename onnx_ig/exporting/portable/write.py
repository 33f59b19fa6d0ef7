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
    return [f"{op_type} ({_some(names)}): {needs.lacks[op_type]}" for op_type, names in found.items()]


def _some(names: Sequence[str]) -> str:
    more = f", {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
