"""A program of torch's dynamo exporter is traced again to take its operators apart; not where none would be.

The one idea: the second trace takes as long as the first, and gives back the program that it was given where every
operator has a translation as it stands and none writes into its arguments. The two that nearly every convolutional
network has are exchanged for what the trace would make of them.
"""

from __future__ import annotations

import operator
import types
import warnings
from collections.abc import Callable
from typing import Any

import torch

from onnx_ig.errors import OnnxIgWarning
from onnx_ig.pytorch.quiet import in_exports

# What torch leaves out of an ONNX model by itself: they compute nothing.
_CHECKS = ("_assert_async", "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range_for_size")


def _in_parts(program: Any, translations: Any) -> Any:
    """The program in operators that have translations."""
    moved = [node for node in program.graph.nodes if not _stays(node, translations)]
    if not all(_exchangeable(node) for node in moved):
        return _take_apart(program, translations)
    for node in moved:
        _EXCHANGED[node.target](program.graph, node)
    return program


def _exchangeable(node: torch.fx.Node) -> bool:
    """Whether :data:`_EXCHANGED` holds this very form of the operator, and no output of the program has its name."""
    if node.op != "call_function" or node.kwargs or any(user.op == "output" for user in node.users):
        return False
    if node.target is _ATEN.batch_norm.default:
        return not node.args[5] and None not in node.args[3:5]  # not by the batch's own statistics
    return node.target is _ATEN.adaptive_avg_pool2d.default and list(node.args[1]) == [1, 1]


def _exchange_batch_norm(graph: torch.fx.Graph, node: torch.fx.Node) -> None:
    with graph.inserting_before(node):
        several = graph.call_function(
            _ATEN._native_batch_norm_legit_no_training.default, (*node.args[:5], *node.args[6:8])
        )
        several.meta = {**node.meta, "val": (node.meta["val"], *[node.meta["val"].new_empty(0)] * 2)}
        _exchange(graph, node, operator.getitem, (several, 0))


def _exchange_global_pool(graph: torch.fx.Graph, node: torch.fx.Node) -> None:
    with graph.inserting_before(node):
        _exchange(graph, node, _ATEN.mean.dim, (node.args[0], [-1, -2], True))


def _exchange(graph: torch.fx.Graph, node: torch.fx.Node, target: Any, args: tuple[Any, ...]) -> None:
    """Put the call of ``target`` where ``node`` is."""
    new = graph.call_function(target, args)
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    graph.erase_node(node)


def _stays(node: torch.fx.Node, translations: Any) -> bool:
    """Whether a second trace would find nothing to do at ``node``."""
    if node.op != "call_function":
        return node.op in ("placeholder", "output")
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):  # arithmetic on sizes; not functions that call graphs
        return isinstance(target, types.BuiltinFunctionType) or getattr(target, "__module__", "") == "torch"
    if target.overloadpacket.__name__ in _CHECKS:
        return True
    return not target._schema.is_mutable and bool(translations.is_registered(target))


_ATEN = torch.ops.aten
_EXCHANGED: dict[Any, Callable[[torch.fx.Graph, torch.fx.Node], None]] = {
    _ATEN.batch_norm.default: _exchange_batch_norm,
    _ATEN.adaptive_avg_pool2d.default: _exchange_global_pool,
}

try:
    from torch.onnx._internal.exporter import _fx_passes

    _take_apart = in_exports(_fx_passes, "decompose_with_registry", _in_parts)
except (ImportError, AttributeError) as error:  # it is not public, and another torch may have it elsewhere
    warnings.warn(
        f"this version of torch takes operators apart elsewhere ({error}), so every export traces twice",
        OnnxIgWarning,
        stacklevel=1,
    )
