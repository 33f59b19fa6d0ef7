"""A program of torch's dynamo exporter is traced again to take its operators apart; not where none would be.

The one idea: the second trace takes as long as the first, and gives back the program that it was given where every
operator has a translation as it stands and none writes into its arguments.
"""

from __future__ import annotations

import types
import warnings
from typing import Any

import torch

from onnx_ig.errors import OnnxIgWarning
from onnx_ig.pytorch.quiet import in_exports

# What torch leaves out of an ONNX model by itself: they compute nothing.
_CHECKS = ("_assert_async", "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range_for_size")


def _in_parts(program: Any, translations: Any) -> Any:
    """The program in operators that have translations."""
    whole = all(_stays(node, translations) for node in program.graph.nodes)
    return program if whole else _take_apart(program, translations)


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


try:
    from torch.onnx._internal.exporter import _fx_passes

    _take_apart = in_exports(_fx_passes, "decompose_with_registry", _in_parts)
except (ImportError, AttributeError) as error:  # it is not public, and another torch may have it elsewhere
    warnings.warn(
        f"this version of torch takes operators apart elsewhere ({error}), so every export traces twice",
        OnnxIgWarning,
        stacklevel=1,
    )
