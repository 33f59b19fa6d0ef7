"""What Loop and Scan have in common, and the shapes inside their bodies.

The one idea: states are taken to keep their shapes from step to step, which the standard leaves open, so that the rules
of the body's operators know them.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from onnx_ig.autodiff.registry import prepare
from onnx_ig.graph.builder import OpBuilder, same_shape
from onnx_ig.graph.node import refuse
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


def infer_steps(op: OpBuilder, node: ir.Node, steps: Steps) -> None:
    """Set the types and shapes of the body's values, taking states to keep theirs.

    Raises:
        NotDifferentiableError: a float state changes its shape from step to step.
    """
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
        if not may_fit(state, after):
            raise refuse(
                node,
                f"its state {state.name!r} changes its shape from {state.shape} to {after.shape} in a step",
                "Write the growing tensor as a scan output, one slice per step",
            )

    outputs = zip(node.outputs, [*ends, *(s.inner for s in steps.written)], strict=False)
    for i, (y, inner) in enumerate(outputs):
        y.type = y.type or inner.type
        if y.shape is None and inner.shape is not None:
            dims: list[int | ir.SymbolicDim | None] = list(inner.shape)
            if i >= len(steps.states):
                dims.insert(steps.written[i - len(steps.states)].axis % (len(dims) + 1), None)
            y.shape = ir.Shape(dims)


def infer_body(op: OpBuilder, body: ir.Graph) -> None:
    """Set the types and shapes of what the body computes, the bodies of its own control-flow operators included."""
    for node in body:
        if node.op_type in ("Loop", "Scan"):
            prepare(op, node)
        elif node.op_type == "If":
            branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
            for branch in branches:
                infer_body(op, branch)
            for y, a, b in zip(node.outputs, branches[0].outputs, branches[1].outputs, strict=False):
                y.type = y.type or a.type or b.type
                if y.shape is None and same_shape(a, b):
                    y.shape = shape_copy(a)
        else:
            declared = {y: y.shape for y in node.outputs}
            for y in node.outputs:
                y.shape = None
            op.infer(node)
            for y, shape in declared.items():  # what the file says fills gaps, and gives way to what is proved
                if shape is not None and may_fit(y, ir.Value(shape=shape)):
                    y.shape = shape if y.shape is None else _numbers_first(y.shape, shape)


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
