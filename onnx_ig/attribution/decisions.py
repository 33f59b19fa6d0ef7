"""Does the data decide what a model runs: which branch of an If, how many steps of a Loop?

The one idea: such a decision is made once for a whole batch. Examples and path points that ride together would share
it, so a model that has one is evaluated one example at one path point at a time. Decisions by shapes, by the number of
the step or by an input that all examples share are the same for all, and cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

_SHAPES = frozenset(("Shape", "Size"))


def decided_by_data(nodes: Iterable[ir.Node], data: Iterable[ir.Value]) -> list[ir.Node]:
    """Those If and Loop nodes, in bodies too, whose decision depends on the values of ``data``, not on shapes alone.

    Args:
        nodes: of one graph, in topological order.
    """
    found: dict[ir.Node, None] = {}
    _follow(nodes, set(data), found)
    return list(found)


def _follow(nodes: Iterable[ir.Node], moving: set[ir.Value], found: dict[ir.Node, None]) -> None:
    """Add to ``moving`` what depends on it, and to ``found`` the nodes that it decides."""
    for node in nodes:
        if node.op_type in _SHAPES:
            continue
        moves = any(x in moving for x in node.inputs)
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                moves |= _follow_body(node, attribute.as_graph(), moving, found)
        if moves:
            moving.update(node.outputs)


def _follow_body(node: ir.Node, body: ir.Graph, moving: set[ir.Value], found: dict[ir.Node, None]) -> bool:
    """The same inside a body; whether anything that it gives back moves."""
    before, after = (2, 1) if node.op_type == "Loop" else (0, 0)  # what it takes and gives besides states and slices
    moving.update(x for x, outer in zip(body.inputs[before:], node.inputs[before:], strict=False) if outer in moving)
    known = -1
    while known != len(moving):  # a state carries what it became to the next step
        known = len(moving)
        _follow(body, moving, found)
        if node.op_type in ("Loop", "Scan"):
            states = zip(body.inputs[before:], body.outputs[after:], strict=False)
            moving.update(state for state, y in states if y in moving)
    decisions = {"If": node.inputs[:1], "Loop": [*node.inputs[:2], body.outputs[0]]}.get(node.op_type, [])
    if any(x in moving for x in decisions):
        found[node] = None
    return any(y in moving for y in body.outputs)
