"""Loops whose states change their shapes, or are sequences: written out step by step, or from the first step on.

The one idea: a state that starts as one row for all, or as a number, has its final shape after a step, and what is left
of the loop then keeps it. A loop of a known, small number of steps needs no such state: each step is written with the
shapes that it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, with_rule
from onnx_ig.autodiff.rules.indexing.sequence import tensors_in
from onnx_ig.autodiff.rules.loops.bodies import infer_body
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.copying import Copy
from onnx_ig.graph.node import constant
from onnx_ig.graph.scan import return_values

_LARGEST = 2000  # nodes, those of bodies inside it too, that a loop may be written out as
_PEELED = "onnx_ig.peeled"  # key of a Loop's ``meta``: how many steps have been put in front of it


@dataclass(frozen=True)
class _After:
    """What a step gives: whether another one follows, the states, and a slice of each scan output."""

    go_on: ir.Value
    states: list[ir.Value]
    slices: list[ir.Value]


def unrolled(op: OpBuilder, node: ir.Node) -> list[ir.Value] | None:
    """The Loop's outputs from its steps one after another; None where only a run tells their number, or they are many.

    ``scan output = Concat of the slices``, one per step.
    """
    count, initial = _count(node), node.inputs[2:]
    if count is None or count * sum(1 for _ in node.attributes["body"].as_graph().all_nodes()) > _LARGEST:
        return None
    states = [x for x in initial if x is not None]
    after = None
    slices: list[list[ir.Value]] = []
    go_on = _true(op)
    for i in range(count):
        after = _step(op, node, op.constant(np.array(i, np.int64)), go_on, states)
        states = after.states
        slices.append(after.slices)
    stacks = [op.Concat(*(op.Unsqueeze(x, [0]) for x in each), axis=0) for each in zip(*slices, strict=True)]
    return [*states, *stacks]


def appended(op: OpBuilder, node: ir.Node) -> list[ir.Value] | None:
    """The Loop's outputs where each sequence that it carries starts empty and gets a tensor at its end in each step.

    Such a sequence is the slices of a scan output. None where a sequence is carried along in another way.
    """
    body = node.attributes["body"].as_graph()
    places = [i for i, x in enumerate(node.inputs[2:]) if x is None or not isinstance(x.type, ir.TensorType)]
    for i in places:
        state, after, initial = body.inputs[2 + i], body.outputs[1 + i], node.inputs[2 + i]
        made = after.producer()
        if initial is None or made is None or made.op_type != "SequenceInsert" or made.inputs[0] is not state:
            return None
        if any(x is not None for x in made.inputs[2:]) or len(state.uses()) > 1 or after.uses():
            return None
        if any([*body.outputs].count(v) > (v is after) for v in (state, after)) or tensors_in(op, initial) != []:
            return None
    Copy(op, [node], {}, whole=True).of(list(node.outputs))
    copy = op.graph[-1]
    op.graph.remove(copy, safe=False)
    _forget_shapes(copy)
    inner = copy.attributes["body"].as_graph()
    added: list[ir.Value] = []
    for i in reversed(places):
        made = inner.outputs[1 + i].producer()
        assert made is not None and made.inputs[1] is not None
        added.insert(0, made.inputs[1])
        del inner.outputs[1 + i]
        inner.remove(made, safe=True)
        del inner.inputs[2 + i]
    return_values(OpBuilder(inner, parent=op), added)
    kept = [x for i, x in enumerate(node.inputs) if i - 2 not in places]
    if len(kept) == 2 and kept[1] is None:
        kept[1] = _true(op)  # a Loop has two inputs at least, and the last one of a node cannot be left out
    made_values = list(op.add_node("Loop", kept, {"body": inner}, len(node.outputs)))
    stacks = made_values[len(made_values) - len(places) :]
    results = made_values[: len(made_values) - len(places)]
    for i, stack, value in zip(places, stacks, added, strict=True):
        stack.type = value.type
        results.insert(i, op.SplitToSequence(stack, axis=0, keepdims=0))
    return results


def peelings(node: ir.Node) -> int:
    """How many steps have been put in front of a Loop."""
    return int(node.meta.get(_PEELED, 0))


def peeled(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """The Loop's outputs from its first step, and a Loop of the others behind it.

    Where only a run tells whether there is a first step, that is the branch of an If. The other gives the initial
    states, and the empty scan outputs of a Loop that takes no step, of which nothing has a derivative.
    """
    runs = _runs(op, node)
    if runs is None:
        return _first_and_rest(op, node)
    first, none = op.subgraph("steps", []), op.subgraph("no_step", [])
    return_values(first, _first_and_rest(first, node))
    n = len(node.inputs) - 2
    return_values(none, [x for x in node.inputs[2:] if x is not None])
    if len(node.outputs) > n:
        stopped = _copy_of_loop(none, node, [*node.inputs])
        with_rule(stopped, _no_cotangents)
        return_values(none, [none.zeros_like(y) for y in stopped.outputs[n:]])
    made = op.add_node("If", [runs], {"then_branch": first.graph, "else_branch": none.graph}, len(node.outputs))
    for y, old, one in zip(made, node.outputs, first.graph.outputs, strict=False):
        y.type, y.shape = old.type or one.type, old.shape
    return list(made)


def _no_cotangents(op: OpBuilder, node: ir.Node, *dys: ir.Value | None) -> Cotangents:
    """Of a Loop that takes no step: its scan outputs are empty."""
    return {}


def _count(node: ir.Node) -> int | None:
    """The number of steps of the Loop, where the graph tells it: one or more."""
    trips, proceed = (constant(x) for x in node.inputs[:2])
    if trips is None or int(trips.ravel()[0]) < 1 or not _goes_on(node):
        return None
    if node.inputs[1] is not None and (proceed is None or not proceed.ravel()[0]):
        return None
    return int(trips.ravel()[0])


def _goes_on(node: ir.Node) -> bool:
    """Whether no step ends the loop: each gives back the condition that it is given, or a constant that is true."""
    body = node.attributes["body"].as_graph()
    value = body.outputs[0]
    while (producer := value.producer()) is not None and producer.op_type == "Identity":
        source = producer.inputs[0]
        assert source is not None
        value = source
    known = constant(value)
    return value is body.inputs[1] or (known is not None and bool(known.ravel()[0]))


def _runs(op: OpBuilder, node: ir.Node) -> ir.Value | None:
    """Whether the Loop takes a step at all; None where it surely does."""
    trips, proceed = node.inputs[:2]
    asked = []
    known = constant(trips)
    if trips is not None and (known is None or int(known.ravel()[0]) < 1):
        asked.append(op.Greater(_scalar(op, trips), op.constant(np.array(0, np.int64))))
    known = constant(proceed)
    if proceed is not None and (known is None or not known.ravel()[0]):
        asked.append(_scalar(op, proceed))
    return None if not asked else asked[0] if len(asked) == 1 else op.And(*asked)


def _first_and_rest(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    n = len(node.inputs) - 2
    start = [x for x in node.inputs[2:] if x is not None]
    first = _step(op, node, op.constant(np.array(0, np.int64)), _true(op), start)
    trips = node.inputs[0]
    left = None if trips is None else op.Sub(_scalar(op, trips), op.constant(np.array(1, np.int64)))
    rest = _copy_of_loop(op, node, [left, first.go_on, *first.states])
    rest.meta[_PEELED] = peelings(node) + 1
    body = rest.attributes["body"].as_graph()
    step = body.inputs[0]
    later = ir.node("Add", [step, op.constant(np.array(1, np.int64))])
    later.outputs[0].name, later.outputs[0].type, later.outputs[0].shape = op.fresh("step"), step.type, ir.Shape([])
    _replace_in(op, body, step, later.outputs[0])
    if len(body):
        body.insert_before(body[0], [later])
    else:  # it hands its states on as they are
        body.append(later)
    stacks = []
    for one, others in zip(first.slices, rest.outputs[n:], strict=False):
        # a Loop of no further step has empty slices of whatever shape
        shape = op.Concat(op.Shape(others, start=0, end=1), op.Shape(one), axis=0)
        stacks.append(op.Concat(op.Unsqueeze(one, [0]), op.Reshape(others, shape, allowzero=1), axis=0))
    return [*rest.outputs[:n], *stacks]


def _step(op: OpBuilder, node: ir.Node, step: ir.Value, go_on: ir.Value, states: Sequence[ir.Value]) -> _After:
    """One step of the Loop in op's graph, its shapes inferred from those of the states."""
    body = node.attributes["body"].as_graph()
    results = _copied(op, body, dict(zip(body.inputs, [step, go_on, *states], strict=True)))
    n = len(states)
    return _After(results[0], results[1 : 1 + n], results[1 + n :])


