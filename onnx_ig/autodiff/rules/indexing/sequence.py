"""Sequences and optionals are taken apart before the reverse walk: reads become reads of the tensors put in.

A sequence is a list of tensors as soon as the positions at which it is changed are constants, and then no cotangent
ever has to be a sequence. What stays unknown until run time is refused, and only if it lies on the way back.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, preparation, vjp
from onnx_ig.graph.builder import OpBuilder, rank_of, same_shape
from onnx_ig.graph.node import attr_int, constant, given, optional, refuse
from onnx_ig.graph.shapes import cut
from onnx_ig.graph.sizes import Size, from_front, minus, plus, size, times

_PIECES = "onnx_ig.pieces"
Replacement = list[ir.Value | None] | None


@vjp(
    *("SequenceConstruct", "SequenceInsert", "SequenceErase", "SplitToSequence", "SequenceMap", "Optional"),
    *("SequenceAt", "ConcatFromSequence", "OptionalGetElement"),
)
def unknown_until_run_time(op: OpBuilder, node: ir.Node, *dys: ir.Value | None) -> Cotangents:
    """What the rewritings below could not take apart.

    Raises:
        NotDifferentiableError: always.
    """
    raise refuse(
        node,
        "the tensors of the sequence, their number or the position is only known at run time, or the sequence itself "
        "is an input, an output or the state of a loop",
        "Give the inputs' shapes, make the positions and the numbers of steps constants, let both branches of an If "
        "make sequences of one length, or attribute at a tensor after this node (--at)",
    )


@preparation("SequenceAt")
def sequence_at(op: OpBuilder, node: ir.Node) -> Replacement:
    """The tensor at ``position``; at run time a Gather from tensors of one shape, or a piece of what was split."""
    sequence, position = given(node, 0), given(node, 1)
    tensors, known = tensors_in(op, sequence), constant(position)
    if tensors is not None and known is not None:
        place = int(known.ravel()[0])
        return [op.Identity(tensors[place])] if -len(tensors) <= place < len(tensors) else None
    if tensors:
        if not all(same_shape(tensors[0], x) for x in tensors[1:]):
            return None
        stacked = op.Concat(*(op.Unsqueeze(x, [0]) for x in tensors), axis=0)
        return [op.Gather(stacked, op.Reshape(position, op.constant(np.zeros(0, np.int64))), axis=0)]
    source = _origin(sequence)
    return None if source is None or source.op_type != "SplitToSequence" else _piece(op, source, position)


@preparation("ConcatFromSequence")
def concat_from_sequence(op: OpBuilder, node: ir.Node) -> Replacement:
    """Concat of the tensors, each with a new axis if asked for; or all of what was split, put together as it was."""
    axis, new_axis = attr_int(node, "axis", 0), attr_int(node, "new_axis", 0)
    tensors, source = tensors_in(op, given(node, 0)), _origin(given(node, 0))
    if tensors:
        return [op.Concat(*(op.Unsqueeze(x, [axis]) if new_axis else x for x in tensors), axis=axis)]
    if tensors is not None or source is None or source.op_type != "SplitToSequence":
        return None
    data, along = given(source, 0), attr_int(source, "axis", 0)
    if (along == axis) and bool(new_axis) == _drops_axis(source):
        return [op.Identity(data)]
    rank = rank_of(data)
    return None if rank is None or not _drops_axis(source) else [_joined(op, data, along, axis, rank, bool(new_axis))]


def _joined(op: OpBuilder, data: ir.Value, along: int, axis: int, rank: int, new_axis: bool) -> ir.Value:
    """The slices of ``data`` along an axis, stacked along another one, or one behind the other along it."""
    axis %= rank if new_axis else rank - 1
    order = [i for i in range(rank) if i != along % rank]
    turned = op.Transpose(data, perm=[*order[:axis], along % rank, *order[axis:]])
    if new_axis:
        return turned
    dims = [op.dim(turned, i) for i in range(rank)]
    shape = op.Concat(*dims[:axis], op.Mul(dims[axis], dims[axis + 1]), *dims[axis + 2 :], axis=0)
    return op.Reshape(turned, shape, allowzero=1)


@preparation("SequenceMap")
def sequence_map(op: OpBuilder, node: ir.Node) -> Replacement:
    """The body once for each tensor of the sequences; tensors given beside them are the same each time."""
    body = node.attributes["body"].as_graph()
    actuals = [x for x in node.inputs if x is not None]
    lists = [tensors_in(op, x) if i == 0 or isinstance(x.type, ir.SequenceType) else x for i, x in enumerate(actuals)]
    if any(x is None for x in lists) or not lists[0] or any(not _plain(inner) for inner in body):
        return None
    count = len(lists[0]) if isinstance(lists[0], list) else 0
    made: list[list[ir.Value]] = [[] for _ in body.outputs]
    for i in range(count):
        values: dict[ir.Value, ir.Value] = {}
        for formal, actual in zip(body.inputs, lists, strict=True):
            element = actual[i] if isinstance(actual, list) else actual
            assert element is not None
            values[formal] = element
        for inner in body:
            inputs = [None if x is None else values.get(x, x) for x in inner.inputs]
            results = op.add_node(inner.op_type, inputs, dict(inner.attributes), len(inner.outputs))
            values.update(zip(inner.outputs, results, strict=True))
        for results_of_one, y in zip(made, body.outputs, strict=True):
            results_of_one.append(values.get(y, y))
    return [op.SequenceConstruct(*tensors) for tensors in made]


@preparation("OptionalGetElement")
def optional_get_element(op: OpBuilder, node: ir.Node) -> Replacement:
    """What was wrapped, or the input itself if it is no optional."""
    x = given(node, 0)
    producer = x.producer()
    if producer is not None and producer.op_type == "Optional":
        return [op.Identity(given(producer, 0))] if optional(producer, 0) is not None else None
    return [op.Identity(x)] if isinstance(x.type, (ir.TensorType, ir.SequenceType)) else None


def _plain(node: ir.Node) -> bool:
    """Whether the node is of the default domain and has no body of its own."""
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return node.domain in ("", "ai.onnx") and all(a.type not in graphs for a in node.attributes.values())


def _origin(sequence: ir.Value) -> ir.Node | None:
    """The node that made the sequence, seen through operators that hand it on."""
    node = sequence.producer()
    while node is not None and node.op_type in ("Identity", "Optional", "OptionalGetElement"):
        inner = optional(node, 0)
        node = None if inner is None else inner.producer()
    return node


def tensors_in(op: OpBuilder, sequence: ir.Value) -> list[ir.Value] | None:
    """The tensors of the sequence in order, None where that is only known at run time."""
    node = _origin(sequence)
    if node is None:
        return None
    if node.op_type == "SequenceEmpty":
        return []
    if node.op_type == "SequenceConstruct":
        return [x for x in node.inputs if x is not None]
    if node.op_type == "SplitToSequence":
        return _pieces(op, node)
    if node.op_type not in ("SequenceInsert", "SequenceErase"):
        return None
    tensors = tensors_in(op, given(node, 0))
    inserts = node.op_type == "SequenceInsert"
    position = optional(node, 2 if inserts else 1)
    known = constant(position)
    if tensors is None or (position is not None and known is None):
        return None
    last = len(tensors) if inserts else len(tensors) - 1
    place = last if known is None else int(known.ravel()[0])
    place = place + len(tensors) if place < 0 else place
    if not 0 <= place <= last:
        return None
    return [*tensors[:place], *([given(node, 1)] if inserts else []), *tensors[place + (not inserts) :]]


def _drops_axis(node: ir.Node) -> bool:
    """Whether the pieces of SplitToSequence lack the axis: keepdims counts only where no sizes are given."""
    return optional(node, 1) is None and not attr_int(node, "keepdims", 1)


def _pieces(op: OpBuilder, node: ir.Node) -> list[ir.Value] | None:
    """The pieces of SplitToSequence as the outputs of one Split beside it, None where their number is not known."""
    if _PIECES in node.meta:
        return list(node.meta[_PIECES])
    data, axis, split = given(node, 0), attr_int(node, "axis", 0), optional(node, 1)
    known, length = constant(split), None if rank_of(data) is None else size(op, data, axis)
    if split is not None and known is None:
        return None
    if known is not None and known.ndim == 1:
        lengths = [int(n) for n in known]
    elif isinstance(length, int):
        step = 1 if known is None else int(known)
        lengths = [min(step, length - start) for start in range(0, length, step)]
    else:
        return None
    graph, last = op.graph, op.graph[-1]
    made = op.add_node("Split", [data, op.constant(np.array(lengths, np.int64))], {"axis": axis}, len(lengths))
    pieces = [op.Squeeze(piece, [axis]) for piece in made] if _drops_axis(node) else list(made)
    added: list[ir.Node] = []
    while graph[-1] is not last:
        added.insert(0, graph[-1])
        graph.remove(added[0])
    home = node.graph
    assert home is not None
    home.insert_after(node, added)  # later readers may stand before the one that asked first
    node.meta[_PIECES] = pieces
    return pieces


def _piece(op: OpBuilder, node: ir.Node, position: ir.Value) -> Replacement:
    """Piece ``position`` of SplitToSequence into parts of equal size, whatever their number."""
    data, axis, split = given(node, 0), attr_int(node, "axis", 0), optional(node, 1)
    if split is not None and rank_of(split) != 0:
        return None
    known, place = constant(split), constant(position)
    step: Size = (
        1 if split is None else op.Unsqueeze(op.Cast(split, to=ir.DataType.INT64), [0]) if known is None else int(known)
    )
    where: Size = op.Cast(op.Reshape(position, [1]), to=ir.DataType.INT64) if place is None else int(place.ravel()[0])
    length = size(op, data, axis)
    if not isinstance(where, int) or where < 0:
        rounded_up = plus(op, length, minus(op, step, 1))
        count = (
            rounded_up // step if isinstance(rounded_up, int) and isinstance(step, int) else op.Div(rounded_up, step)
        )
        where = from_front(op, where, count)
    piece = cut(op, data, axis, times(op, where, step), times(op, plus(op, where, 1), step))
    return [op.Squeeze(piece, [axis]) if _drops_axis(node) else piece]
