"""Scans that walk backwards, in ONNX Runtime and OpenVINO.

A recurrent layer's adjoint walks from the last step to the first. onnx's reference evaluator knows no Scan directions,
so files turn each sequence around before and after.

An input that is nothing but turned around, and an output that every reader turns around, get the other direction; an
output of the model, or one that is also read as it is, keeps its own.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.runtime.substitution import remove_unread


class WalkBackwardsPass(ir.passes.InPlacePass):
    """Let each Scan read and write backwards what is turned around before or after it, in bodies too."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        turned = 0
        for node in [n for n in ir.traversal.RecursiveGraphIterator(model.graph) if n.op_type == "Scan"]:
            states = len(node.inputs) - node.attributes["num_scan_inputs"].as_int()
            turned += _turn_outputs(node, states) + _turn_inputs(node, states)
        return ir.passes.PassResult(model, turned > 0)


def _turn_outputs(node: ir.Node, states: int) -> int:
    """How many were turned."""
    turned = 0
    axes = _ints(node, "scan_output_axes", len(node.outputs) - states)
    directions = _ints(node, "scan_output_directions", len(axes))
    for i, (y, axis) in enumerate(zip(node.outputs[states:], axes, strict=True)):
        readers = [reader for reader, _ in y.uses()]
        if not readers or y.is_graph_output() or not all(_reverses(reader, axis) for reader in readers):
            continue
        directions[i] = 1 - directions[i]
        turned += 1
        for reader in readers:
            ir.convenience.replace_all_uses_with(reader.outputs[0], y)
            assert reader.graph is not None
            reader.graph.remove(reader, safe=True)
    node.attributes["scan_output_directions"] = ir.AttrInt64s("scan_output_directions", directions)
    return turned


def _turn_inputs(node: ir.Node, states: int) -> int:
    """How many were turned."""
    turned = 0
    axes = _ints(node, "scan_input_axes", len(node.inputs) - states)
    directions = _ints(node, "scan_input_directions", len(axes))
    for i, axis in enumerate(axes):
        x = node.inputs[states + i]
        turn = None if x is None else x.producer()
        if turn is None or not _reverses(turn, axis):
            continue
        directions[i] = 1 - directions[i]
        turned += 1
        node.replace_input_with(states + i, turn.inputs[0])
        remove_unread(turn)
    node.attributes["scan_input_directions"] = ir.AttrInt64s("scan_input_directions", directions)
    return turned


def _ints(node: ir.Node, name: str, count: int) -> list[int]:
    return list(node.attributes[name].as_ints()) if name in node.attributes else [0] * count


def _reverses(node: ir.Node, axis: int) -> bool:
    """Whether the node turns its input around along ``axis``, and does nothing else."""
    if node.op_type != "Slice" or len(node.inputs) != 5 or node.outputs[0].is_graph_output():
        return False
    numbers = [None if x is None or x.const_value is None else x.const_value.numpy() for x in node.inputs[1:]]
    if any(n is None or n.size != 1 for n in numbers):
        return False
    return [int(n.reshape(())) for n in numbers if n is not None] == [-1, -(2**63), axis, -1]
