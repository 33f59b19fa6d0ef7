"""A number for each channel before the mask instead of behind it, in ONNX Runtime on CUDA.

The gradient of a Relu behind a batch normalisation is s · Where(mask, conv, 0). Where(mask, s · conv, 0) is the same,
and ONNX Runtime takes a product right behind a convolution into its weights: a kernel less for each.

Replaced where the selection's only other value is 0, nothing else reads it, and s is constant.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.runtime.substitution import Substitute, is_number, made_by


class ScaleBeforeMasksPass(ir.passes.InPlacePass):
    """Rewrite s · Where(mask, Conv(…), 0) behind :class:`SelectByMasksPass`, in bodies too."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        nodes = [node for node in ir.traversal.RecursiveGraphIterator(model.graph) if node.op_type == "Mul"]
        return ir.passes.PassResult(model, sum(_scale_first(model, node) for node in nodes) > 0)


def _scale_first(model: ir.Model, node: ir.Node) -> bool:
    for selected, scale in (node.inputs, reversed(node.inputs)):
        where = made_by(selected, "Where")
        if where is None or scale is None or scale.const_value is None or len(where.outputs[0].uses()) > 1:
            continue
        mask, y, nought = where.inputs
        if where.outputs[0].is_graph_output() or made_by(y, "Conv") is None or not is_number(nought, 0.0):
            continue
        op = Substitute(model, node)
        op("Where", mask, op("Mul", y, scale), nought)
        op.put()
        return True
    return False
