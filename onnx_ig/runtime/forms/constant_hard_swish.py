"""A HardSwish of constants in operators that ONNX Runtime computes when it opens a model, for CUDA.

It computes what depends on constants alone on a CPU, where it has no kernel for HardSwish: all of F(x') of a baked
baseline would be computed at every Run, and is not with x·HardSigmoid(x).

Replaced in the main graph, where constants, and the sizes of inputs that are known, are all that is read.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.runtime.substitution import Substitute

_WITH_BODIES = frozenset(("If", "Loop", "Scan"))


class WriteOutConstantHardSwishPass(ir.passes.InPlacePass):
    """Replace each HardSwish of what is known when the model is opened."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        known = {value for value in model.graph.initializers.values() if value.const_value is not None}
        replaced = 0
        for node in list(model.graph):
            read = [x for x in node.inputs if x is not None]
            sizes = node.op_type == "Shape" and _is_static(read[0].shape)
            if node.op_type in _WITH_BODIES or not (sizes or known.issuperset(read)):
                continue
            if node.op_type == "HardSwish":
                op, x = Substitute(model, node), node.inputs[0]
                known.add(op("Mul", x, op("HardSigmoid", x, alpha=1 / 6, beta=0.5)))
                op.put()
                replaced += 1
            known.update(node.outputs)
        return ir.passes.PassResult(model, replaced > 0)


def _is_static(shape: ir.Shape | None) -> bool:
    return shape is not None and all(isinstance(d, int) for d in shape)
