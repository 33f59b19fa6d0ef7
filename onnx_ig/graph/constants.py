"""Carry out the nodes of a model that only rearrange constants.

The one idea: exporters cut a recurrent layer's weight to pieces and put these together in another order, in nodes. Done
once, the weight is an initialiser again: a gradient can read it inside a Scan, where OpenVINO allows nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from onnx_ig.common.types import Array

_REARRANGE = frozenset({"Concat", "Reshape", "Slice", "Split", "Squeeze", "Unsqueeze"})


class FoldRearrangedConstantsPass(ir.passes.InPlacePass):
    """Replace such nodes of the main graph by initialisers; the constants that only they read go.

    Nodes that read or make one of ``kept`` stay, and those that make an output of the graph.
    """

    def __init__(self, kept: Collection[ir.Value] = ()) -> None:
        self._kept = kept

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        rearranging = [node for node in model.graph if node.domain == "" and node.op_type in _REARRANGE]
        return ir.passes.PassResult(model, sum(self._fold(model.graph, node) for node in rearranging) > 0)

    def _fold(self, graph: ir.Graph, node: ir.Node) -> bool:
        values = [x for x in node.inputs if x is not None]
        tensors = [x.const_value for x in values if x.const_value is not None]
        if len(tensors) < len(values) or any(y.is_graph_output() for y in node.outputs):
            return False
        if any(v in self._kept for v in (*values, *node.outputs)):
            return False
        if any(t.dtype.numpy().kind not in "biuf" for t in tensors):  # onnx's evaluator knows numpy's types
            return False
        for y, array in zip(list(node.outputs), evaluated(node, graph.opset_imports[""]), strict=True):
            name, y.name = y.name, None
            folded = ir.Value(name=name, type=y.type, shape=ir.Shape(array.shape), const_value=ir.tensor(array))
            if folded.type is None and folded.const_value is not None:
                folded.type = ir.TensorType(folded.const_value.dtype)
            graph.register_initializer(folded)
            ir.convenience.replace_all_uses_with(y, folded)
        graph.remove(node, safe=True)
        for x in values:
            if not x.uses() and x.is_initializer() and not x.is_graph_output():
                graph.initializers.pop(str(x.name), None)
        return True


def evaluated(node: ir.Node, opset: int, values: Mapping[ir.Value, Array] | None = None) -> list[Array]:
    """The outputs of a node of the standard's main domain whose inputs are all constants, or have their ``values``."""
    known = {x: x.const_value.numpy() for x in node.inputs if x is not None and x.const_value is not None}
    feeds = {str(x.name): array for x, array in {**known, **(values or {})}.items()}
    graph = onnx.helper.make_graph(
        [ir.to_proto(node)],
        "fold",
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in feeds],
        [onnx.helper.make_value_info(str(y.name), onnx.TypeProto()) for y in node.outputs],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, feeds)]
