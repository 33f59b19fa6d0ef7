"""Rewrite rules of onnxscript that look at nodes of their own operator alone, while torch's exporters apply them.

The one idea: each of some fifty rules is tried at every node, and most nodes are of another operator than the one
that the rule's pattern ends with, which is known before a match is begun.
"""

from __future__ import annotations

import warnings
from typing import Any

import onnx_ir as ir

from onnx_ig.errors import OnnxIgWarning
from onnx_ig.pytorch.quiet import in_exports


def _match_of_its_operator(rule: Any, model: Any, graph: Any, node: ir.Node, **options: Any) -> Any:
    """None, no match, for a node of another operator."""
    simple = isinstance(rule._matcher, SimplePatternMatcher)  # others may begin elsewhere
    if simple and not rule._target_pattern.output_nodes[0].op.matches(node.op_type):
        return None
    return _match(rule, model, graph, node, **options)


try:
    from onnxscript.rewriter._matcher import SimplePatternMatcher
    from onnxscript.rewriter._rewrite_rule import Pattern

    _match = in_exports(Pattern, "match", _match_of_its_operator)
except (ImportError, AttributeError) as error:  # they are not public, and another onnxscript may have them elsewhere
    warnings.warn(
        f"this version of onnxscript keeps its rewrite rules elsewhere ({error}), so exports take longer",
        OnnxIgWarning,
        stacklevel=1,
    )
