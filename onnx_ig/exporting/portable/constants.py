"""Compute what depends on no input: F at a baked baseline is a number, and no runtime is asked for it.

The one idea: a runtime that reads the standard computes these once, in one run, whatever operators they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError
from onnx_ig.graph.builder import static_shape
from onnx_ig.graph.dead_nodes import RemoveDeadNodesPass

_LARGE = 1 << 14  # elements of a rearranged weight, which stays a node: it would be stored twice
_REARRANGE = frozenset(
    ("Cast", "Concat", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
)


class FoldConstantsPass(ir.passes.InPlacePass):
    """Of the main graph, whose shapes are known.

    ``weights``: also large weights in another order, which are then stored twice; else these stay nodes.
    """

    def __init__(self, *, weights: bool = False) -> None:
        super().__init__()
        self._weights = weights

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        graph = model.graph
        constant: set[ir.Value | None] = {None, *graph.initializers.values()}
        rearranged: set[ir.Value | None] = set(constant)
        for node in graph:
            if set(node.inputs) <= constant and not _has_body(node):
                constant.update(node.outputs)
                if node.op_type in _REARRANGE and set(node.inputs) <= rearranged:
                    rearranged.update(node.outputs)
        wanted = [y for node in graph for y in node.outputs if y in constant and _is_read(y, constant)]
        wanted = [y for y in wanted if self._weights or y not in rearranged or _size(y) <= _LARGE]
        for old, array in zip(wanted, _evaluated(model, wanted), strict=True):
            name, old.name = str(old.name), None
            new = ir.Value(
                name=name, type=old.type, shape=ir.Shape(array.shape), const_value=ir.tensor(array, name=name)
            )
            new.doc_string = old.doc_string
            graph.register_initializer(new)
            ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        RemoveDeadNodesPass()(model)
        return ir.passes.PassResult(model, bool(wanted))


def _has_body(node: ir.Node) -> bool:
    return any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values())


def _is_read(value: ir.Value, constant: set[ir.Value | None]) -> bool:
    """Whether what is not constant reads it."""
    return value.is_graph_output() or any(y not in constant for use in value.uses() for y in use.node.outputs)


def _size(value: ir.Value) -> int:
    size = 1
    for d in static_shape(value):
        size *= d
    return size


def _evaluated(model: ir.Model, wanted: Sequence[ir.Value]) -> list[Array]:
    """Their values, by ONNX Runtime, or where it is not installed by onnx's reference evaluator."""
    if not wanted:
        return []
    part = model.clone()
    graph = part.graph
    by_name = {y.name: y for node in graph for y in node.outputs}
    graph.inputs.clear()
    graph.outputs.clear()
    graph.outputs.extend(by_name[y.name] for y in wanted)
    RemoveDeadNodesPass()(part)
    names = [str(y.name) for y in wanted]
    try:
        from onnx_ig.runtime.session import Session

        found = Session(part, "cpu").run({}, names)
        return [found[name] for name in names]
    except MissingDependencyError:
        from onnx.reference import ReferenceEvaluator

        return list(ReferenceEvaluator(ir.to_proto(part)).run(names, {}))
