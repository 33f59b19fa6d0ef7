"""Where a HardSigmoid has no slope, by one comparison instead of two, in ONNX Runtime on CUDA.

Its derivative asks 0 < y < 1 of y in [0, 1], by Greater, Less and And. y is then no whole number: y = ⌊y⌋ is the
opposite in two kernels instead of three, and what passes where it is false is 0 where it is true. A NaN, which is in no
interval, now passes as what is inside does.

Replaced for float32 HardSigmoids whose mask selections alone read; others stay.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.runtime.substitution import Substitute, is_number, made_by, remove_unread


class CompareWithWholeNumbersPass(ir.passes.InPlacePass):
    """Rewrite Where(0 < y < 1, a, b) of y = HardSigmoid(x) as Where(y = ⌊y⌋, b, a), in bodies too."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        nodes = [node for node in ir.traversal.RecursiveGraphIterator(model.graph) if node.op_type == "And"]
        return ir.passes.PassResult(model, sum(_rewrite(model, node) for node in nodes) > 0)


def _rewrite(model: ir.Model, node: ir.Node) -> bool:
    greater, less = made_by(node.inputs[0], "Greater"), made_by(node.inputs[1], "Less")
    y = None if greater is None else greater.inputs[0]
    if greater is None or less is None or less.inputs[0] is not y or made_by(y, "HardSigmoid") is None:
        return False
    if not is_number(greater.inputs[1], 0.0) or not is_number(less.inputs[1], 1.0):
        return False
    uses = node.outputs[0].uses()
    readers = [reader for reader, _ in uses]
    if y is None or y.dtype != ir.DataType.FLOAT or node.outputs[0].is_graph_output():
        return False
    if any(reader.op_type != "Where" or place or reader.graph is not node.graph for reader, place in uses):
        return False
    for reader in readers:
        op = Substitute(model, reader)
        _, inside, outside = reader.inputs
        op("Where", op("Equal", y, op("Floor", y)), outside, inside)
        op.put()
    remove_unread(node)
    return True
