"""The adjoint of a body that runs step by step: the same steps from the last that ran back to the first.

The one idea: the reverse walk runs once, on the body's own nodes; then each value of the body that the adjoint reads is
either kept from the forward steps (one more stacked output of the forward node) or, where it may change its shape or
does not change at all from step to step, recomputed from what is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.reverse import dependents, pull_back
from onnx_ig.autodiff.rules.loops.bodies import Slices, Steps, shape_copy
from onnx_ig.graph.builder import OpBuilder, same_shape
from onnx_ig.graph.copying import Copy
from onnx_ig.graph.node import known_rank
from onnx_ig.graph.reading import all_dependents, captured_by, is_float
from onnx_ig.graph.scan import return_values, stacked

_LOOP_INPUTS = (("step", ir.DataType.INT64), ("go_on", ir.DataType.BOOL))


@dataclass(frozen=True)
class _Feed:
    """One sequence that the reverse steps read."""

    value: ir.Value
    axis: int = 0
    backwards: int = 1


@dataclass(frozen=True)
class _Walk:
    """The body of the reverse steps, and what its inputs and outputs are cotangents of, in order.

    Attributes:
        carried: places of the states whose cotangent goes from step to step; ``like``: tensors of their shapes.
        captured: what is read from outside, whose cotangents are added up over the steps.
        read: sequences whose slices have a cotangent each.
        written: sequences with a cotangent, which the steps read.
    """

    reverse: OpBuilder
    carried: list[int]
    like: list[ir.Value]
    captured: list[ir.Value]
    read: list[Slices]
    written: list[tuple[Slices, ir.Value]]


def adjoint_steps(
    op: OpBuilder, node: ir.Node, steps: Steps, dys: Sequence[ir.Value | None], wanted: Sequence[ir.Value]
) -> dict[ir.Value, ir.Value]:
    """Cotangents of the tensors of ``wanted`` (inputs of the node and what its body reads from outside)."""
    count = len(steps.states) + len(steps.written)
    dys = [*dys, *[None] * (count - len(dys))]
    _name_outputs(op, node, count)
    walk = _walk(op, steps, dys, wanted)
    fed = [_Feed(dy, s.axis, 1 - s.backwards) for s, dy in walk.written]
    fed += _resolve(op, node, steps, walk.reverse, list(steps.body), fed)
    ends = [end if (end := dys[i]) is not None else op.zeros_like(node.outputs[i]) for i in walk.carried]
    starts = [*ends, *(op.zeros_like(v) for v in walk.captured)]
    if steps.counter is None:
        made = _scan_back(op, node, walk.reverse, starts, fed, walk.read)
    else:
        made = _loop_back(op, walk.reverse, starts, fed)
    return _by_source(op, steps, walk, made)


def _walk(op: OpBuilder, steps: Steps, dys: Sequence[ir.Value | None], wanted: Sequence[ir.Value]) -> _Walk:
    """The reverse walk of the body: from the cotangents after a step to those before it."""
    captured = [v for v in captured_by(steps.body) if v in wanted and is_float(v)]
    read = [s for s in steps.read if s.outer in wanted and is_float(s.inner)]
    carried = _carried(steps, dys, [*captured, *(s.inner for s in read)], wanted)
    reverse = op.subgraph("adjoint_step", [])
    # a state that is only written has its shape from the steps, and its initial value no part in them
    like = [steps.states[i] if steps.is_read(i) else steps.next_states[i] for i in carried]
    after = [_added_input(op, reverse, v) for v in like]
    sums = [_added_input(op, reverse, v) for v in captured]
    written = [(s, dy) for s, dy in zip(steps.written, dys[len(steps.states) :], strict=True) if dy is not None]
    seeds: dict[ir.Value, ir.Value] = {}
    ends = [*zip((steps.next_states[i] for i in carried), after, strict=True)]
    for y, dy in ends + [(s.inner, _added_input(op, reverse, s.inner)) for s, _ in written]:
        seeds[y] = reverse.Add(seeds[y], dy) if y in seeds else dy
    before = [steps.states[i] for i in carried]
    grads = pull_back(reverse, list(steps.body), seeds, [*before, *(s.inner for s in read), *captured])
    captured, sums = _reached(reverse, captured, sums, grads)
    read = [s for s in read if s.inner in grads]
    results = [
        *(
            grads[v] if v in grads else reverse.zeros_like(v if steps.is_read(i) else dy)
            for i, v, dy in zip(carried, before, after, strict=True)
        ),
        *(reverse.Add(total, grads[v]) for v, total in zip(captured, sums, strict=True)),
        *(grads[s.inner] for s in read),
    ]
    for result, v in zip(results, [*like, *captured, *(s.inner for s in read)], strict=True):
        result.type, result.shape = result.type or v.type, result.shape or shape_copy(v)
    return_values(reverse, results)
    return _Walk(reverse, carried, like, captured, read, written)


def _by_source(op: OpBuilder, steps: Steps, walk: _Walk, made: Sequence[ir.Value]) -> dict[ir.Value, ir.Value]:
    """The cotangents that the reverse steps ``made``, by what they are of, summed where that was given twice."""
    initial = [
        steps.initial[i] if steps.is_read(i) or same_shape(steps.initial[i], v) else None  # of another shape: no part
        for i, v in zip(walk.carried, walk.like, strict=True)
    ]
    cotangents: dict[ir.Value, ir.Value] = {}
    for source, cotangent in zip([*initial, *walk.captured, *(s.outer for s in walk.read)], made, strict=True):
        if source is not None:
            cotangent.type, cotangent.shape = source.type, shape_copy(source)
            cotangents[source] = op.Add(cotangents[source], cotangent) if source in cotangents else cotangent
    return cotangents


def _scan_back(
    op: OpBuilder,
    node: ir.Node,
    reverse: OpBuilder,
    starts: list[ir.Value],
    walked: list[_Feed],
    emitted: list[Slices],
) -> Sequence[ir.Value]:
    """The Scan that runs the reverse body over ``walked`` and writes the cotangents of the sequences ``emitted``."""
    for v in (*starts, *(s.inner for s in emitted)):
        known_rank(node, v)  # runtimes want it of whatever a Scan takes and gives
    attributes = {
        "body": reverse.graph,
        "num_scan_inputs": len(walked),
        "scan_input_axes": [feed.axis for feed in walked],
        "scan_input_directions": [feed.backwards for feed in walked],
        "scan_output_axes": ir.AttrInt64s("scan_output_axes", [s.axis for s in emitted]),  # which may be none
        "scan_output_directions": ir.AttrInt64s("scan_output_directions", [1 - s.backwards for s in emitted]),
    }
    return op.add_node("Scan", [*starts, *(feed.value for feed in walked)], attributes, len(reverse.graph.outputs))


def _loop_back(op: OpBuilder, reverse: OpBuilder, starts: list[ir.Value], walked: list[_Feed]) -> Sequence[ir.Value]:
    """The same as a Loop, which unlike Scan may take no step at all: step k reads place T − 1 − k of each sequence."""
    count = op.Squeeze(op.dim(walked[-1].value, 0), [0])
    last, proceed = op.Sub(count, op.constant(np.array(1, np.int64))), op.constant(np.array(True))
    body = reverse.graph
    step, go_on = (ir.Value(name=op.fresh(name), type=ir.TensorType(t), shape=ir.Shape([])) for name, t in _LOOP_INPUTS)
    slices = body.inputs[len(starts) :]
    del body.inputs[len(starts) :]
    body.inputs[:0] = [step, go_on]
    place = ir.Value(name=op.fresh("place"), type=step.type, shape=ir.Shape([]))
    added = [ir.Node("", "Sub", [last, step], outputs=[place])]
    for feed, inner in zip(walked, slices, strict=True):
        added.append(ir.Node("", "Gather", [feed.value, place], [ir.AttrInt64("axis", 0)], outputs=[inner]))
    body.insert_before(body[0], added)
    outputs = list(body.outputs)
    body.outputs.clear()
    return_values(reverse, [go_on, *outputs])
    return op.add_node("Loop", [count, proceed, *starts], {"body": body}, len(outputs))


def _carried(
    steps: Steps, dys: Sequence[ir.Value | None], roots: Sequence[ir.Value], wanted: Sequence[ir.Value]
) -> list[int]:
    """The states with a cotangent that is not zero by nature and that something wanted depends on."""
    nodes, n = list(steps.body), len(steps.states)
    moved = {i for i in range(n) if steps.initial[i] in wanted}
    while True:
        reached = dependents(nodes, [*roots, *(steps.states[i] for i in moved)])
        more = {i for i in range(n) if steps.next_states[i] in reached and is_float(steps.states[i])} - moved
        if not more:
            break
        moved |= more
    ends = {steps.next_states[i] for i in range(n) if dys[i] is not None}
    ends |= {s.inner for s, dy in zip(steps.written, dys[n:], strict=True) if dy is not None}
    alive = {i for i in range(n) if dys[i] is not None}
    influence = [dependents(nodes, [state]) for state in steps.states]
    while more := {i for i in range(n) if influence[i] & ends} - alive:
        alive |= more
        ends |= {steps.next_states[i] for i in more}
    return sorted(moved & alive)


def _reached(
    reverse: OpBuilder, captured: list[ir.Value], sums: list[ir.Value], grads: dict[ir.Value, ir.Value]
) -> tuple[list[ir.Value], list[ir.Value]]:
    """Those of ``captured`` that have a cotangent, with their sums; the others' inputs leave the body."""
    kept = [(v, total) for v, total in zip(captured, sums, strict=True) if v in grads]
    for v, total in zip(captured, sums, strict=True):
        if v not in grads:
            reverse.graph.inputs.remove(total)
    return [v for v, _ in kept], [total for _, total in kept]


