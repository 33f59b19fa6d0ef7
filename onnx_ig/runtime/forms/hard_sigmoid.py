"""HardSigmoid as Mul, Add and Clip, in OpenVINO.

It has its reference kernel for HardSigmoid alone; the three are fused with what surrounds them.

Replaced in the main graph, of float32; in bodies, and of other types, it stays.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.runtime.substitution import replace


class ClipForHardSigmoidPass(ir.passes.InPlacePass):
    """Replace HardSigmoid by max(0, min(1, α · x + β)) in the main graph."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        nodes = [n for n in model.graph if n.op_type == "HardSigmoid" and n.domain == ""]
        nodes = [node for node in nodes if node.outputs[0].dtype == ir.DataType.FLOAT]
        for node in nodes:
            _clip(model.graph, node)
        return ir.passes.PassResult(model, bool(nodes))


def _clip(graph: ir.Graph, node: ir.Node) -> None:
    y = node.outputs[0]
    given = {name: node.attributes[name].as_float() for name in ("alpha", "beta") if name in node.attributes}
    numbers = {"alpha": 0.2, "beta": 0.5, **given, "lowest": 0.0, "highest": 1.0}
    constants = {}
    for name, number in numbers.items():
        constants[name] = ir.Value(name=f"{y.name}_{name}", const_value=ir.tensor(np.array(number, np.float32)))
        graph.register_initializer(constants[name])
    scaled = ir.node("Mul", [node.inputs[0], constants["alpha"]])
    moved = ir.node("Add", [scaled.outputs[0], constants["beta"]])
    clipped = ir.node("Clip", [moved.outputs[0], constants["lowest"], constants["highest"]])
    for made, name in ((scaled, "scaled"), (moved, "moved")):
        made.outputs[0].name, made.outputs[0].type = f"{y.name}_{name}", y.type
    replace(node, scaled, moved, clipped)