def branch_taken(op: OpBuilder, node: ir.Node) -> list[ir.Value] | None:
    """The nodes of the branch that an If of a constant condition takes; None where only a run tells the condition."""
    condition = constant(node.inputs[0])
    if condition is None:
        return None
    name = "then_branch" if condition.ravel()[0] else "else_branch"
    return _copied(op, node.attributes[name].as_graph(), {})


def _copied(op: OpBuilder, body: ir.Graph, replaced: Mapping[ir.Value, ir.Value]) -> list[ir.Value]:
    """The body's outputs in op's graph, with shapes as they are there; constants are folded, and decisions by them."""
    values = dict(replaced)
    for inner in body:
        inputs = [None if x is None else values.get(x, x) for x in inner.inputs]
        if not has_bodies(inner) and inner.domain in ("", "ai.onnx"):
            made: Sequence[ir.Value] = op.add_node(inner.op_type, inputs, dict(inner.attributes), len(inner.outputs))
        else:
            Copy(op, [inner], values, whole=True).of(list(inner.outputs))
            copy = op.graph[-1]
            _forget_shapes(copy)
            infer_body(op, [copy])
            made = list(copy.outputs)
            if inner.op_type == "If" and (taken := branch_taken(op, copy)) is not None:
                made = taken
        values.update(zip(inner.outputs, made, strict=True))
    return [values.get(y, y) for y in body.outputs]