def _resolve(
    op: OpBuilder, node: ir.Node, steps: Steps, reverse: OpBuilder, nodes: list[ir.Node], walked: list[_Feed]
) -> list[_Feed]:
    """Give the reverse body what it reads of the forward body's values; returns what to feed it besides ``walked``."""
    own = {*steps.body.inputs, *(y for n in nodes for y in n.outputs)}
    read = [v for v in captured_by(reverse.graph) if v in own]
    varying = all_dependents(nodes, steps.body.inputs)
    direct = [v for v in read if v in steps.body.inputs or (v in varying and _keeps_shape(steps, v))]
    recomputed = [v for v in read if v not in direct]
    if recomputed:
        direct += [v for v in _inputs_needed(recomputed, nodes, steps.body) if v not in direct]
    if not direct and not walked:  # the Scan takes its number of steps from a sequence
        direct = [steps.counter] if steps.counter is not None else [steps.read[0].inner]
    replaced = {v: _added_input(op, reverse, v) for v in direct}
    feeds = [_fed(op, node, steps, v) for v in direct]
    added = _recomputed(reverse, nodes, recomputed, replaced) if recomputed else []
    _replace(reverse.graph, replaced, skip=added)
    return feeds


def _fed(op: OpBuilder, node: ir.Node, steps: Steps, value: ir.Value) -> _Feed:
    """The sequence of a value of the body: the one it is a slice of, or what the forward steps keep of it."""
    s = next((s for s in steps.read if s.inner is value), None)
    if s is not None and s.outer is not None:
        return _Feed(s.outer, s.axis, 1 - s.backwards)
    return _Feed(_stacked(op, node, steps, value))


