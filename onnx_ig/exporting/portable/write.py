"""An attribution model made portable, and held against what its runtime is known to lack."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnx_ig.errors import ModelError
from onnx_ig.exporting.portable.runtimes import Needs
from onnx_ig.exporting.portable.settling import settle
from onnx_ig.exporting.portable.spelling import SpellPass


def make_portable(model: ir.Model, needs: Needs) -> None:
    """In place: sizes computed, loops written out, operators spelt as the runtime reads them.

    Raises:
        ModelError: a loop or a size that only the data tell, or an operator that the runtime lacks.
    """
    settle(model, weights=needs.weights_in_order)
    for name in needs.spelling:
        SpellPass(name)(model)
    for node, reason in lacking(model, needs).items():
        raise ModelError(
            f"{needs.title} ({needs.versions}) cannot run the attribution model: {node.op_type} {node.name or ''!r} (→ "
            f"{node.outputs[0].name!r}): {reason}. Choose another runtime, or a model without this operator"
        )


def lacking(model: ir.Model, needs: Needs) -> Mapping[ir.Node, str]:
    """The nodes that the runtime is known to lack, or to compute wrong, with what happens."""
    nodes = ir.traversal.RecursiveGraphIterator(model.graph)
    return {node: needs.lacks[node.op_type] for node in nodes if node.op_type in needs.lacks}
