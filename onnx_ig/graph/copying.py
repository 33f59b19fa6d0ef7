"""Copy part of a graph to another place with some of its values replaced: how parts of models are composed.

The one idea: what is asked for decides what is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import REFUSAL
from onnx_ig.graph.reading import all_dependents, read_by


def needed_for(wanted: Iterable[ir.Value], stops: Iterable[ir.Value], nodes: Sequence[ir.Node]) -> list[ir.Node]:
    """The nodes (of ``nodes``, in their order) that compute ``wanted`` from ``stops`` and constants."""
    open_values, stop = set(wanted), set(stops)
    kept: list[ir.Node] = []
    for node in reversed(nodes):
        if any(y in open_values and y not in stop for y in node.outputs):
            kept.append(node)
            open_values.update(read_by(node))
    return kept[::-1]


class Copy:
    """A copy of a graph's nodes in op's graph, made as far as it is asked for, with some values replaced.

    A value that does not depend on any replaced one is not copied: the copy reads the original (in an enclosing graph,
    or in the same one, further up). ``whole``: it is copied too, and shapes stay as they are, for nodes of a body whose
    values cannot be read from where the copy goes.
    """

    def __init__(
        self, op: OpBuilder, nodes: Sequence[ir.Node], replaced: Mapping[ir.Value, ir.Value], *, whole: bool = False
    ) -> None:
        self._op, self._nodes, self._whole = op, nodes, whole
        self._values: dict[ir.Value, ir.Value] = dict(replaced)

    def within(self, body: OpBuilder) -> Copy:
        """A copy in a body of this graph that reads what is copied here already."""
        return Copy(body, self._nodes, self._values, whole=self._whole)

    def replace(self, value: ir.Value, by: ir.Value) -> None:
        """Let whatever is copied from now on read ``by`` instead of ``value``."""
        self._values[value] = by

    def of(self, wanted: Sequence[ir.Value]) -> list[ir.Value]:
        """The copies of ``wanted``, with every node they need appended that is not there yet."""
        changed = all_dependents(self._nodes, self._values)
        for node in needed_for(wanted, self._values, self._nodes):
            if not self._whole and not any(x in changed for x in read_by(node)):
                continue
            copy = _copy_node(self._op, node, self._values, _all if self._whole else _nothing)
            self._op.graph.append(copy)
            for old, new in zip(node.outputs, copy.outputs, strict=True):
                self._values.setdefault(old, new)
        return [self._values.get(value, value) for value in wanted]


# What a copy keeps of the shapes: it sees another batch size, and the runtime infers the rest again.
_Kept = Callable[[ir.Value], ir.Shape | None]


def _all(value: ir.Value) -> ir.Shape | None:
    return None if value.shape is None else value.shape.copy()


def _nothing(value: ir.Value) -> ir.Shape | None:
    return None


def _axes(value: ir.Value) -> ir.Shape | None:
    """The number of axes, which runtimes want to know of what Loop and Scan hand to their bodies and back."""
    return None if value.shape is None else ir.Shape([None] * len(value.shape))


def _copy_node(op: OpBuilder, node: ir.Node, values: Mapping[ir.Value, ir.Value], kept: _Kept) -> ir.Node:
    outputs = [_copy_value(op, y, kept) for y in node.outputs]
    within = _axes if kept is _nothing else kept
    attributes = [_copy_attribute(op, a, values, within) for a in node.attributes.values()]
    inputs = [None if x is None else values.get(x, x) for x in node.inputs]
    copy = ir.Node(node.domain, node.op_type, inputs, attributes, outputs=outputs, version=node.version)
    if REFUSAL in node.meta:
        copy.meta[REFUSAL] = node.meta[REFUSAL]
    return copy


def _copy_value(op: OpBuilder, value: ir.Value, kept: _Kept) -> ir.Value:
    return ir.Value(name=op.fresh(value.name) if value.name else "", type=value.type, shape=kept(value))


def _copy_attribute(op: OpBuilder, attribute: ir.Attr, values: Mapping[ir.Value, ir.Value], kept: _Kept) -> ir.Attr:
    if attribute.type != ir.AttributeType.GRAPH:
        return attribute
    graph = attribute.as_graph()
    inner = dict(values)
    inputs = [_copy_value(op, x, kept) for x in graph.inputs]
    inner.update(zip(graph.inputs, inputs, strict=True))
    nodes = []
    for node in graph:
        nodes.append(copy := _copy_node(op, node, inner, kept))
        inner.update(zip(node.outputs, copy.outputs, strict=True))
    outputs = [inner.get(y, y) for y in graph.outputs]
    body = ir.Graph(inputs, outputs, nodes=nodes, opset_imports=dict(graph.opset_imports), name=graph.name)
    return ir.Attr(attribute.name, ir.AttributeType.GRAPH, body)