def _recomputed(
    reverse: OpBuilder, nodes: list[ir.Node], values: list[ir.Value], replaced: dict[ir.Value, ir.Value]
) -> list[ir.Node]:
    """Nodes, put first in the reverse body, that compute copies of ``values``, which ``replaced`` then holds too."""
    first, last = reverse.graph[0], reverse.graph[-1]
    copies = Copy(reverse, nodes, dict(replaced), whole=True).of(values)
    added: list[ir.Node] = []
    while reverse.graph[-1] is not last:
        added.insert(0, reverse.graph[-1])
        reverse.graph.remove(added[0])
    reverse.graph.insert_before(first, added)
    replaced.update(zip(values, copies, strict=True))
    return added


def _inputs_needed(values: Iterable[ir.Value], nodes: list[ir.Node], body: ir.Graph) -> list[ir.Value]:
    """The body's inputs that ``values`` are computed from."""
    return [x for x in body.inputs if all_dependents(nodes, [x]) & set(values)]


def _keeps_shape(steps: Steps, value: ir.Value) -> bool:
    """Whether the value surely has the same shape at every step."""
    if not steps.shapes_may_vary:
        return True
    if value.shape is None:
        return False
    known = {d.value for v in steps.states if v.shape is not None for d in v.shape if not isinstance(d, int)} - {None}
    return all(isinstance(d, int) or d.value in known for d in value.shape)


def _stacked(op: OpBuilder, node: ir.Node, steps: Steps, value: ir.Value) -> ir.Value:
    """The value at every step, [steps, ...]: an output that the forward node has, or one that is added to it."""
    n = len(steps.states)
    for i, s in enumerate(steps.written):
        if s.inner is value and s.axis == 0 and not s.backwards:
            return node.outputs[n + i]
    if isinstance(value.type, ir.TensorType) and value.shape is None and not steps.shapes_may_vary:
        known_rank(node, value)
    return stacked(op, node, value)


def _name_outputs(op: OpBuilder, node: ir.Node, count: int) -> None:
    """Let the node give out everything its body does."""
    if len(node.outputs) < count:
        node.resize_outputs(count)
    for y in node.outputs:
        if not y.name:
            y.name = op.fresh("steps")


def _added_input(op: OpBuilder, reverse: OpBuilder, like: ir.Value) -> ir.Value:
    value = ir.Value(name=op.fresh(f"{like.name}_step"), type=like.type, shape=shape_copy(like))
    reverse.graph.inputs.append(value)
    return value


def _replace(graph: ir.Graph, replaced: dict[ir.Value, ir.Value], skip: Iterable[ir.Node] = ()) -> None:
    """Let the graph's nodes, and those of its subgraphs, read the replacements."""
    skipped = set(skip)
    for node in ir.traversal.RecursiveGraphIterator(graph):
        if node in skipped:
            continue
        for i, x in enumerate(node.inputs):
            if x in replaced:
                node.replace_input_with(i, replaced[x])
