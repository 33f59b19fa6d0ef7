"""VJP rules of If, Loop and Scan: the adjoint of a body is a body.

The one idea: the reverse walk runs on the body's own nodes; whatever it reads of the body's values is recomputed (If)
or kept from the forward steps (Loop, Scan: see :mod:`onnx_ig.autodiff.rules.loops.adjoint`). Tensors that a body
reads from outside have cotangents too.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.registry import preparation, vjp
from onnx_ig.autodiff.reverse import pull_back
from onnx_ig.autodiff.rules.indexing.sequence import tensors_in
from onnx_ig.autodiff.rules.loops.adjoint import adjoint_steps
from onnx_ig.autodiff.rules.loops.bodies import (
    carries_tensors,
    infer_body,
    infer_steps,
    may_fit,
    refuse_changes,
    settles,
    steps_of,
)
from onnx_ig.autodiff.rules.loops.unrolling import appended, branch_taken, peeled, peelings, unrolled
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.copying import Copy
from onnx_ig.graph.reading import is_float
from onnx_ig.graph.scan import return_values

_Mapping = dict[ir.Value, ir.Value]


@vjp("If", selective=True)
def branches(op: OpBuilder, node: ir.Node, *dys: ir.Value | None, wanted: list[ir.Value]) -> _Mapping:
    """y = then(v) or else(v), v read from outside:  dv = the same condition's branch of their two VJPs.

    Each branch recomputes the values that its adjoint needs; a tensor that only the other branch reads gets zeros.
    Branches may give other numbers of axes: in the one that is run, dy has those of its y.
    """
    sinks = [v for v in wanted if is_float(v)]
    made: dict[str, tuple[OpBuilder, _Mapping]] = {}
    for name in ("then_branch", "else_branch"):
        branch = node.attributes[name].as_graph()
        body = op.subgraph(f"adjoint_{name}", [])
        copy = Copy(body, list(branch), {}, whole=True)
        ends = [(y, dy) for y, dy in zip(branch.outputs, dys, strict=False) if dy is not None]
        seeds: _Mapping = {}
        for y, (_, dy) in zip(copy.of([y for y, _ in ends]), ends, strict=True):
            dy = dy if may_fit(dy, y) else body.Reshape(dy, body.Shape(y), allowzero=1)
            seeds[y] = body.Add(seeds[y], dy) if y in seeds else dy
        made[name] = body, pull_back(body, list(body.graph), seeds, sinks)
    reached = [v for v in sinks if any(v in grads for _, grads in made.values())]
    if not reached:
        return {}
    for body, grads in made.values():
        return_values(body, [grads[v] if v in grads else body.zeros_like(v) for v in reached])
    graphs = {name: body.graph for name, (body, _) in made.items()}
    cotangents = op.add_node("If", [node.inputs[0]], graphs, len(reached))
    for v, cotangent in zip(reached, cotangents, strict=True):
        cotangent.type, cotangent.shape = v.type, None if v.shape is None else v.shape.copy()
    return dict(zip(reached, cotangents, strict=True))


@preparation("If")
def known_branch(op: OpBuilder, node: ir.Node) -> list[ir.Value] | None:
    """The branch that is taken, where the condition is a constant; else the tensors of sequences, where both branches
    make as many.
    """
    taken = branch_taken(op, node)
    return taken if taken is not None else _sequences_apart(op, node)


@preparation("Loop")
def loop_shapes(op: OpBuilder, node: ir.Node) -> list[ir.Value] | None:
    """Infer the shapes inside the body, taking states, whose shapes the standard leaves open, to keep theirs.

    A Loop whose states do not, or are sequences, is written out, or its first step in front of it.

    Raises:
        NotDifferentiableError: neither settles the shapes.
    """
    changing: list[int] = []
    if carries_tensors(node):
        steps = steps_of(node)
        changing = infer_steps(op, node, steps)
        if not changing:
            return None
    written_out = unrolled(op, node)
    if written_out is not None:
        return written_out
    if not carries_tensors(node) and (apart := appended(op, node)) is not None:
        return apart
    steps = steps_of(node)  # which refuses sequences
    growing = [i for i in changing if not settles(steps.states[i], steps.next_states[i])]
    if growing or peelings(node) == len(steps.states):
        raise refuse_changes(node, steps, [*growing, *changing][0])
    return peeled(op, node)


@preparation("Scan")
def scan_shapes(op: OpBuilder, node: ir.Node) -> None:
    """Infer the shapes inside the body.

    Raises:
        NotDifferentiableError: a state surely changes its shape.
    """
    steps = steps_of(node)
    infer_steps(op, node, steps)
    for i, (state, after) in enumerate(zip(steps.states, steps.next_states, strict=True)):
        if steps.is_read(i) and is_float(state) and not may_fit(state, after):
            raise refuse_changes(node, steps, i)


@vjp("Loop", selective=True)
def loop(op: OpBuilder, node: ir.Node, *dys: ir.Value | None, wanted: list[ir.Value]) -> _Mapping:
    """(vₜ₊₁, yₜ) = body(t, vₜ):  dvₜ = VJP of the body at (t, vₜ) on (dvₜ₊₁, dyₜ), t from the last step that ran to 0.

    The states are stacked by the forward Loop, so that the number of steps may depend on a condition.
    """
    return adjoint_steps(op, node, steps_of(node), dys, wanted)


@vjp("Scan", selective=True)
def scan(op: OpBuilder, node: ir.Node, *dys: ir.Value | None, wanted: list[ir.Value]) -> _Mapping:
    """(vₜ₊₁, yₜ) = body(vₜ, xₜ):  (dvₜ, dxₜ) = VJP of the body at (vₜ, xₜ) on (dvₜ₊₁, dyₜ), t from the last to 0."""
    return adjoint_steps(op, node, steps_of(node), dys, wanted)


def _sequences_apart(op: OpBuilder, node: ir.Node) -> list[ir.Value] | None:
    """The If with the tensors of its sequences as outputs, and the sequences of them behind it.

    None where it gives no sequence, or the branches' sequences differ in length or are known at run time alone.
    """
    if not any(isinstance(y.type, ir.SequenceType) for y in node.outputs):
        return None
    graphs = {name: node.attributes[name].as_graph() for name in ("then_branch", "else_branch")}
    given: dict[str, list[list[ir.Value]]] = {}
    for name, graph in graphs.items():
        branch = OpBuilder(graph, parent=op)
        given[name] = []
        for y, inner in zip(node.outputs, list(graph.outputs), strict=True):
            tensors = tensors_in(branch, inner) if isinstance(y.type, ir.SequenceType) else [inner]
            if tensors is None:
                return None
            given[name].append(tensors)
    counts = [[len(tensors) for tensors in lists] for lists in given.values()]
    if counts[0] != counts[1] or 0 in counts[0]:
        return None
    for name, graph in graphs.items():
        graph.outputs.clear()
        return_values(OpBuilder(graph, parent=op), [x for tensors in given[name] for x in tensors])
    made = list(op.add_node("If", [node.inputs[0]], dict(node.attributes), sum(counts[0])))
    infer_body(op, [op.graph[-1]])
    results: list[ir.Value] = []
    for y, count in zip(node.outputs, counts[0], strict=True):
        tensors, made = made[:count], made[count:]
        results.append(op.SequenceConstruct(*tensors) if isinstance(y.type, ir.SequenceType) else tensors[0])
    return results
