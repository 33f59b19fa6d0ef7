"""Padding in front of a pooling, written so that ONNX Runtime leaves it where it is.

The one idea: ONNX Runtime moves zeros that Pad puts in front of a pooling into it. In a MaxPool they
count as -∞ and lose against negative values; where they make the padding as wide as the window, the model does not
open. A Pad that names its axes is left alone, in files and sessions alike.

Seen in: ONNX Runtime 1.31.1, on the CPU. Report: none known of ONNX Runtime (the fusion came with
microsoft/onnxruntime#18136); the same fault in onnx's optimizer is onnxsim/onnxsim#290.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.node_edit import set_inputs


class NameAxesBeforePoolingPass(ir.passes.InPlacePass):
    """Name all axes in each Pad that a pooling reads, from opset 18 on, in bodies too; a Pad that names some stays."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
        return ir.passes.PassResult(model, sum(_name_axes(model.graph, node) for node in nodes) > 0)


def _name_axes(graph: ir.Graph, pooling: ir.Node) -> bool:
    if pooling.domain != "" or pooling.op_type not in ("AveragePool", "MaxPool") or pooling.inputs[0] is None:
        return False
    pad = pooling.inputs[0].producer()
    if pad is None or pad.domain != "" or pad.op_type != "Pad" or len(pad.inputs) > 3:
        return False
    rank = len(pooling.attributes["kernel_shape"].as_ints()) + 2
    name = f"onnx_ig.axes_{rank}"  # no name of the model's own can be in the way
    if name not in graph.initializers:
        graph.register_initializer(ir.Value(name=name, const_value=ir.tensor(np.arange(rank))))
    set_inputs(pad, [*pad.inputs, *[None] * (3 - len(pad.inputs)), graph.initializers[name]])
    return True
