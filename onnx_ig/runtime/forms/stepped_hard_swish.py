"""HardSwish's derivative by steps instead of a mask, in ONNX Runtime on CUDA.

h + [|x| < 3]·(h − ½) is six kernels there. With k = min(max(x, −3), 3), and z = k between −3 and 3 and ±3⁄2 there,
it is z/3 + ½: four, since Shrink tells k − z, and a batch normalisation by constants is one. Where the number of
channels is not known, s = HardSigmoid(Shrink x) is 0, ½ and 1 for x ≤ −3, between, and from 3 on; h + (h − s) is bit
by bit the same, in five.

Replaced for float32; others stay.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from onnx_ig.runtime.in_place import inferred_shapes
from onnx_ig.runtime.substitution import Substitute, made_by, number

_BELOW_THREE = float(np.nextafter(np.float32(3), np.float32(0)))  # Shrink is 0 up to its bound, and on it


class StepForHardSwishPass(ir.passes.InPlacePass):
    """Replace HardSwish's derivative, as its rule writes it, in bodies too."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        found = any(node.op_type == "HardSwish" for node in ir.traversal.RecursiveGraphIterator(model.graph))
        if not found:
            return ir.passes.PassResult(model, False)
        shapes = inferred_shapes(model)
        nodes = [node for node in ir.traversal.RecursiveGraphIterator(model.graph) if node.op_type == "Add"]
        return ir.passes.PassResult(model, sum(_step(model, node, shapes) for node in nodes) > 0)


def _step(model: ir.Model, node: ir.Node, shapes: Mapping[str, ir.Shape]) -> bool:
    hard, masked = made_by(node.inputs[0], "HardSigmoid"), made_by(node.inputs[1], "Mul")
    if hard is None or masked is None or node.outputs[0].dtype != ir.DataType.FLOAT:
        return False
    x, h, attributes = hard.inputs[0], hard.outputs[0], hard.attributes
    mask, moved = made_by(masked.inputs[0], "Cast"), made_by(masked.inputs[1], "Sub")
    less = None if mask is None else made_by(mask.inputs[0], "Less")
    size = None if less is None else made_by(less.inputs[0], "Abs")
    if less is None or size is None or moved is None or size.inputs[0] is not x or moved.inputs[0] is not h:
        return False
    slope, middle = attributes.get_float("alpha", 0.2), attributes.get_float("beta", 0.5)
    if np.float32(slope) != np.float32(1 / 6) or not middle == 0.5 == _number_of(moved) or _number_of(less) != 3.0:
        return False
    op = Substitute(model, node)
    channels = _channels(None if x is None else shapes.get(str(x.name)))
    if channels is None:
        step = op("HardSigmoid", op("Shrink", x, lambd=_BELOW_THREE, bias=0.0), alpha=slope, beta=middle)
        op("Add", h, op("Sub", h, step))
    else:
        k = op("Clip", x, -3.0, 3.0)
        z = op("Sub", k, op("Shrink", k, lambd=_BELOW_THREE, bias=1.5))
        line = [np.full(channels, number, np.float32) for number in (1 / 3, 1 / 2, 0, 1)]
        op("BatchNormalization", z, *line, epsilon=0.0)
    op.put()
    return True


def _channels(shape: ir.Shape | None) -> int | None:
    channels = None if shape is None or len(shape) < 2 else shape[1]
    return channels if isinstance(channels, int) else None


def _number_of(node: ir.Node) -> float | None:
    return number(node.inputs[1])
