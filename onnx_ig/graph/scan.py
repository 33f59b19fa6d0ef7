"""Write a Scan whose body is a Python function of its states and of one slice of each sequence.

The one idea: runtimes pay per node and step of a Scan, so its body is to hold nothing that can be done for all steps
at once. Sequences walked from their end are reversed outside: onnx's reference evaluator knows no Scan directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.shapes import reverse

Step = Callable[[OpBuilder, list[ir.Value], list[ir.Value]], tuple[list[ir.Value], list[ir.Value]]]


def scan(
    op: OpBuilder,
    states: Sequence[ir.Value],
    sequences: Sequence[ir.Value],
    step: Step,
    *,
    backwards: Sequence[bool],
    emit_backwards: Sequence[bool],
    axes: Sequence[int] = (),
    emit_axes: Sequence[int] = (),
) -> tuple[list[ir.Value], list[ir.Value]]:
    """(states', emitted) of a Scan whose step is ``step(body, states, elements) -> (new states, emitted)``.

    Args:
        backwards, axes: for each sequence, whether it is walked from its end, and along which axis (0).
        emit_backwards, emit_axes: for each emitted tensor, whether step 0 writes its last place, and the new axis (0).
    """
    axes, emit_axes = list(axes) or [0] * len(sequences), list(emit_axes) or [0] * len(emit_backwards)
    sequences = [
        _reversed(op, sequence, axis) if back else sequence
        for sequence, axis, back in zip(sequences, axes, backwards, strict=True)
    ]
    inputs = [_body_input(op, state, None) for state in states]
    inputs += [_body_input(op, sequence, axis) for sequence, axis in zip(sequences, axes, strict=True)]
    body = op.subgraph("adjoint_scan", inputs)
    new_states, emitted = step(body, inputs[: len(states)], inputs[len(states) :])
    for state, new in zip(states, new_states, strict=True):
        new.type = new.type or state.type
    return_values(body, [*new_states, *emitted])
    made = op.add_node(
        "Scan",
        [*states, *sequences],
        {
            "body": body.graph,
            "num_scan_inputs": len(sequences),
            "scan_input_axes": axes,
            "scan_output_axes": emit_axes,
        },
        len(states) + len(emit_backwards),
    )
    for value, inner in zip(made, body.graph.outputs, strict=True):
        value.type = value.type or inner.type
    for value, state in zip(made, states, strict=False):
        value.shape = value.shape or (None if state.shape is None else state.shape.copy())
    results = [
        _reversed(op, value, axis) if back else value
        for value, axis, back in zip(made[len(states) :], emit_axes, emit_backwards, strict=True)
    ]
    return list(made[: len(states)]), results


def stacked(op: OpBuilder, node: ir.Node, value: ir.Value) -> ir.Value:
    """A value of the body of ``node`` (a Scan or Loop) at every step, [steps, ...]: one more output of the node."""
    body = node.attributes["body"].as_graph()
    return_values(OpBuilder(body, parent=op), [value])
    node.resize_outputs(len(node.outputs) + 1)
    made = node.outputs[-1]
    made.name, made.type = op.fresh(f"{value.name}_steps"), value.type
    if value.shape is not None:
        made.shape = ir.Shape([None, *value.shape])
    for name in ("scan_output_axes", "scan_output_directions"):
        if name in node.attributes:
            node.attributes[name] = ir.AttrInt64s(name, [*node.attributes[name].as_ints(), 0])
    return made


def return_values(body: OpBuilder, values: Sequence[ir.Value]) -> None:
    """Make ``values`` the body's outputs: each another value that a node of the body produces, as runtimes require."""
    for value in values:
        producer = value.producer()
        if producer is None or producer.graph is not body.graph or value in body.graph.outputs:
            # not body.Identity, which would fold that of a constant into the constant again
            shape = None if value.shape is None else value.shape.copy()
            copy = ir.Value(name=body.fresh("grad_Identity"), type=value.type, shape=shape)
            body.graph.append(ir.Node("", "Identity", [value], outputs=[copy]))
            value = copy
        body.graph.outputs.append(value)


def _reversed(op: OpBuilder, x: ir.Value, axis: int) -> ir.Value:
    turned = reverse(op, x, [axis])
    turned.type = turned.type or x.type
    return turned


def _body_input(op: OpBuilder, value: ir.Value, axis: int | None) -> ir.Value:
    shape = value.shape
    if shape is not None and axis is not None:
        axis %= len(shape)
        shape = ir.Shape([d for i, d in enumerate(shape) if i != axis])
    elif shape is not None:
        shape = shape.copy()
    return ir.Value(name=op.fresh("step"), type=value.type, shape=shape)
