"""Remove nodes that no output depends on, those with bodies too.

The one idea: what is read decides, walking back from the outputs. A body that was taken out of the graph with its node
still counts as a reader in the library's own lists of uses.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.graph.reading import read_by


class RemoveDeadNodesPass(ir.passes.InPlacePass):
    """Remove every node of the main graph that its outputs do not depend on, and let go of what those read."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        graph, before = model.graph, len(model.graph)
        needed = set(graph.outputs)
        for node in reversed(graph):
            if any(y in needed for y in node.outputs):
                needed.update(read_by(node))
            else:
                _let_go(node)
                graph.remove(node)
        return ir.passes.PassResult(model, len(graph) < before)


def _let_go(node: ir.Node) -> None:
    """Take the node, and all nodes of its bodies, off the readers of their inputs."""
    for i in range(len(node.inputs)):
        node.replace_input_with(i, None)
    for attribute in node.attributes.values():
        bodies = list[ir.Graph]()
        if attribute.type == ir.AttributeType.GRAPH:
            bodies = [attribute.as_graph()]
        elif attribute.type == ir.AttributeType.GRAPHS:
            bodies = list(attribute.as_graphs())
        for body in bodies:
            for inner in body:
                _let_go(inner)
