"""What reads what in a graph: the values that a node's outputs depend on, and those that depend on given ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_ir as ir

# Key of a value's ``meta``: the float expression whose derivative is taken for the value's (straight-through).
SURROGATE = "onnx_ig.surrogate"

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})


def is_float(value: ir.Value) -> bool:
    """Whether a derivative with respect to ``value`` makes sense; an unknown type is given the benefit of the doubt."""
    return value.dtype is None or value.dtype in FLOATS


def surrogates_of(node: ir.Node) -> dict[ir.Value, ir.Value]:
    """The node's outputs whose derivative is that of another expression, with that expression."""
    return {y: y.meta[SURROGATE] for y in node.outputs if SURROGATE in y.meta}


def values_of(graph: ir.Graph) -> Iterator[ir.Value]:
    """Every value that the graph or a body inside it has: inputs and outputs of graphs, outputs of nodes."""
    yield from (*graph.inputs, *(y for node in graph for y in node.outputs), *graph.outputs)
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from values_of(attribute.as_graph())
            elif attribute.type == ir.AttributeType.GRAPHS:
                for body in attribute.as_graphs():
                    yield from values_of(body)


def read_by(node: ir.Node) -> list[ir.Value]:
    """Every value the node's outputs depend on: its inputs, what its subgraphs capture from outside, surrogates."""
    values = [*(x for x in node.inputs if x is not None), *surrogates_of(node).values()]
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            values += captured_by(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            values += [v for graph in attribute.as_graphs() for v in captured_by(graph)]
    return values


def captured_by(graph: ir.Graph) -> list[ir.Value]:
    """Values that ``graph`` (a subgraph) reads from the graphs around it."""
    own = {*graph.inputs, *graph.initializers.values()}
    captured: dict[ir.Value, None] = {}
    for node in graph:
        captured.update({v: None for v in read_by(node) if v not in own})
        own.update(node.outputs)
    captured.update({v: None for v in graph.outputs if v not in own})
    return list(captured)


def all_dependents(nodes: Iterable[ir.Node], roots: Iterable[ir.Value]) -> set[ir.Value]:
    """The values among the nodes' outputs (and the roots) that are computed from ``roots``, differentiably or not."""
    reached = set(roots)
    for node in nodes:
        if any(x in reached for x in read_by(node)):
            reached.update(node.outputs)
    return reached
