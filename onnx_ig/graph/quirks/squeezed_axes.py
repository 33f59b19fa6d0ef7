"""``x.squeeze()`` of a batch keeps the batch, also where a piece of it is one example.

The one idea: torch decided at several examples which axes have length one; ONNX's Squeeze without axes decides anew in
each run, and drops the batch when it meets a single row.

Seen in: torch 2.13, in both of its exporters. Report: none known.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


class NameSqueezedAxesPass(ir.passes.InPlacePass):
    """Name the axes of each Squeeze that has none: those known to have length one. The batch must be dynamic.

    In bodies too; a Squeeze of unknown rank stays.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        squeezing = [node for node in model.graph.all_nodes() if node.op_type == "Squeeze"]
        return ir.passes.PassResult(model, sum(_name_axes(model.graph, node) for node in squeezing) > 0)


def _name_axes(graph: ir.Graph, node: ir.Node) -> bool:
    squeezed = node.inputs[0]
    if any(axes is not None for axes in node.inputs[1:]) or squeezed is None or squeezed.shape is None:
        return False
    axes = [axis for axis, size in enumerate(squeezed.shape) if size == 1]
    if not axes:  # an empty list of them would mean all to ONNX Runtime
        node.op_type = "Identity"
        node.resize_inputs(1)
        return True
    name = f"{node.outputs[0].name}_axes"
    value = ir.Value(name=name, const_value=ir.tensor(np.array(axes, np.int64), name=name))
    graph.register_initializer(value)
    node.resize_inputs(2)
    node.replace_input_with(1, value)
    return True
