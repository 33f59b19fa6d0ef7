"""Tensors that take turns along the last axis by selection instead of Concat, in OpenVINO.

Gradients of pooling take turns between tensors along an axis, by Concat along a new axis of one element each. Along the
last axis OpenVINO copies element by element; a selection between the two is four times as fast there, and in ONNX
Runtime thirty times as slow.

Replaced for two to four float32 tensors of length one along the last axis; any other Concat stays.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from onnx_ig.runtime.in_place import inferred_shapes
from onnx_ig.runtime.substitution import replace

_SELECTIONS = 4  # tensors that take turns: a selection passes over all of the result for each but one


class InterleaveBySelectionPass(ir.passes.InPlacePass):
    """Replace Concat by Where wherever it joins tensors of one element along the last axis."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        joins = [node for node in model.graph if node.op_type == "Concat" and 1 < len(node.inputs) <= _SELECTIONS]
        shapes = inferred_shapes(model) if joins else {}
        return ir.passes.PassResult(model, sum(_select(model.graph, node, shapes) for node in joins) > 0)


def _select(graph: ir.Graph, node: ir.Node, shapes: Mapping[str, ir.Shape]) -> bool:
    parts = [x for x in node.inputs if x is not None]
    axis = node.attributes["axis"].as_int()
    if not all(x.dtype == ir.DataType.FLOAT and _last_of_one(shapes.get(str(x.name)), axis) for x in parts):
        return False
    *earlier, last = parts
    chosen, selections = last, []
    for i in reversed(range(len(earlier))):
        turn = ir.Value(name=f"{node.outputs[0].name}_turn_{i}", const_value=ir.tensor(np.arange(len(parts)) == i))
        graph.register_initializer(turn)
        selection = ir.node("Where", [turn, earlier[i], chosen])
        chosen = selection.outputs[0]
        chosen.name, chosen.type = f"{node.outputs[0].name}_from_{i}", node.outputs[0].type
        selections.append(selection)
    replace(node, *selections)
    return True


def _last_of_one(shape: ir.Shape | None, axis: int) -> bool:
    return shape is not None and axis in (-1, len(shape) - 1) and shape[-1] == 1 and len(shape) > 1
