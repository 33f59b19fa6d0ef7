"""VJP rules of If, Loop and Scan: the adjoint of a body is a body.

The one idea: the reverse walk runs on the body's own nodes; whatever it reads of the body's values is recomputed (If)
or kept from the forward steps (Loop, Scan: see :mod:`onnx_ig.autodiff.rules.loops.adjoint`). Tensors that a body
reads from outside have cotangents too.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.registry import preparation, vjp
from onnx_ig.autodiff.reverse import pull_back
from onnx_ig.autodiff.rules.loops.adjoint import adjoint_steps
from onnx_ig.autodiff.rules.loops.bodies import Slices, Steps, infer_steps, may_fit
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.copying import Copy
from onnx_ig.graph.node import attr_int, attr_ints, refuse
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


@preparation("Loop")
def loop_shapes(op: OpBuilder, node: ir.Node) -> None:
    """Infer the shapes inside the body, taking states, whose shapes the standard leaves open, to keep theirs."""
    infer_steps(op, node, _loop(node))


@preparation("Scan")
def scan_shapes(op: OpBuilder, node: ir.Node) -> None:
    """Infer the shapes inside the body."""
    infer_steps(op, node, _scan(node))


@vjp("Loop", selective=True)
def loop(op: OpBuilder, node: ir.Node, *dys: ir.Value | None, wanted: list[ir.Value]) -> _Mapping:
    """(vₜ₊₁, yₜ) = body(t, vₜ):  dvₜ = VJP of the body at (t, vₜ) on (dvₜ₊₁, dyₜ), t from the last step that ran to 0.

    The states are stacked by the forward Loop, so that the number of steps may depend on a condition.
    """
    return adjoint_steps(op, node, _loop(node), dys, wanted)


@vjp("Scan", selective=True)
def scan(op: OpBuilder, node: ir.Node, *dys: ir.Value | None, wanted: list[ir.Value]) -> _Mapping:
    """(vₜ₊₁, yₜ) = body(vₜ, xₜ):  (dvₜ, dxₜ) = VJP of the body at (vₜ, xₜ) on (dvₜ₊₁, dyₜ), t from the last to 0."""
    return adjoint_steps(op, node, _scan(node), dys, wanted)


def _loop(node: ir.Node) -> Steps:
    body = node.attributes["body"].as_graph()
    n_states = len(node.inputs) - 2
    states = node.inputs[2:]
    for initial in states:
        if initial is None or (initial.type is not None and not isinstance(initial.type, ir.TensorType)):
            raise refuse(node, "it carries a sequence or an optional from step to step", "Carry tensors of fixed shape")
    sequences = [Slices(y) for y in body.outputs[1 + n_states :]]
    return Steps(
        body=body,
        initial=[v for v in states if v is not None],
        states=list(body.inputs[2:]),
        next_states=list(body.outputs[1 : 1 + n_states]),
        counter=body.inputs[0],
        read=[],
        written=sequences,
        shapes_may_vary=True,
    )


def _scan(node: ir.Node) -> Steps:
    body = node.attributes["body"].as_graph()
    n_read = attr_int(node, "num_scan_inputs", 0)
    n_states = len(node.inputs) - n_read
    outer = [v for v in node.inputs if v is not None]
    n_written = len(body.outputs) - n_states

    def setting(name: str, count: int) -> list[int]:
        return attr_ints(node, name) or [0] * count

    read = zip(
        body.inputs[n_states:],
        setting("scan_input_axes", n_read),
        setting("scan_input_directions", n_read),
        outer[n_states:],
        strict=True,
    )
    written = zip(
        body.outputs[n_states:],
        setting("scan_output_axes", n_written),
        setting("scan_output_directions", n_written),
        strict=True,
    )
    return Steps(
        body=body,
        initial=outer[:n_states],
        states=list(body.inputs[:n_states]),
        next_states=list(body.outputs[:n_states]),
        counter=None,
        read=[Slices(*each) for each in read],
        written=[Slices(*each) for each in written],
        shapes_may_vary=False,
    )
