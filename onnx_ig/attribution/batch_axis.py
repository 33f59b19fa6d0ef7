"""Models whose examples lie on another axis than the first, or have a name of their own in each input: the same model
with the examples first, and one name for their number.

The one idea: one Transpose behind each input and one before each output, and everything after sees a single layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from onnx_ig.errors import InputError
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.reading import is_float
from onnx_ig.loading.joined_axes import one_name, rename
from onnx_ig.loading.model import Model
from onnx_ig.loading.shape_facts import infer


def examples_first(model: Model, axis: int | None) -> Model:
    """``model`` with axis ``axis`` of its inputs, and the same dimension of its outputs, moved to axis 0.

    Which inputs have examples is told by the first float one: those whose axis ``axis`` is the same dimension.

    Args:
        axis: 0 moves nothing; None (no axis of examples) leaves the model as it is.

    Raises:
        InputError: the inputs have no such axis.
    """
    if axis is None:
        return model
    model = _with_one_name(model, axis)
    if axis == 0:
        return model
    moved = model.clone_ir()
    graph = moved.graph
    shapes = [x.shape for x in graph.inputs if is_float(x) and x.shape is not None]
    if not shapes or not 0 < axis < len(shapes[0]):
        declared = ", ".join(f"{x.name} {x.shape}" for x in graph.inputs)
        raise InputError(f"batch_axis={axis}: the first float input has no such axis ({declared})")
    examples = shapes[0][axis]
    op, first, defaults = OpBuilder(graph), graph[0], dict(model.defaults)
    for i, x in enumerate(graph.inputs):
        if x.shape is not None and len(x.shape) > axis and x.shape[axis] == examples:
            others = [d for j, d in enumerate(x.shape) if j != axis]
            given = ir.Value(name=x.name, type=x.type, shape=ir.Shape([examples, *others]), doc_string=x.doc_string)
            x.name = op.fresh(f"{x.name}_as_is")
            order = [*range(1, len(x.shape))]
            node = ir.Node("", "Transpose", [given], [ir.AttrInt64s("perm", [*order[:axis], 0, *order[axis:]])])
            node.outputs[0].name, node.outputs[0].type = x.name, x.type
            graph.inputs[i] = given
            if given.name in defaults:
                defaults[given.name] = np.moveaxis(defaults[given.name], axis, 0)
            ir.convenience.replace_all_uses_with(x, node.outputs[0], replace_graph_outputs=True)
            graph.insert_before(first, node)
    for i, y in enumerate(graph.outputs):
        place = None if y.shape is None else _place(list(y.shape), examples, axis)
        if place and y.shape is not None:
            order = [place, *(j for j in range(len(y.shape)) if j != place)]
            node = ir.Node("", "Transpose", [y], [ir.AttrInt64s("perm", order)])
            node.outputs[0].name, y.name = y.name, op.fresh(f"{y.name}_as_is")
            node.outputs[0].type, node.outputs[0].shape = y.type, ir.Shape([y.shape[j] for j in order])
            graph.append(node)
            graph.outputs[i] = node.outputs[0]
    infer(moved)
    return replace(model, ir_model=moved, defaults=defaults)


# fmt: off
_ELEMENTWISE = frozenset((
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mul", "Or",
    "Pow", "PRelu", "Sub", "Sum", "Where", "Xor",
))
# fmt: on


def _with_one_name(model: Model, axis: int) -> Model:
    """``model`` with one name for the examples of inputs that it adds, multiplies or compares row by row.

    Such an operator would also take a single row for all; every input of an attribution model has a row per example.
    """
    while names := one_name(model.ir_model.graph, _rows_that_meet(model.ir_model.graph, axis)):
        changed = model.clone_ir()
        rename(changed.graph.inputs, names)
        for node in changed.graph:
            rename(node.outputs, names)
        infer(changed)
        model = replace(model, ir_model=changed)
    return model


def _rows_that_meet(graph: ir.Graph, axis: int) -> Iterator[tuple[str, str]]:
    rows = {_name(x, axis) for x in graph.inputs} - {None}
    for node in graph:
        if node.op_type in _ELEMENTWISE and node.domain == "":
            ranks = {len(x.shape) for x in node.inputs if x is not None and x.shape is not None}
            names = [_name(x, axis) for x in node.inputs if x is not None]
            if len(ranks) == 1:
                yield from pairwise([name for name in names if name is not None and name in rows])


def _name(x: ir.Value, axis: int) -> str | None:
    """What the examples of ``x`` are called."""
    dim = x.shape[axis] if x.shape is not None and len(x.shape) > axis else None
    return dim.value if isinstance(dim, ir.SymbolicDim) else None


def _place(dims: list[int | ir.SymbolicDim], examples: int | ir.SymbolicDim, axis: int) -> int | None:
    """Where ``examples`` are among ``dims``: on the same axis as in the inputs if they can be."""
    return next((i for i in (axis, *range(len(dims))) if i < len(dims) and dims[i] == examples), None)
