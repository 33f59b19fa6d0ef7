"""Forms that are faster in our own sessions, and that exported files do not have because some runtimes do not.

Masks: between two convolutions a gradient graph has the product of a cotangent with a mask [y > 0]. Comparisons and
casts take the usual layout (channels first), so in ONNX Runtime on a CPU each mask costs three passes that reorder;
HardSigmoid takes the convolutions' blocked layout too. OpenVINO has it wrong for so large a slope (seen in 2026.4), and
a runtime that computes in float16 would see ∞, and 0 · ∞ is NaN.

Products: OpenVINO gives one that stands alone, or with a bias, to a kernel that reads several rows side by side. Where
they lie a multiple of 4 KiB apart they meet in the same few lines of the cache, and the kernel takes half as long
again. One with an activation behind it goes to another kernel; LeakyRelu of slope 1 is an activation that does nothing.

Interleaving: gradients of pooling take turns between tensors along an axis, by Concat along a new axis of one element
each. Along the last axis OpenVINO copies element by element; a selection between the two is four times as fast there,
and in ONNX Runtime thirty times as slow.

HardSwish: its derivative takes the usual layout for |x| < 3 and for constants. As [x² < 9] by HardSigmoid, and a
convolution of kernel 1 for the factor, all of it stays in the blocked one (MobileNetV3's gradient -10 %).

HardSigmoid: OpenVINO has its reference kernel for it alone; as Mul, Add and Clip it is fused with what surrounds it.

Scans: a recurrent layer's adjoint walks from the last step to the first. onnx's reference evaluator knows no Scan
directions, so files turn each sequence around before and after.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_ig.runtime.in_place import inferred_shapes, untransposed

# max(0, min(1, slope · y)) is [y > 0] for every y from 3.3e-39 on: all of float32 but its subnormal numbers.
_SLOPE = 3e38
# max(0, min(1, slope · (9 − y))) is [y < 9] for every float32 y: 9 and its neighbours are 1e-6 apart.
_SLOPE_AT_NINE = 2.0**21
_ROWS_THAT_MEET = 1024  # floats: 4 KiB
_SELECTIONS = 4  # tensors that take turns: a selection passes over all of the result for each but one


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


def hard_swish_in_any_layout(model: ir.Model) -> None:
    """Write HardSwish's derivative h + [|x| < 3] · (h − ½) of pictures as h + [x² < 9] · x / 6, in place."""
    if not any(node.op_type == "HardSwish" for node in model.graph):
        return
    from onnxscript.rewriter import pattern  # takes a quarter of a second to import

    shapes = inferred_shapes(model)

    def derivative(op: Any, x: ir.Value, h: ir.Value) -> ir.Value:
        inside = op.Cast(op.Less(op.Abs(x), 3.0), to=ir.DataType.FLOAT)
        return op.Add(h, op.Mul(inside, op.Sub(h, 0.5)))

    def blocked(op: Any, x: ir.Value, h: ir.Value) -> ir.Value:
        inside = op.HardSigmoid(op.Mul(x, x), alpha=-_SLOPE_AT_NINE, beta=9 * _SLOPE_AT_NINE)
        channels = shapes[str(x.name)][1]
        assert isinstance(channels, int)  # see of_pictures
        sixth = np.full((channels, 1, 1, 1), 1 / 6, np.float32)
        return op.Add(op.Conv(op.Mul(inside, x), op.Constant(value=ir.tensor(sixth)), group=channels), h)

    def of_pictures(_: Any, x: ir.Value, **__: Any) -> bool:
        shape = shapes.get(str(x.name))
        return shape is not None and len(shape) == 4 and isinstance(shape[1], int)

    pattern.RewriteRuleSet([pattern.RewriteRule(derivative, blocked, of_pictures)]).apply_to_model(model)


