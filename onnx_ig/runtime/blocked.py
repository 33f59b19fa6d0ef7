"""Write masks so that ONNX Runtime's CPU provider need not leave the blocked layout of its convolutions.

The one idea: between two convolutions a gradient graph has the product of a cotangent with a mask [y > 0]. Comparisons
and casts take the usual layout (channels first), so each mask costs three passes that reorder; HardSigmoid takes
either. Not for exported files: a runtime that computes in float16 would see ∞ for the slope, and 0 · ∞ is NaN.
"""

from __future__ import annotations

import onnx_ir as ir

# max(0, min(1, slope · y)) is [y > 0] for every y from 3.3e-39 on: all of float32 but its subnormal numbers.
_SLOPE = 3e38


def mask_in_any_layout(model: ir.Model) -> None:
    """Replace Cast(y > 0) by HardSigmoid(_SLOPE · y) wherever y is of float32, in place."""
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        compared = node.inputs[0].producer() if node.op_type == "Cast" and node.inputs[0] is not None else None
        if compared is None or compared.op_type != "Greater" or node.outputs[0].dtype != ir.DataType.FLOAT:
            continue
        y, bound = compared.inputs
        if y is None or y.dtype != ir.DataType.FLOAT or bound is None or bound.const_value is None:
            continue
        if bound.const_value.size != 1 or bound.const_value.numpy().any():
            continue
        mask = ir.node("HardSigmoid", [y], attributes={"alpha": _SLOPE, "beta": 0.0})
        old, new = node.outputs[0], mask.outputs[0]
        name, old.name = old.name, None
        new.name, new.type, new.shape = name, old.type, old.shape
        assert node.graph is not None
        node.graph.insert_before(node, mask)
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        node.graph.remove(node, safe=True)
        if not compared.outputs[0].uses() and not compared.outputs[0].is_graph_output():
            assert compared.graph is not None
            compared.graph.remove(compared, safe=True)
