"""A mask [y > 0] as a HardSigmoid, in ONNX Runtime on a CPU.

Between two convolutions a gradient graph has the product of a cotangent with a mask. Comparisons and casts take the
usual layout (channels first), so there each mask costs three passes that reorder; HardSigmoid takes the convolutions'
blocked layout too.

Cast(Greater(y, 0)) of float32 is replaced; a mask with another bound or of another type stays. OpenVINO has it wrong
for so large a slope (seen in 2026.4), and a runtime that computes in float16 would see ∞, and 0 · ∞ is NaN.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.runtime.substitution import remove_unread, replace

# max(0, min(1, slope · y)) is [y > 0] for every y from 3.3e-39 on: all of float32 but its subnormal numbers.
_SLOPE = 3e38


class MaskInAnyLayoutPass(ir.passes.InPlacePass):
    """Replace Cast(y > 0) by HardSigmoid(_SLOPE · y) wherever y is of float32, in bodies too."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        nodes = ir.traversal.RecursiveGraphIterator(model.graph)
        return ir.passes.PassResult(model, sum(_replace_mask(node) for node in nodes) > 0)


def _replace_mask(node: ir.Node) -> bool:
    compared = node.inputs[0].producer() if node.op_type == "Cast" and node.inputs[0] is not None else None
    if compared is None or compared.op_type != "Greater" or node.outputs[0].dtype != ir.DataType.FLOAT:
        return False
    y, bound = compared.inputs
    if y is None or y.dtype != ir.DataType.FLOAT or bound is None or bound.const_value is None:
        return False
    if bound.const_value.size != 1 or bound.const_value.numpy().any():
        return False
    replace(node, ir.node("HardSigmoid", [y], attributes={"alpha": _SLOPE, "beta": 0.0}))
    remove_unread(compared)
    return True
