"""The statistics that a LayerNormalization computed, read by its gradient, in ONNX Runtime on CUDA.

The gradient computes mean x and r = (mean (x − mean x)² + ε)^(−½) again, in nine kernels of which four are reductions.
The operator has them as further outputs; files leave those out, because runtimes exist that do not.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.runtime.substitution import is_number, reduces_last_axis, remove_unread

_MEAN, _INVERSE_DEVIATION = 1, 2  # places among its outputs
_NAMES = {_MEAN: "mean", _INVERSE_DEVIATION: "inverse_deviation"}


class KeepStatisticsPass(ir.passes.InPlacePass):
    """Replace what computes a float32 LayerNormalization's mean and inverse deviation again, in bodies too."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        return ir.passes.PassResult(model, _keep(model))


def _keep(model: ir.Model) -> bool:
    kept = False
    for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
        if node.op_type != "LayerNormalization" or node.domain not in ("", "ai.onnx"):
            continue
        x = node.inputs[0]
        if x is None or x.dtype != ir.DataType.FLOAT or node.attributes.get_int("axis", -1) != -1:
            continue
        for mean in _readers(x, "ReduceMean"):
            if not reduces_last_axis(mean) or mean.graph is not node.graph:
                continue
            for inverse in _inverse_deviations(x, mean, node.attributes.get_float("epsilon", 1e-5)):
                _take(inverse, _output(node, _INVERSE_DEVIATION))
            _take(mean, _output(node, _MEAN))
            kept = True
    return kept


def _inverse_deviations(x: ir.Value, mean: ir.Node, epsilon: float) -> list[ir.Node]:
    """The nodes that give (mean (x − mean)² + ε)^(−½)."""
    found = []
    for d in _readers(mean.outputs[0], "Sub"):
        if d.inputs[0] is not x:
            continue
        squares = [n for n in _readers(d.outputs[0], "Mul") if n.inputs[0] is n.inputs[1]]
        variances = [v for square in squares for v in _readers(square.outputs[0], "ReduceMean") if reduces_last_axis(v)]
        sums = [s for v in variances for s in _readers(v.outputs[0], "Add") if is_number(s.inputs[1], epsilon)]
        roots = [root for s in sums for root in _readers(s.outputs[0], "Sqrt")]
        found += [inverse for root in roots for inverse in _readers(root.outputs[0], "Reciprocal")]
    return found


def _readers(x: ir.Value, op_type: str) -> list[ir.Node]:
    return list(dict.fromkeys(node for node, _ in x.uses() if node.op_type == op_type))


def _output(node: ir.Node, index: int) -> ir.Value:
    if len(node.outputs) <= index:
        node.resize_outputs(index + 1)
    y = node.outputs[index]
    if y.type is None:
        y.name, y.type = f"{node.outputs[0].name}_{_NAMES[index]}", ir.TensorType(ir.DataType.FLOAT)
    return y


def _take(node: ir.Node, value: ir.Value) -> None:
    ir.convenience.replace_all_uses_with(node.outputs[0], value, replace_graph_outputs=True)
    remove_unread(node)
