"""torch's promotion of types in a traced graph, without evaluating each of its nodes again.

The one idea: the trace has left with every node what it gives, in shape and type; promotion changes that of the nodes
whose arguments it casts, and tells it itself. torch computes it anew for all, on symbolic sizes, which takes as long as
half a trace.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

from onnx_ig.errors import OnnxIgWarning
from onnx_ig.pytorch.quiet import in_exports


def _run_node(interpreter: Any, node: torch.fx.Node) -> Any:
    """What ``node`` gives, once its arguments are promoted."""
    if node.op != "call_function" or "val" not in node.meta:
        return _evaluated(interpreter, node)
    if rule := type_promotion.get_type_promotion_rule(node, interpreter.type_promotion_table):
        with interpreter._set_current_node(node):
            interpreter._maybe_promote_node(node, rule)
    return node.meta["val"]


try:
    from torch.onnx._internal.fx.passes import type_promotion

    _evaluated = in_exports(type_promotion._TypePromotionInterpreter, "run_node", _run_node)
except (ImportError, AttributeError) as error:  # it is not public, and another torch may have it elsewhere
    warnings.warn(
        f"this version of torch promotes types elsewhere ({error}), so exports take longer", OnnxIgWarning, stacklevel=1
    )
