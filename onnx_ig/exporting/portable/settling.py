"""Compute what follows from known sizes, until every tensor has one size and no loop is left.

The one idea: the graph is built for any sizes; once its inputs have numbers for theirs, onnxscript's optimiser follows
these through it and computes what depends on nothing else.
"""

from __future__ import annotations

import logging

import onnx_ir as ir
import onnx_ir.passes.common as passes
import onnxscript.optimizer

from onnx_ig.errors import ModelError
from onnx_ig.exporting.portable.constants import FoldConstantsPass
from onnx_ig.exporting.portable.unrolling import UnrollScansPass
from onnx_ig.graph.builder import is_static
from onnx_ig.graph.dead_nodes import RemoveDeadNodesPass
from onnx_ig.loading.shape_facts import onnx_inference

_MOST = 1 << 10  # elements of a shape, or what shapes are computed from
_BODIES = frozenset({"If", "Loop", "Scan"})


def settle(model: ir.Model, *, weights: bool = False) -> None:
    """Fold, and write out loops, in place; ``weights``: see :class:`FoldConstantsPass`.

    Raises:
        ModelError: a loop or a branch is left, or a tensor whose size depends on the data.
    """
    graph = model.graph
    _fold(model)
    while UnrollScansPass()(model).modified:
        _fold(model)
    onnx_inference(model)
    for node in graph:
        if node.op_type in _BODIES:
            raise ModelError(
                f"the portable form has no loops and no branches, and {node.op_type} {node.name or ''!r} (→ "
                f"{node.outputs[0].name!r}) is one whose number of steps, or whose branch, only the data tell: export "
                "without --portable (portable=False), for a runtime that has them"
            )
    for value in (*graph.inputs, *(y for node in graph for y in node.outputs if y.name)):
        if not is_static(value):
            raise ModelError(
                f"the portable form has every size known, and that of {value.name!r} {value.shape} depends on the "
                "data: export without --portable (portable=False)"
            )
    FoldConstantsPass(weights=weights)(model)
    passes.RemoveUnusedNodesPass()(model)


def _fold(model: ir.Model) -> None:
    graph = model.graph
    for node in graph:
        for y in node.outputs:
            if not y.is_graph_output():
                y.shape = None  # what was inferred for any size
    logger = logging.getLogger("onnxscript.optimizer._constant_folding")  # it tells of every node that it leaves
    disabled, logger.disabled = logger.disabled, True
    try:
        onnxscript.optimizer.fold_constants(
            model, onnx_shape_inference=True, input_size_limit=_MOST, output_size_limit=_MOST
        )
    finally:
        logger.disabled = disabled
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    RemoveDeadNodesPass()(model)
    passes.RemoveUnusedNodesPass()(model)
    passes.CommonSubexpressionEliminationPass()(model)
    passes.NameFixPass()(model)
