"""Rewrite operators outside the standard's default domain into standard ones, so that any runtime can run the result.

ONNX Runtime's optimiser leaves fused operators of its own (com.microsoft) in deployed files, and converters of
classical models those of ai.onnx.ml. The one idea: what has a standard form is rewritten when a model is loaded, on a
path or not. What cannot be rewritten stays, and is refused by name if it lies on a path.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from onnx_ig.autodiff.lowering import rewrite
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.loading.foreign.table import rewriting_of


def to_standard_operators(model: ir.Model) -> bool:
    """Rewrite, in place, every node outside the standard that has a form in it; whether anything was rewritten.

    Types and shapes of the values between are inferred on the way; those behind are left to the caller.
    """
    if all(_is_standard(node, model.graph) for node in ir.traversal.RecursiveGraphIterator(model.graph)):
        return False
    changed = _rewrite(OpBuilder(model.graph))
    if changed:  # ONNX Runtime does not prune what nothing reads
        passes.RemoveUnusedNodesPass()(model)
    return changed


def _rewrite(op: OpBuilder) -> bool:
    changed = False
    for node in list(op.graph):
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                changed |= _rewrite(OpBuilder(attribute.as_graph(), parent=op))
        if _is_standard(node, op.graph):
            if any(y.shape is None or y.dtype is None for y in node.outputs):
                op.infer(node)
            continue
        rule = rewriting_of(node)
        if rule is not None:
            changed |= rewrite(op, node, rule) is not None
    return changed


def _is_standard(node: ir.Node, graph: ir.Graph) -> bool:
    """Whether the default domain has the operator (ONNX Runtime puts some of its own there)."""
    return node.domain in ("", "ai.onnx") and onnx.defs.has(node.op_type, graph.opset_imports.get("", 0) or 18, "")
