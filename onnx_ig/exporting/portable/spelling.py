"""The same values in operators and types that a runtime has: what export does for one of them alone.

The one idea: each edit has a name, by which the table of runtimes asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder, static_shape
from onnx_ig.graph.node import attr_int, attr_ints, attr_str, constant, optional

_IN_TURN = frozenset({"ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin"})
Spell = Callable[[OpBuilder, ir.Node], Sequence[ir.Value] | None]


class SpellPass(ir.passes.InPlacePass):
    """One edit of :data:`SPELLINGS`, in the main graph."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._spell = SPELLINGS[name]

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        graph, modified = model.graph, False
        for node in list(graph):
            if node.domain != "":
                continue
            results = self._spell(OpBuilder(graph), node)
            if results is None:
                continue
            modified = True
            for old, new in zip(list(node.outputs), results, strict=True):
                new.type, new.shape = old.type, old.shape
                name, old.name = old.name, None
                new.name = name
                ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
            graph.remove(node, safe=True)
        if modified:
            graph.sort()
        return ir.passes.PassResult(model, modified)


def _gather_bools_as_floats(op: OpBuilder, node: ir.Node) -> Sequence[ir.Value] | None:
    """GatherND, Gather, ... of bool: of 0 and 1, compared again."""
    x = node.inputs[0]
    if (
        node.op_type not in ("GatherND", "Gather", "GatherElements", "Slice")
        or x is None
        or x.dtype != ir.DataType.BOOL
    ):
        return None
    as_float = op.Cast(x, to=ir.DataType.FLOAT)
    as_float.shape, as_float.type = x.shape, ir.TensorType(ir.DataType.FLOAT)
    picked = ir.Node("", node.op_type, [as_float, *node.inputs[1:]], list(node.attributes.values()))
    picked.outputs[0].name = op.fresh("picked")
    picked.outputs[0].type, picked.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), node.outputs[0].shape
    op.graph.append(picked)
    return [op.Greater(picked.outputs[0], 0.5)]


def _gather_in_steps(op: OpBuilder, node: ir.Node) -> Sequence[ir.Value] | None:
    """Slice with another step than one: the same elements gathered, one axis after the other."""
    x, parts = node.inputs[0], [constant(optional(node, i)) for i in range(1, 5)]
    starts, ends, axes, steps = parts
    if node.op_type != "Slice" or x is None or starts is None or ends is None or steps is None or (steps == 1).all():
        return None
    sizes = static_shape(x)
    for i, axis in enumerate(np.arange(len(starts)) if axes is None else axes):
        size = sizes[axis]
        last = None if steps[i] < 0 and ends[i] < -size else int(ends[i])
        places = np.arange(size)[slice(int(starts[i]), last, int(steps[i]))]
        picked = ir.Node("", "Gather", [x, op.constant(places)], [ir.AttrInt64("axis", int(axis) % len(sizes))])
        x = picked.outputs[0]
        x.name, x.type = op.fresh("turned"), node.outputs[0].type
        x.shape = ir.Shape([len(places) if i == axis % len(sizes) else d for i, d in enumerate(sizes)])
        sizes = static_shape(x)
        op.graph.append(picked)
    return [x]


def _cast_constants(op: OpBuilder, node: ir.Node) -> Sequence[ir.Value] | None:
    """A node that reads constants of bool: that reads 0 and 1 cast to bool."""
    inputs = list(node.inputs)
    for i, x in enumerate(inputs):
        array = constant(x)
        if array is None or array.dtype != np.bool_:
            continue
        cast = ir.Node("", "Cast", [op.constant(array.astype(np.float32))], [ir.AttrInt64("to", ir.DataType.BOOL)])
        cast.outputs[0].name, cast.outputs[0].shape = op.fresh("cast"), ir.Shape(array.shape)
        cast.outputs[0].type = ir.TensorType(ir.DataType.BOOL)
        op.graph.append(cast)
        inputs[i] = cast.outputs[0]
    return None if inputs == list(node.inputs) else _copy(op, node, inputs)


def _logic_in_floats(op: OpBuilder, node: ir.Node) -> Sequence[ir.Value] | None:
    """And, Or, Xor: of 0 and 1, by Mul, Max and the difference."""
    if node.op_type not in ("And", "Or", "Xor"):
        return None
    a, b = (op.Cast(x, to=ir.DataType.FLOAT) for x in node.inputs)
    joined = {"And": lambda: op.Mul(a, b), "Or": lambda: op.Max(a, b), "Xor": lambda: op.Abs(op.Sub(a, b))}
    return [op.Greater(joined[node.op_type](), 0.5)]


def _gather_flat(op: OpBuilder, node: ir.Node) -> Sequence[ir.Value] | None:
    """GatherND at constant places: Gather from the axes that they index, laid out as one."""
    x, places = node.inputs[0], constant(optional(node, 1))
    if node.op_type != "GatherND" or x is None or places is None or attr_int(node, "batch_dims", 0) != 0:
        return None
    sizes, count = static_shape(x), places.shape[-1]
    indexed = sizes[:count]
    positive = np.where(places < 0, places + indexed, places)
    flat = np.ravel_multi_index(tuple(np.moveaxis(positive, -1, 0)), tuple(indexed))
    rows = op.Reshape(x, np.array([int(np.prod(indexed)), *sizes[count:]], np.int64))
    return [op.Gather(rows, np.asarray(flat, np.int64), axis=0)]


