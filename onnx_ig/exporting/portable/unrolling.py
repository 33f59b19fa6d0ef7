"""Scans as so many copies of their bodies, for runtimes that have none.

The one idea: once the number of steps is known, a state is a value handed from one copy to the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder, is_static, static_shape
from onnx_ig.graph.copying import Copy


class UnrollScansPass(ir.passes.InPlacePass):
    """The main graph's Scans whose sequences' lengths are known; those of unknown length, and inside bodies, stay."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        graph = model.graph
        found = [node for node in graph if node.op_type == "Scan" and node.domain == "" and _steps(node) is not None]
        op = OpBuilder(graph)
        for node in found:
            for old, new in zip(list(node.outputs), _unrolled(op, node), strict=True):
                _put(op, new, old)
            graph.remove(node, safe=True)
        if found:
            graph.sort()
        return ir.passes.PassResult(model, bool(found))


def _put(op: OpBuilder, new: ir.Value, old: ir.Value) -> None:
    """``new`` in the place of ``old``, under its name where that is an output's."""
    if old.is_graph_output() or new.is_graph_input() or new.is_initializer():
        new = _copied(op, new)
    new.type, new.shape = old.type or new.type, old.shape or new.shape
    name, old.name = old.name, None
    if old.is_graph_output():
        new.name, new.doc_string = name, old.doc_string
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


def _copied(op: OpBuilder, value: ir.Value) -> ir.Value:
    node = ir.Node("", "Identity", [value])
    made = node.outputs[0]
    made.name, made.type = op.fresh("unrolled"), value.type
    made.shape = None if value.shape is None else value.shape.copy()
    op.graph.append(node)
    return made


def _sequences(node: ir.Node) -> list[tuple[ir.Value, int]]:
    """What is walked along, with the axis."""
    count = node.attributes["num_scan_inputs"].as_int()
    values = [x for x in node.inputs[len(node.inputs) - count :] if x is not None]
    axes = _ints(node, "scan_input_axes", count)
    return [(x, axis % len(x.shape) if x.shape is not None else axis) for x, axis in zip(values, axes, strict=True)]


def _steps(node: ir.Node) -> int | None:
    """How many there are, where every sequence tells."""
    if not all(is_static(x) for x, _ in _sequences(node)):
        return None
    return next(static_shape(x)[axis] for x, axis in _sequences(node))


def _ints(node: ir.Node, name: str, count: int) -> Sequence[int]:
    return node.attributes[name].as_ints() if name in node.attributes else [0] * count


def _unrolled(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """The values of the node's outputs: the last states, then what each step gives, stacked."""
    body, steps = node.attributes["body"].as_graph(), _steps(node)
    assert steps is not None
    sequences = _sequences(node)
    given = node.inputs[: len(node.inputs) - len(sequences)]
    states = [x for x in given if x is not None]
    backwards = _ints(node, "scan_input_directions", len(sequences))
    emitted: list[list[ir.Value]] = [[] for _ in range(len(body.outputs) - len(states))]
    constants = {x: op.constant(x.const_value) for x in body.initializers.values() if x.const_value is not None}
    for step in range(steps):
        elements = [
            op.Gather(x, steps - 1 - step if back else step, axis=axis)
            for (x, axis), back in zip(sequences, backwards, strict=True)
        ]
        copy = Copy(op, list(body), constants | dict(zip(body.inputs, [*states, *elements], strict=True)), whole=True)
        results = copy.of(list(body.outputs))
        states = results[: len(states)]
        for values, value in zip(emitted, results[len(states) :], strict=True):
            values.append(value)
    turned = _ints(node, "scan_output_directions", len(emitted))
    axes = _ints(node, "scan_output_axes", len(emitted))
    stacked = [
        op.Concat(*(op.Unsqueeze(value, [axis]) for value in (values[::-1] if back else values)), axis=axis)
        for values, axis, back in zip(emitted, axes, turned, strict=True)
    ]
    return [*states, *stacked]
