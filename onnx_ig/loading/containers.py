"""Which tensors of a graph are sequences and optionals: shape inference hands on the types of their elements alone.

The one idea: an operator makes such a container, or passes on the one that it is given, by way of bodies too; that is
read off the graph.
"""

from __future__ import annotations

import onnx_ir as ir

_MAKERS = frozenset({"SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SplitToSequence"})


def restore_containers(graph: ir.Graph) -> None:
    """Give the outputs of the graph's nodes, and of those in its bodies, the container that they are, in place."""
    for node in graph:
        _enter(node)
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                restore_containers(attribute.as_graph())
        y = node.outputs[0] if node.outputs else None
        if y is None:
            continue
        if node.op_type in _MAKERS and isinstance(y.type, ir.TensorType):
            y.type = ir.SequenceType(y.type)
        elif node.op_type == "Optional" and isinstance(y.type, (ir.TensorType, ir.SequenceType)):
            y.type = ir.OptionalType(y.type)
        else:
            for y, source in _passed_on(node):
                _take(y, source)


def _enter(node: ir.Node) -> None:
    """Give a Loop's body the containers among its initial states."""
    if node.op_type == "Loop":
        for inner, initial in zip(node.attributes["body"].as_graph().inputs[2:], node.inputs[2:], strict=False):
            _take(inner, initial)


def _passed_on(node: ir.Node) -> list[tuple[ir.Value, ir.Value | None]]:
    """The outputs that are a container if another value is one, with that value."""
    if node.op_type == "Identity":
        return [(node.outputs[0], node.inputs[0])]
    if node.op_type == "Loop":
        return list(zip(node.outputs, node.inputs[2:], strict=False))
    if node.op_type == "If":
        return list(zip(node.outputs, node.attributes["then_branch"].as_graph().outputs, strict=False))
    return []


def _take(value: ir.Value, source: ir.Value | None) -> None:
    if source is not None and isinstance(source.type, (ir.SequenceType, ir.OptionalType)):
        value.type = source.type
