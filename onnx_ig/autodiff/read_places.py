"""Compute only the places of a tensor that something reads: of the last block a class token's row, not every token's.

The one idea: what a Gather or Slice takes of a tensor is demanded of the node that makes it, and so on upwards as long
as every reader demands the same places. Where the demand can go no further a Slice is put; all below it, and its
adjoint, then works on those places alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder, take_off
from onnx_ig.graph.node import attr_int, attr_ints, constant, optional
from onnx_ig.graph.reading import SURROGATE, read_by


class Cut(NamedTuple):
    """The places ``start`` ≤ i < ``stop`` along ``axis``, all counted from zero."""

    axis: int
    start: int
    stop: int


# What a node needs of each input to give a cut of its output (None: all of it); None where it needs all of every one.
_Needs = list[Cut | None] | None
# fmt: off
_POINTWISE = frozenset((
    "Abs", "Add", "And", "Cast", "Ceil", "Cos", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater",
    "HardSigmoid", "HardSwish", "Identity", "IsNaN", "LeakyRelu", "Less", "Log", "Max", "Min", "Mish", "Mul", "Neg",
    "Not", "Or", "Pow", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sin", "Softplus", "Sqrt", "Sub", "Swish", "Tanh",
    "Where",
))
# fmt: on


def narrow(op: OpBuilder, kept: Collection[ir.Value]) -> None:
    """Narrow the main graph's tensors to what is read of them, in place; those of ``kept`` and the outputs stay whole,
    and those whose derivative is another tensor's of the same shape.

    Only along axes of known size.
    """
    graph = op.graph
    paired = [y for node in graph for y in node.outputs if SURROGATE in y.meta]
    demanded: dict[ir.Value, set[Cut | None]] = {v: {None} for v in (*graph.outputs, *kept, *paired)}
    narrowed: dict[ir.Value, Cut] = {}
    needs_of: dict[ir.Node, list[Cut | None]] = {}
    for node in reversed(graph):
        needs = _passed_on(node, demanded)
        if needs is not None:
            narrowed[node.outputs[0]] = next(cut for cut in demanded[node.outputs[0]] if cut is not None)
        needs_of[node] = needs or _taken(node) or [None] * len(node.inputs)
        for x, need in zip(node.inputs, needs_of[node], strict=True):
            if x is not None:
                demanded.setdefault(x, set()).add(need)
        for x in set(read_by(node)) - set(node.inputs):
            demanded.setdefault(x, set()).add(None)
    slices: dict[tuple[ir.Value, Cut], ir.Value] = {}
    for node in list(graph) if narrowed else []:
        last = graph[-1]
        y = node.outputs[0]
        if y in narrowed:
            for i, (x, need) in enumerate(zip(node.inputs, needs_of[node], strict=True)):
                if x is not None and need is not None and x not in narrowed:
                    if (x, need) not in slices:
                        slices[x, need] = op.Slice(x, [need.start], [need.stop], [need.axis])
                    node.replace_input_with(i, slices[x, need])
            _narrow_output(op, node, narrowed[y])
        elif node.inputs and node.inputs[0] in narrowed and node.op_type in _TAKES:
            _take_all(op, node, narrowed[node.inputs[0]])
        graph.insert_before(node, take_off(graph, last))


def _passed_on(node: ir.Node, demanded: dict[ir.Value, set[Cut | None]]) -> _Needs:
    """What the node needs of its inputs where all that read its output demand one and the same cut of it."""
    y = node.outputs[0]
    cuts = demanded.get(y, {None})
    rule = _RULES.get(node.op_type) if node.domain == "" else None
    cut = next(iter(cuts))
    if rule is None or len(cuts) > 1 or cut is None or y.shape is None or any(z in demanded for z in node.outputs[1:]):
        return None
    return rule(node, cut)


# -- where cuts come from -------------------------------------------------------------------------------------------

_TAKES = frozenset(("Gather", "Slice"))


def _taken(node: ir.Node) -> _Needs:
    """The cut that a Gather of one place, or a Slice along one axis, takes of its first input."""
    x = node.inputs[0] if node.op_type in _TAKES and node.domain == "" else None
    if x is None or x.shape is None:
        return None
    numbers = [constant(v) for v in node.inputs[1:]]
    if any(n is None or n.size != 1 for n in numbers):
        return None
    first, *rest = (int(n.reshape(())) for n in numbers if n is not None)
    if node.op_type == "Gather":
        axis, stop, step = attr_int(node, "axis", 0), first + 1 or None, 1
    else:
        stop, axis, step = [*rest, *(0, 1)[len(rest) - 1 :]]
    axis %= len(x.shape)
    size = x.shape[axis]
    if not isinstance(size, int) or step != 1:
        return None
    places = range(size)[first:stop]
    if not 0 < len(places) < size:
        return None
    return [Cut(axis, places[0], places[-1] + 1), *[None] * len(numbers)]


def _take_all(op: OpBuilder, node: ir.Node, cut: Cut) -> None:
    """Let a node that took ``cut`` take all of what is now only that."""
    numbers = [node.inputs[1]] if node.op_type == "Gather" else list(node.inputs[1:3])
    for i, (old, new) in enumerate(zip(numbers, (0, cut.stop - cut.start), strict=False), start=1):
        like = constant(old)
        assert like is not None
        node.replace_input_with(i, op.constant(np.full_like(like, new)))


# -- how cuts pass --------------------------------------------------------------------------------------------------


def _aligned(x: ir.Value | None, y: ir.Value, cut: Cut) -> Cut | None:
    """The cut of ``x``, which broadcasts to ``y``: None where x has not that axis, or one place on it.

    Raises:
        LookupError: the shapes do not tell.
    """
    if x is None:
        return None
    if x.shape is None or y.shape is None:
        raise LookupError
    axis = cut.axis - len(y.shape) + len(x.shape)
    if axis < 0 or x.shape[axis] == 1:
        return None
    if not isinstance(x.shape[axis], int) or x.shape[axis] != y.shape[cut.axis]:
        raise LookupError
    return cut._replace(axis=axis)


def _pointwise(node: ir.Node, cut: Cut) -> _Needs:
    return _each_aligned(node.inputs, node.outputs[0], cut)


def _each_aligned(inputs: Sequence[ir.Value | None], y: ir.Value, cut: Cut) -> _Needs:
    try:
        return [_aligned(x, y, cut) for x in inputs]
    except LookupError:
        return None


def _matmul(node: ir.Node, cut: Cut) -> _Needs:
    a, b = node.inputs
    y = node.outputs[0]
    if a is None or b is None or any(v.shape is None or len(v.shape) < 2 for v in (a, b)):
        return None
    from_end = cut.axis - len(y.shape or ())
    if from_end == -2:
        return [cut._replace(axis=len(a.shape or ()) - 2), None]
    if from_end == -1:
        return [None, cut._replace(axis=len(b.shape or ()) - 1)]
    return _each_aligned([a, b], y, cut)


def _gemm(node: ir.Node, cut: Cut) -> _Needs:
    if cut.axis != 0:
        return None
    bias = _each_aligned(node.inputs[2:], node.outputs[0], cut)
    return None if bias is None else [cut._replace(axis=attr_int(node, "transA", 0)), None, *bias]


def _along(node: ir.Node, cut: Cut) -> _Needs:
    """Softmax mixes the places of one axis, LayerNormalization those from one axis on."""
    rank = len(node.outputs[0].shape or ())
    first = attr_int(node, "axis", -1) % rank
    mixed = range(first, rank) if node.op_type == "LayerNormalization" else (first,)
    return None if cut.axis in mixed else [cut, *[None] * (len(node.inputs) - 1)]


def _reduction(node: ir.Node, cut: Cut) -> _Needs:
    axes, rank = constant(optional(node, 1)), len(node.outputs[0].shape or ())
    if (
        axes is None
        or not axes.size
        or attr_int(node, "keepdims", 1) == 0
        or cut.axis in [int(axis) % rank for axis in axes]
    ):
        return None
    return [cut, None]


def _transpose(node: ir.Node, cut: Cut) -> _Needs:
    rank = len(node.outputs[0].shape or ())
    perm = attr_ints(node, "perm") or list(range(rank))[::-1]
    return [cut._replace(axis=perm[cut.axis])]


def _reshape(node: ir.Node, cut: Cut) -> _Needs:
    """An axis that stays where it is: all up to it are the same before and after."""
    x, y = node.inputs[0], node.outputs[0]
    if x is None or x.shape is None or y.shape is None or len(x.shape) <= cut.axis:
        return None
    same = [p == q and (isinstance(p, int) or p.value is not None) for p, q in zip(x.shape, y.shape, strict=False)]
    return [cut, None] if all(same[: cut.axis + 1]) else None


def _narrow_output(op: OpBuilder, node: ir.Node, cut: Cut) -> None:
    """Give the output its new shape, and a Reshape its new target."""
    y, size = node.outputs[0], cut.stop - cut.start
    assert y.shape is not None
    y.shape = ir.Shape([size if axis == cut.axis else d for axis, d in enumerate(y.shape)])
    if node.op_type == "Reshape":
        target = node.inputs[1]
        before, after = op.Slice(target, [0], [cut.axis], [0]), op.Slice(target, [cut.axis + 1], [len(y.shape)], [0])
        node.replace_input_with(1, op.Concat(before, [size], after, axis=0))


_RULES: dict[str, Callable[[ir.Node, Cut], _Needs]] = {
    **dict.fromkeys(_POINTWISE, _pointwise),
    **dict.fromkeys(("LayerNormalization", "LogSoftmax", "Softmax"), _along),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), _reduction),
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Transpose": _transpose,
}