def _copy_of_loop(op: OpBuilder, node: ir.Node, inputs: Sequence[ir.Value | None]) -> ir.Node:
    """The Loop with other inputs, in op's graph; nothing is taken to be known of its shapes."""
    Copy(op, [node], {}, whole=True).of(list(node.outputs))
    copy = op.graph[-1]
    for i, x in enumerate(inputs):
        copy.replace_input_with(i, x)
    _forget_shapes(copy)
    return copy


def _forget_shapes(node: ir.Node) -> None:
    """Let the shapes of what a node computes, in its bodies too, be inferred again."""
    for y in node.outputs:
        y.shape = None
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            body = attribute.as_graph()
            for x in body.inputs[2 if node.op_type == "Loop" else 0 :]:
                x.shape = None
            for inner in body:
                _forget_shapes(inner)


def _replace_in(op: OpBuilder, body: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    """Let the nodes of the body, those of bodies inside it, and its outputs read ``new``."""
    for node in body.all_nodes():
        for i, x in enumerate(node.inputs):
            if x is old:
                node.replace_input_with(i, new)
    for i, y in enumerate(body.outputs):
        if y is old:
            copy = ir.node("Identity", [new])  # runtimes require that no two outputs are one value
            copy.outputs[0].name, copy.outputs[0].type, copy.outputs[0].shape = op.fresh("step"), new.type, ir.Shape([])
            body.append(copy)
            body.outputs[i] = copy.outputs[0]


def has_bodies(node: ir.Node) -> bool:
    """Whether the node has bodies."""
    return any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values())


def _scalar(op: OpBuilder, x: ir.Value) -> ir.Value:
    return x if x.shape is not None and len(x.shape) == 0 else op.Reshape(x, op.constant(np.zeros(0, np.int64)))


def _true(op: OpBuilder) -> ir.Value:
    return op.constant(np.array(True))
