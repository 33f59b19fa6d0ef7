"""Where token models are attributed: look-ups in a fixed table by values of integer inputs."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from onnx_ig.autodiff.reverse import dependents, is_float

# Their value depends on the shape of what they read alone: a position, not an input's value.
_SHAPE_ONLY = frozenset({"Shape", "Size"})


def computed(graph: ir.Graph) -> set[ir.Value]:
    """Values that depend on an input of the model; all others are weights."""
    return dependents(graph, graph.inputs, differentiably=False)


def lookups(graph: ir.Graph, inputs: Iterable[ir.Value] | None = None) -> list[ir.Node]:
    """Look-ups in a fixed float table by values of ``inputs`` (default: all integer inputs), in the graph's order."""
    by_value = [node for node in graph if node.op_type not in _SHAPE_ONLY]
    wanted = graph.inputs if inputs is None else inputs
    ids = dependents(by_value, [x for x in wanted if not is_float(x)], differentiably=False)
    moving = computed(graph)
    return [
        node for node in graph
        if node.op_type == "Gather" and node.domain == "" and node.inputs[0] not in moving
        and is_float(node.outputs[0]) and node.outputs[0].shape is not None and node.inputs[1] in ids
    ]  # fmt: skip


def where_instead(graph: ir.Graph, inputs: Iterable[ir.Value]) -> str:
    """Advice for one who asks for the gradient with respect to integer ``inputs``: the embedding's name.

    The largest table comes first: words, before positions that depend on the padding.
    """
    outputs = set(graph.outputs)
    found = [node for node in lookups(graph, inputs) if outputs & dependents(graph, node.outputs)]
    if not found:
        return (
            "only float tensors have gradients; attribute at a float tensor inside the model with at= (--at); "
            "`onnx-ig inspect` lists them"
        )
    names = [repr(node.outputs[0].name) for node in sorted(found, key=_rows, reverse=True)]
    others = f" (other look-ups: {', '.join(names[1:])})" if names[1:] else ""
    return f"only float tensors have gradients; attribute at its embedding, at={names[0]} (--at){others}"


def _rows(node: ir.Node) -> int:
    table = node.inputs[0]
    size = table.shape[0] if table is not None and table.shape else None
    return size if isinstance(size, int) else 0
