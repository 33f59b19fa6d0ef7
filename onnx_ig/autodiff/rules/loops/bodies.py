"""What Loop and Scan have in common, and the shapes inside their bodies.

The one idea: states are taken to keep their shapes from step to step, which the standard leaves open, so that the rules
of the body's operators know them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from onnx_ig.errors import NotDifferentiableError
from onnx_ig.graph.builder import OpBuilder, same_shape
from onnx_ig.graph.node import attr_int, attr_ints, refuse
from onnx_ig.graph.reading import is_float


@dataclass(frozen=True)
class Slices:
    """A tensor read or written one slice per step: ``inner`` is the slice, along ``axis``, ``backwards`` from its end.

    ``outer`` is the whole tensor, for one that is read.
    """

    inner: ir.Value
    axis: int = 0
    backwards: int = 0
    outer: ir.Value | None = None


@dataclass(frozen=True)
class Steps:
    """What Loop and Scan have in common. The node's outputs are the final states, then the tensors written.

    Attributes:
        initial, states, next_states: per state, the initial value outside, the body's before and after a step.
        counter: the body's number of the step, if it has one.
        read, written: slices the body takes and gives.
        shapes_may_vary: whether a value of the body may have another shape at another step.
    """

    body: ir.Graph
    initial: list[ir.Value]
    states: list[ir.Value]
    next_states: list[ir.Value]
    counter: ir.Value | None
    read: list[Slices]
    written: list[Slices]
    shapes_may_vary: bool

    def is_read(self, i: int) -> bool:
        """Whether a step depends on what state ``i`` was before it.

        Converters carry tensors along that a step only writes, and start them with whatever shape.
        """
        state = self.states[i]
        return bool(state.uses()) or state in self.body.outputs


def infer_steps(op: OpBuilder, node: ir.Node, steps: Steps) -> list[int]:
    """Set the types and shapes of the body's values, taking states to keep theirs.

    Returns:
        The places of the float states that do not: the shapes after a step do not fit those before it.
    """
    changing: list[int] = []
    for state, initial in zip(steps.states, steps.initial, strict=True):
        state.type = state.type or initial.type
        if initial.shape is not None:
            state.shape = initial.shape.copy()
    for each in steps.read:
        if each.outer is not None and each.outer.shape is not None and each.inner.shape is None:
            axis = each.axis % len(each.outer.shape)
            each.inner.shape = ir.Shape([d for i, d in enumerate(each.outer.shape) if i != axis])
    infer_body(op, steps.body)
    ends = list(steps.states)
    for i, (state, after) in enumerate(zip(steps.states, steps.next_states, strict=True)):
        if not steps.is_read(i):
            ends[i] = after
            if not same_shape(state, after):
                state.shape = None
            continue
        if not is_float(state) or state.shape is None or after.shape is None or state is after:
            continue
        if _changes(state, after):
            changing.append(i)
    outputs = zip(node.outputs, [*ends, *(s.inner for s in steps.written)], strict=False)
    for i, (y, inner) in enumerate(outputs):
        y.type = y.type or inner.type
        if y.shape is None and inner.shape is not None and not changing:  # one that changes may change the others
            dims: list[int | ir.SymbolicDim | None] = list(inner.shape)
            if i >= len(steps.states):
                dims.insert(steps.written[i - len(steps.states)].axis % (len(dims) + 1), None)
            y.shape = ir.Shape(dims)
    return changing


def _changes(state: ir.Value, after: ir.Value) -> bool:
    """Whether a state surely or perhaps has another shape after a step: of one row it may have become one of many."""
    assert state.shape is not None and after.shape is not None
    if not may_fit(state, after):
        return True
    return any(p in (0, 1) and not isinstance(q, int) for p, q in zip(state.shape, after.shape, strict=True))


def settles(state: ir.Value, after: ir.Value) -> bool:
    """Whether a state that changes may only have been broadcast to the shape after a step, which the next one keeps."""
    if state.shape is None or after.shape is None or len(after.shape) < len(state.shape):
        return False
    before = [1] * (len(after.shape) - len(state.shape)) + list(state.shape)
    return all(p == 1 or p == q or not isinstance(p, int) for p, q in zip(before, after.shape, strict=True))


def refuse_changes(node: ir.Node, steps: Steps, i: int) -> NotDifferentiableError:
    """The error for a state that changes its shape from step to step; raise it."""
    state, after = steps.states[i], steps.next_states[i]
    return refuse(
        node,
        f"its state {state.name!r} changes its shape from {state.shape} to {after.shape} in a step",
        "Start the state with the shape that a step gives it (an Expand before the loop), let the number of steps be a "
        "constant, or write the growing tensor as a scan output, one slice per step",
    )


def infer_body(op: OpBuilder, body: Iterable[ir.Node]) -> None:
    """Set the types and shapes of what the body computes, the bodies of its own control-flow operators included."""
    for node in body:
        if node.op_type == "Scan" or (node.op_type == "Loop" and carries_tensors(node)):
            infer_steps(op, node, steps_of(node))
        elif node.op_type == "If":
            branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
            for branch in branches:
                infer_body(op, branch)
            for y, a, b in zip(node.outputs, branches[0].outputs, branches[1].outputs, strict=False):
                y.type = y.type or a.type or b.type
                if y.shape is None and a.shape is not None and b.shape is not None and len(a.shape) == len(b.shape):
                    y.shape = _common(a.shape, b.shape)
        else:
            declared = {y: y.shape for y in node.outputs}
            for y in node.outputs:
                y.shape = None
            op.infer(node)
            for y, shape in declared.items():  # what the file says fills gaps, and gives way to what is proved
                if shape is not None and may_fit(y, ir.Value(shape=shape)):
                    y.shape = shape if y.shape is None else _numbers_first(y.shape, shape)


def _common(a: ir.Shape, b: ir.Shape) -> ir.Shape:
    """What is known of a shape that is one of two."""
    return ir.Shape([p if p == q else None for p, q in zip(a, b, strict=True)])


def _numbers_first(proved: ir.Shape, declared: ir.Shape) -> ir.Shape:
    """The declared sizes, but numbers that are proved in place of them."""
    return ir.Shape([p if isinstance(p, int) else d for p, d in zip(proved, declared, strict=True)])


def may_fit(a: ir.Value, b: ir.Value) -> bool:
    """Whether two values may have the same shape, as far as both are known."""
    if a.shape is None or b.shape is None:
        return True
    if len(a.shape) != len(b.shape):
        return False
    return all(p == q for p, q in zip(a.shape, b.shape, strict=True) if isinstance(p, int) and isinstance(q, int))


def shape_copy(value: ir.Value) -> ir.Shape | None:
    """A shape for another value like this one."""
    return None if value.shape is None else value.shape.copy()


def steps_of(node: ir.Node) -> Steps:
    """The steps of a Loop or Scan.

    Raises:
        NotDifferentiableError: a Loop that carries a sequence or an optional.
    """
    if node.op_type == "Scan":
        return _scan(node)
    if not carries_tensors(node):
        raise refuse(
            node,
            "it carries a sequence or an optional from step to step",
            "Carry tensors of fixed shape, append to an empty sequence once in each step, or let the number of steps "
            "be a constant",
        )
    return _loop(node)


def carries_tensors(node: ir.Node) -> bool:
    """Whether all states of a Loop are tensors."""
    return all(x is not None and (x.type is None or isinstance(x.type, ir.TensorType)) for x in node.inputs[2:])


def _loop(node: ir.Node) -> Steps:
    body = node.attributes["body"].as_graph()
    n_states = len(node.inputs) - 2
    states = node.inputs[2:]
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
