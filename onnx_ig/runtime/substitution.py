"""Put nodes in the place of another, and remove what nothing reads any more."""

from __future__ import annotations

import onnx_ir as ir


def replace(node: ir.Node, *made: ir.Node) -> None:
    """Put ``made`` where ``node`` stood: the only output of the last takes its output's name, type, shape and place."""
    old, new = node.outputs[0], made[-1].outputs[0]
    name, old.name = old.name, None
    new.name, new.type, new.shape = name, old.type, old.shape
    assert node.graph is not None
    node.graph.insert_before(node, made)
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    node.graph.remove(node, safe=True)


def remove_unread(node: ir.Node | None) -> None:
    """Remove ``node``, and the nodes that only it has read from."""
    if node is None or node.graph is None or any(y.uses() or y.is_graph_output() for y in node.outputs):
        return
    before = [x.producer() for x in node.inputs if x is not None]
    node.graph.remove(node, safe=True)
    for producer in before:
        remove_unread(producer)
