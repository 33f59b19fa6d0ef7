"""Remove Identity nodes.

The one idea: onnx_ir's pass would rename an output that is also the input of another Identity; here such a one stays.
"""

from __future__ import annotations

import onnx_ir as ir


class RemoveIdentitiesPass(ir.passes.InPlacePass):
    """Remove the main graph's Identity nodes, but those that give a tensor a further name among the inputs and outputs.

    Those in bodies stay.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        return ir.passes.PassResult(model, sum(_remove(model.graph, node) for node in model.graph) > 0)


def _remove(graph: ir.Graph, node: ir.Node) -> bool:
    x = node.inputs[0] if node.op_type == "Identity" and node.domain == "" else None
    if x is None:
        return False
    y = node.outputs[0]
    if y.is_graph_output():
        if x.is_graph_output() or x.is_graph_input() or x.is_initializer() or x.producer() not in graph:
            return False
        x.name, y.name = y.name, None
        x.shape, x.type, x.doc_string = y.shape or x.shape, y.type or x.type, y.doc_string or x.doc_string
    ir.convenience.replace_all_uses_with(y, x, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    return True
