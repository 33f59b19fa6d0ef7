"""Rewrite a model exported for a fixed number of examples to take any number: a guess, to be checked by running.

The one idea: exporters write the number of examples into the shapes of the inputs and into a few constants (the targets
of Reshape and Resize, class tokens, initial states). Node by node, with shapes inferred on the way, such a constant is
made to follow the data. Whether the result treats examples apart is not decided here: onnx_ig/engine/batching.py runs
it beside the model itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from onnx_ig.attribution.layout import BATCH
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, constant, given, optional
from onnx_ig.graph.node_edit import insert_before, integers, set_attributes
from onnx_ig.loading.model import Model
from onnx_ig.loading.shape_facts import infer

# Whether they treat examples apart depends on the data, so agreement on some data is no evidence for other data.
# fmt: off
_DATA_DEPENDENT = frozenset((
    "Bernoulli", "Compress", "DynamicQuantizeLinear", "If", "Loop", "Multinomial", "NonMaxSuppression", "NonZero",
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Scan", "SequenceMap", "Unique",
))
# fmt: on


def with_free_batch(model: Model, rows: int) -> Model | None:
    """``model`` with a symbol in place of the ``rows`` examples on axis 0 of its inputs and outputs.

    None if it has an operator that may mix examples for some data and not for other.
    """
    if any(node.op_type in _DATA_DEPENDENT for node in ir.traversal.RecursiveGraphIterator(model.ir_model.graph)):
        return None
    freed = model.clone_ir()
    graph = freed.graph
    for value in (*graph.inputs, *graph.outputs):
        if value.shape is not None and len(value.shape) and value.shape[0] == rows:
            value.shape = ir.Shape([BATCH, *value.shape[1:]])
    declared = {y: y.shape for y in graph.outputs}
    op = OpBuilder(graph)
    for node in list(graph):
        known = _free(node, rows)
        for y in node.outputs:
            y.shape = None
        op.infer(node)
        if known is not None:
            node.outputs[0].shape = ir.Shape(known)
    for y, shape in declared.items():
        y.shape = shape
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(freed)
    infer(freed)
    return replace(model, ir_model=freed)


def _free(node: ir.Node, rows: int) -> list[int | str | None] | None:
    """Let constants among the node's inputs that hold the number of examples follow the data.

    Returns:
        The output's dimensions where inference would not find them.
    """
    rule = _RULES.get(node.op_type)
    return None if rule is None else rule(node, rows)


def _free_expand(node: ir.Node, rows: int) -> None:
    x, target = optional(node, 0), constant(optional(node, 1))
    axis = None if x is None else _moving_axis(x)
    if x is None or x.shape is None or target is None or axis is None:
        return
    place = axis + len(target) - len(x.shape)
    if place >= 0 and target[place] == rows:
        _give(node, 1, [*target[:place], 1, *target[place + 1 :]])  # what is there already stays


def _free_resize(node: ir.Node, rows: int) -> list[int | str | None] | None:
    x, sizes = given(node, 0), constant(optional(node, 3))
    if sizes is None or _moving_axis(x) != 0 or "axes" in node.attributes:
        return None
    rest = integers(node, sizes[1:])
    assert rest is not None
    node.replace_input_with(3, insert_before(node, "Concat", [_length(node, x, 0), rest], axis=0))
    return [BATCH, *(int(d) for d in sizes[1:])]


def _free_concat(node: ir.Node, rows: int) -> None:
    """A class token of one example is repeated for each."""
    parts = [v for v in node.inputs if v is not None]
    batched = next((v for v in parts if _moving_axis(v) == 0), None)
    rank = None if batched is None or batched.shape is None else len(batched.shape)
    if batched is None or rank is None or rows != 1 or attr_int(node, "axis", 0) % rank == 0:
        return
    for i, other in enumerate(parts):
        if _moving_axis(other) is None:  # it stays if it is as long already
            node.replace_input_with(i, _expanded(node, other, batched, 0, rank))


def _free_states(node: ir.Node, rows: int) -> None:
    """The initial states of a recurrent layer."""
    x = optional(node, 0)
    if x is None or _moving_axis(x) != 1:
        return
    for i in (5, 6):
        state = optional(node, i)
        if state is not None and _moving_axis(state) is None:
            node.replace_input_with(i, _expanded(node, state, x, 1, 3))


def _moving_axis(x: ir.Value) -> int | None:
    """The axis of ``x`` whose length goes with the number of examples."""
    dims = () if x.shape is None else x.shape
    return next((i for i, d in enumerate(dims) if not isinstance(d, int) and str(d.value).startswith(BATCH)), None)


def _free_reshape(node: ir.Node, rows: int) -> list[int | str | None] | None:
    """Write every size of the fixed output into the target but that of the axis where the examples arrive.

    This is the axis before which there are as many elements as before the examples in the input.
    """
    x, y = optional(node, 0), node.outputs[0]
    axis = None if x is None else _moving_axis(x)
    if x is None or x.shape is None or axis is None or y.shape is None:
        return None
    if not all(isinstance(d, int) and d for d in y.shape):
        return None
    sizes, before = [int(d) for d in y.shape if isinstance(d, int)], [d for d in x.shape[:axis] if isinstance(d, int)]
    if len(before) != axis:
        return None
    places = [i for i in range(len(sizes)) if math.prod(sizes[:i]) == math.prod(before)]
    if not places:
        return None
    place = places[0]
    _give(node, 1, [*sizes[:place], -1, *sizes[place + 1 :]])
    set_attributes(node, allowzero=0)
    moving = BATCH if sizes[place] == rows else f"{BATCH}_{sizes[place]}"
    return [*sizes[:place], moving, *sizes[place + 1 :]]


def _give(node: ir.Node, index: int, target: list[int]) -> None:
    value = integers(node, target)
    assert value is not None
    value.const_value = ir.tensor(np.array(target, np.int64))
    node.replace_input_with(index, value)


def _length(node: ir.Node, x: ir.Value, axis: int) -> ir.Value:
    return insert_before(node, "Shape", [x], start=axis, end=axis + 1)


def _expanded(node: ir.Node, value: ir.Value, like: ir.Value, axis: int, rank: int) -> ir.Value:
    """``value``, one along ``axis``, repeated there as often as ``like`` is long."""
    ones = [integers(node, [1] * n) for n in (axis, rank - axis - 1)]
    before, after = (x for x in ones if x is not None)
    shape = insert_before(node, "Concat", [before, _length(node, like, axis), after], axis=0)
    made = insert_before(node, "Expand", [value, shape])
    made.type = value.type
    if value.shape is not None and like.shape is not None:
        made.shape = ir.Shape([like.shape[axis] if i == axis else d for i, d in enumerate(value.shape)])
    return made


_RULES: dict[str, Callable[[ir.Node, int], list[int | str | None] | None]] = {
    "Reshape": _free_reshape,
    "Expand": _free_expand,
    "Resize": _free_resize,
    "Concat": _free_concat,
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _free_states),
}
