"""Sums and products that stretch an operand themselves, in ONNX Runtime on CUDA.

The gradient of a mean is the same number at every place, written out by an Expand: a kernel, and a tensor of full size
where Add and Mul read the small one as it is.

Replaced in the main graph, where the other operand is known to have the full shape.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnx_ig.runtime.in_place import inferred_shapes
from onnx_ig.runtime.substitution import made_by, remove_unread

_STRETCHING = frozenset(("Add", "Sub", "Mul"))


class LeaveUnexpandedPass(ir.passes.InPlacePass):
    """Let Add, Sub and Mul read what an Expand of one of their operands reads."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        stretched = {x for node in model.graph if node.op_type in _STRETCHING for x in node.inputs}
        expands = [node for node in model.graph if node.op_type == "Expand" and node.outputs[0] in stretched]
        shapes = inferred_shapes(model) if expands else {}
        return ir.passes.PassResult(model, sum(_leave(node, shapes) for node in expands) > 0)


def _leave(expand: ir.Node, shapes: Mapping[str, ir.Shape]) -> int:
    """How many readers read the small tensor now."""
    full, changed = _known(expand.outputs[0], shapes), 0
    for reader, index in list(expand.outputs[0].uses()) if full is not None else ():
        if reader.op_type not in _STRETCHING or reader.graph is not expand.graph:
            continue
        other = reader.inputs[1 - index]
        if other is not None and made_by(other, "Expand") is None and _known(other, shapes) == full:
            reader.replace_input_with(index, expand.inputs[0])
            changed += 1
    remove_unread(expand)
    return changed


def _known(value: ir.Value, shapes: Mapping[str, ir.Shape]) -> list[int] | None:
    shape = shapes.get(str(value.name))
    sizes = [] if shape is None else [d for d in shape if isinstance(d, int)]
    return sizes if shape is not None and len(sizes) == len(shape) else None
