"""Take tensors for independent of what computes them, while a graph is differentiated and tidied.

The one idea: no rule and no pass looks behind an input of the graph. The tensors become inputs, and stay the same
values to all that reads them; what their nodes compute becomes further outputs, so that it is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder

_COMPUTED = "onnx_ig.computed"  # key of a tensor's meta: the name of what its node computes meanwhile


def cut_off(op: OpBuilder, tensors: Collection[ir.Value]) -> list[ir.Value]:
    """Make inputs of op's graph of those ``tensors`` that its nodes compute; returns them."""
    graph, cut = op.graph, list[ir.Value]()
    for node in list(graph):
        outputs = list(node.outputs)
        inner = [y for y in outputs if y in tensors]
        if not inner:
            continue
        uses = [(reader, index, y) for y in outputs for reader, index in y.uses()]
        for reader, index, _ in uses:
            reader.replace_input_with(index, None)
        node.resize_outputs(0)  # lets go of them
        computed = {y: ir.Value(name=op.fresh(f"{y.name}_as_computed"), type=y.type) for y in inner}
        for y, value in computed.items():
            value.shape = None if y.shape is None else y.shape.copy()
            y.meta[_COMPUTED] = value.name
        made = [computed.get(y, y) for y in outputs]
        twin = ir.Node(node.domain, node.op_type, node.inputs, node.attributes, outputs=made, name=node.name)
        twin.meta.update(node.meta)
        graph.insert_before(node, twin)
        graph.remove(node, safe=True)
        for i, y in enumerate(graph.outputs):  # the model's own
            graph.outputs[i] = computed.get(y, y)
        for reader, index, y in uses:
            reader.replace_input_with(index, y)
        graph.outputs.extend(computed.values())
        cut += inner
    graph.inputs.extend(cut)
    return cut


def join_again(graph: ir.Graph, cut: Iterable[ir.Value], own_outputs: int) -> None:
    """Undo :func:`cut_off`, of a model of so many outputs of its own.

    By name, because passes may have put another value in an output's place.
    """
    for tensor in cut:
        places = [i for i, y in enumerate(graph.outputs) if y.name == tensor.meta[_COMPUTED]]
        computed = graph.outputs[places[0]]
        for i in reversed(places):
            if i >= own_outputs:
                del graph.outputs[i]
        computed.name, tensor.name = tensor.name, None
        ir.convenience.replace_all_uses_with(tensor, computed, replace_graph_outputs=True)
        graph.inputs.remove(tensor)