def _reduce_in_turn(op: OpBuilder, node: ir.Node) -> Sequence[ir.Value] | None:
    """A sum, mean, product or extreme over several axes: over one after the other, the last first."""
    x, axes = node.inputs[0], constant(optional(node, 1))
    if node.op_type not in _IN_TURN or x is None or x.shape is None or (optional(node, 1) is not None and axes is None):
        return None
    rank = len(x.shape)
    chosen = range(rank) if axes is None else sorted(int(axis) % rank for axis in axes)
    if len(chosen) < 2:
        return None
    value = x
    for axis in reversed(chosen):
        value = getattr(op, node.op_type)(value, [axis], keepdims=attr_int(node, "keepdims", 1))
    return [value]


def _keep_axis(op: OpBuilder, node: ir.Node) -> Sequence[ir.Value] | None:
    """The place of an extreme whose axis goes: with the axis, which Squeeze takes away."""
    if node.op_type not in ("ArgMax", "ArgMin") or attr_int(node, "keepdims", 1) == 1:
        return None
    axis, last = attr_int(node, "axis", 0), attr_int(node, "select_last_index", 0)
    place = getattr(op, node.op_type)(node.inputs[0], axis=axis, keepdims=1, select_last_index=last)
    return [op.Squeeze(place, [axis])]


def _pad_what_is_read(op: OpBuilder, node: ir.Node) -> Sequence[ir.Value] | None:
    """Conv whose last window ends before the padded end: padded so much less there."""
    x, kernel = node.inputs[0], attr_ints(node, "kernel_shape")
    if node.op_type != "Conv" or x is None or kernel is None or attr_str(node, "auto_pad", "NOTSET") != "NOTSET":
        return None
    axes, sizes = len(kernel), static_shape(x)[2:]
    pads = attr_ints(node, "pads") or [0] * 2 * axes
    strides, dilations = (attr_ints(node, name) or [1] * axes for name in ("strides", "dilations"))
    read = list(pads)
    for i in range(axes):
        unread = (sizes[i] + pads[i] + pads[axes + i] - (kernel[i] - 1) * dilations[i] - 1) % strides[i]
        read[axes + i] -= min(unread, pads[axes + i])
    if read == pads:
        return None
    attributes = [value for name, value in node.attributes.items() if name != "pads"]
    copy = ir.Node("", "Conv", node.inputs, [*attributes, ir.AttrInt64s("pads", read)])
    copy.outputs[0].name = op.fresh("convolved")
    op.graph.append(copy)
    return list(copy.outputs)


def _write_slopes_out(op: OpBuilder, node: ir.Node) -> Sequence[ir.Value] | None:
    """PRelu: max(x, 0) + slope · min(x, 0)."""
    if node.op_type != "PRelu":
        return None
    x, slope = node.inputs
    return [op.Add(op.Max(x, 0.0), op.Mul(slope, op.Min(x, 0.0)))]


def _own_constants(op: OpBuilder, node: ir.Node) -> Sequence[ir.Value] | None:
    """Concat and LayerNormalization of constants that others read too: of copies of their own, by their name."""
    if node.op_type not in ("Concat", "LayerNormalization"):
        return None
    shared = [i for i, x in enumerate(node.inputs) if x is not None and x.is_initializer() and len(x.uses()) > 1]
    if not shared:
        return None
    inputs = list(node.inputs)
    for i in shared:
        array, name = constant(inputs[i]), op.fresh("own")
        assert array is not None
        own = ir.Value(name=name, shape=ir.Shape(array.shape), const_value=ir.tensor(array, name=name))
        own.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
        op.graph.register_initializer(own)  # op.constant would give the same one to all
        inputs[i] = own
    return _copy(op, node, inputs)


def _copy(op: OpBuilder, node: ir.Node, inputs: Sequence[ir.Value | None]) -> list[ir.Value]:
    """The outputs of the same operator of other inputs."""
    copy = ir.Node("", node.op_type, inputs, list(node.attributes.values()), num_outputs=len(node.outputs))
    for made, old in zip(copy.outputs, node.outputs, strict=True):
        made.name = op.fresh("copy") if old.name else ""
        made.type, made.shape = old.type, old.shape
    op.graph.append(copy)
    return list(copy.outputs)


SPELLINGS: Mapping[str, Spell] = {
    "bools are gathered as floats": _gather_bools_as_floats,
    "what no window reads is not padded": _pad_what_is_read,
    "steps are gathered": _gather_in_steps,
    "axes are reduced in turn": _reduce_in_turn,
    "places keep their axis": _keep_axis,
    "places are gathered flat": _gather_flat,
    "logic is in floats": _logic_in_floats,
    "bool constants are cast": _cast_constants,
    "constants are read once": _own_constants,
    "slopes are written out": _write_slopes_out,
}