def keep_rows_apart(model: ir.Model) -> None:
    """Put LeakyRelu of slope 1 behind each product by a weight that sums over a multiple of 4 KiB, in place."""
    for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
        summed = _summed_over(node)
        if not summed or summed % _ROWS_THAT_MEET or node.graph is None:
            continue
        y = node.outputs[0]
        same = ir.node("LeakyRelu", [y], attributes={"alpha": 1.0})
        new = same.outputs[0]
        new.name, new.type, new.shape = y.name, y.type, y.shape
        y.name = f"{y.name}_product"
        ir.convenience.replace_all_uses_with(y, new, replace_graph_outputs=True)
        same.replace_input_with(0, y)
        node.graph.insert_after(node, same)


def _summed_over(node: ir.Node) -> int:
    """The columns of the left factor if ``node`` is a product by a weight, else 0."""
    if node.domain != "" or node.op_type not in ("MatMul", "Gemm"):
        return 0
    matrix = node.inputs[1]
    turned = "transB" in node.attributes and bool(node.attributes["transB"].as_int())
    weight = untransposed(matrix)
    if weight is not None:
        matrix, turned = weight, not turned
    if matrix is None or matrix.const_value is None or len(matrix.const_value.shape) != 2:
        return 0
    return int(matrix.const_value.shape.numpy()[1 if turned else 0])


def clip_for_hard_sigmoid(model: ir.Model) -> None:
    """Replace HardSigmoid by max(0, min(1, α · x + β)) in the main graph, in place."""
    for node in [n for n in model.graph if n.op_type == "HardSigmoid" and n.domain == ""]:
        y = node.outputs[0]
        if y.dtype != ir.DataType.FLOAT:
            continue
        given = {name: node.attributes[name].as_float() for name in ("alpha", "beta") if name in node.attributes}
        numbers = {"alpha": 0.2, "beta": 0.5, **given, "lowest": 0.0, "highest": 1.0}
        constants = {}
        for name, number in numbers.items():
            constants[name] = ir.Value(name=f"{y.name}_{name}", const_value=ir.tensor(np.array(number, np.float32)))
            model.graph.register_initializer(constants[name])
        scaled = ir.node("Mul", [node.inputs[0], constants["alpha"]])
        moved = ir.node("Add", [scaled.outputs[0], constants["beta"]])
        clipped = ir.node("Clip", [moved.outputs[0], constants["lowest"], constants["highest"]])
        for made, name in ((scaled, "scaled"), (moved, "moved")):
            made.outputs[0].name, made.outputs[0].type = f"{y.name}_{name}", y.type
        clipped.outputs[0].type, clipped.outputs[0].shape = y.type, y.shape
        clipped.outputs[0].name, y.name = y.name, None
        model.graph.insert_before(node, [scaled, moved, clipped])
        ir.convenience.replace_all_uses_with(y, clipped.outputs[0], replace_graph_outputs=True)
        _remove(node)


def interleave_by_selection(model: ir.Model) -> None:
    """Replace Concat by Where wherever it joins tensors of one element along the last axis, in place."""
    joins = [node for node in model.graph if node.op_type == "Concat" and 1 < len(node.inputs) <= _SELECTIONS]
    shapes = inferred_shapes(model) if joins else {}
    for node in joins:
        parts = [x for x in node.inputs if x is not None]
        axis = node.attributes["axis"].as_int()
        if not all(x.dtype == ir.DataType.FLOAT and _last_of_one(shapes.get(str(x.name)), axis) for x in parts):
            continue
        *earlier, last = parts
        chosen = last
        for i in reversed(range(len(earlier))):
            turn = ir.Value(name=f"{node.outputs[0].name}_turn_{i}", const_value=ir.tensor(np.arange(len(parts)) == i))
            model.graph.register_initializer(turn)
            selection = ir.node("Where", [turn, earlier[i], chosen])
            chosen = selection.outputs[0]
            chosen.name, chosen.type = f"{node.outputs[0].name}_from_{i}", node.outputs[0].type
            model.graph.insert_before(node, selection)
        name, chosen.shape = node.outputs[0].name, node.outputs[0].shape
        node.outputs[0].name, chosen.name = None, name
        ir.convenience.replace_all_uses_with(node.outputs[0], chosen, replace_graph_outputs=True)
        _remove(node)


def _last_of_one(shape: ir.Shape | None, axis: int) -> bool:
    return shape is not None and axis in (-1, len(shape) - 1) and shape[-1] == 1 and len(shape) > 1


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
