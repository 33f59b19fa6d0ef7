"""The same values in operators and types that a runtime has: what export does for one of them alone.

The one idea: each edit has a name, by which the table of runtimes asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder, static_shape
from onnx_ig.graph.node import attr_str, constant, optional

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


def _whole_pad(op: OpBuilder, node: ir.Node) -> Sequence[ir.Value] | None:
    """Pad of some axes, or with nothing for the value: of all axes, with the zero that this means."""
    x, pads = node.inputs[0], constant(optional(node, 1))
    value, axes = optional(node, 2), constant(optional(node, 3))
    if node.op_type != "Pad" or attr_str(node, "mode", "constant") != "constant" or x is None or x.dtype is None:
        return None
    if pads is None or (value is not None and axes is None):
        return None
    rank = len(static_shape(x))
    before, after = np.zeros(rank, np.int64), np.zeros(rank, np.int64)
    chosen = np.arange(rank) if axes is None else axes
    before[chosen], after[chosen] = np.split(pads, 2)
    zero = op.constant(np.zeros([], x.dtype.numpy())) if value is None else value
    padded = ir.Node("", "Pad", [x, op.constant(np.concatenate([before, after])), zero], list(node.attributes.values()))
    padded.outputs[0].name = op.fresh("padded")
    op.graph.append(padded)
    return list(padded.outputs)


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


SPELLINGS: Mapping[str, Spell] = {
    "bools are gathered as floats": _gather_bools_as_floats,
    "pads are of all axes": _whole_pad,
    "steps are gathered": _gather_in_steps,
}
