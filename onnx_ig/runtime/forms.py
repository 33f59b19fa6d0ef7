"""Forms that are faster in our own sessions, and that exported files do not have because some runtimes do not.

Masks: between two convolutions a gradient graph has the product of a cotangent with a mask [y > 0]. Comparisons and
casts take the usual layout (channels first), so in ONNX Runtime on a CPU each mask costs three passes that reorder;
HardSigmoid takes the convolutions' blocked layout too. OpenVINO has it wrong for so large a slope (seen in 2026.4), and
a runtime that computes in float16 would see ∞, and 0 · ∞ is NaN.

Scans: a recurrent layer's adjoint walks from the last step to the first. onnx's reference evaluator knows no Scan
directions, so files turn each sequence around before and after.
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
        _remove(node)
        if not compared.outputs[0].uses() and not compared.outputs[0].is_graph_output():
            _remove(compared)


def walk_backwards(model: ir.Model) -> None:
    """Let each Scan read and write backwards what is turned around before or after it, in place."""
    scans = [node for node in ir.traversal.RecursiveGraphIterator(model.graph) if node.op_type == "Scan"]
    for node in scans:
        count = node.attributes["num_scan_inputs"].as_int()
        states = len(node.inputs) - count
        _turn_outputs(node, states)
        _turn_inputs(node, states)


def _turn_outputs(node: ir.Node, states: int) -> None:
    axes = _ints(node, "scan_output_axes", len(node.outputs) - states)
    directions = _ints(node, "scan_output_directions", len(axes))
    for i, (y, axis) in enumerate(zip(node.outputs[states:], axes, strict=True)):
        readers = [reader for reader, _ in y.uses()]
        if not readers or y.is_graph_output() or not all(_reverses(reader, axis) for reader in readers):
            continue
        directions[i] = 1 - directions[i]
        for reader in readers:
            ir.convenience.replace_all_uses_with(reader.outputs[0], y)
            _remove(reader)
    node.attributes["scan_output_directions"] = ir.AttrInt64s("scan_output_directions", directions)


def _turn_inputs(node: ir.Node, states: int) -> None:
    axes = _ints(node, "scan_input_axes", len(node.inputs) - states)
    directions = _ints(node, "scan_input_directions", len(axes))
    for i, axis in enumerate(axes):
        x = node.inputs[states + i]
        turn = None if x is None else x.producer()
        if turn is None or not _reverses(turn, axis):
            continue
        directions[i] = 1 - directions[i]
        node.replace_input_with(states + i, turn.inputs[0])
        if not turn.outputs[0].uses() and not turn.outputs[0].is_graph_output():
            _remove(turn)
    node.attributes["scan_input_directions"] = ir.AttrInt64s("scan_input_directions", directions)


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


def _remove(node: ir.Node) -> None:
    assert node.graph is not None
    node.graph.remove(node, safe=True)
