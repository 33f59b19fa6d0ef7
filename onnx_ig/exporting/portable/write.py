"""An attribution model made portable, and held against what its runtime is known to lack."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnx_ig.errors import ModelError
from onnx_ig.exporting.portable.runtimes import Needs
from onnx_ig.exporting.portable.settling import settle
from onnx_ig.exporting.portable.spelling import SpellPass
from onnx_ig.graph.builder import is_static, static_shape
from onnx_ig.graph.node import attr_int, attr_ints

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
    if needs.vectors_of_three_wrong:
        threes = [node.name or f"→ {node.outputs[0].name}" for node in model.graph.all_nodes() if _reads_threes(node)]
        wrong = "it computes wrong with 6, 9, 15, ... channels in and 4, 8, 12, ... out"
        reasons += [f"Conv ({_some(threes)}): {wrong}"] if threes else []
    constants = [str(y.name) for y in model.graph.outputs if _is_constant_alone(y)] if needs.no_constant_outputs else []
    return reasons + [f"it does not find outputs that are constant ({', '.join(constants)})" for _ in constants[:1]]


def _reads_threes(node: ir.Node) -> bool:
    """Whether a convolution is computed on vectors of three channels, of which there are several."""
    weight = node.inputs[1] if node.op_type == "Conv" else None
    if weight is None or not is_static(weight) or attr_int(node, "group", 1) != 1:
        return False
    channels_out, channels_in, *kernel = static_shape(weight)
    in_threes = channels_in > 3 and channels_in % 3 == 0 and channels_in % 4 != 0
    point_by_point = max(kernel) == 1 and max(attr_ints(node, "strides") or [1]) == 1
    return in_threes and channels_out % 4 == 0 and not point_by_point


def _is_constant_alone(output: ir.Value) -> bool:
    """Whether an output is a constant, or in a file a copy of one, that nothing else reads."""
    node = output.producer()
    is_copy = node is not None and node.op_type == "Identity"
    value = node.inputs[0] if node is not None and is_copy else output
    return value is not None and value.is_initializer() and len(value.uses()) <= is_copy


def _some(names: Sequence[str]) -> str:
    more = f", {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
