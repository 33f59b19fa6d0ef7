"""Padding in front of a maximum, written so that ONNX Runtime leaves it where it is.

The one idea: ONNX Runtime moves zeros that Pad puts in front of a MaxPool into the pooling, where they count as -∞ and
lose against negative values (seen in 1.31.1); a Pad that names its axes is left alone, in files and sessions alike.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.loading.node_edit import set_inputs


def name_axes_before_max_pool(graph: ir.Graph) -> None:
    """Name all axes in each Pad that a MaxPool reads, in place, from opset 18 on. The values do not change."""
    for node in list(ir.traversal.RecursiveGraphIterator(graph)):
        if node.domain != "" or node.op_type != "MaxPool" or node.inputs[0] is None:
            continue
        pad = node.inputs[0].producer()
        if pad is None or pad.domain != "" or pad.op_type != "Pad" or len(pad.inputs) > 3:
            continue
        assert pad.graph is not None
        rank = len(node.attributes["kernel_shape"].as_ints()) + 2
        axes = ir.node("Constant", [], {"value": ir.tensor(np.arange(rank))})
        pad.graph.insert_before(pad, axes)
        set_inputs(pad, [*pad.inputs, *[None] * (3 - len(pad.inputs)), axes.outputs[0]])
