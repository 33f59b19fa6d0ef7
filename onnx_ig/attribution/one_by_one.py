"""An attribution model of one example, made one of any number: a Loop over the examples around the whole of it.

The one idea: what the data decide (a branch, a number of steps) is decided for a batch at once. A graph that only ever
sees one example decides for each by itself, whatever the caller's batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder


def over_examples(
    graph: ir.Graph, symbol: str | None, rows: Mapping[ir.Value, bool], outputs: Mapping[ir.Value, int]
) -> None:
    """Put the graph's nodes into a Loop over the rows of its inputs, in place; its inputs keep their names.

    Args:
        symbol: the dimension of the examples.
        rows: the inputs of one row per example, and whether one row may serve all examples.
        outputs: the axis of the examples in each output; the others are not per example and are left out.
    """
    op, nodes = OpBuilder(graph), list(graph)
    declared = {y: y.shape for y in outputs}
    for node in ir.traversal.RecursiveGraphIterator(graph):
        for value in node.outputs:
            value.shape = _alone(value, symbol)
    inside = {x: ir.Value(name=None, type=x.type, shape=_one(x)) for x in rows}
    for x, inner in inside.items():
        ir.convenience.replace_all_uses_with(x, inner)
    for node in nodes:
        graph.remove(node)
    for x, inner in inside.items():
        inner.name = op.fresh(f"{x.name}_row")
    whole = next(x for x, may_be_one in rows.items() if not may_be_one)
    count = op.Squeeze(op.Shape(whole, start=0, end=1), [0])
    index = ir.val(op.fresh("example"), dtype=ir.DataType.INT64, shape=[])
    going = ir.val(op.fresh("going"), dtype=ir.DataType.BOOL, shape=[])
    body = op.subgraph("examples", [index, going])
    for x, inner in inside.items():
        place: ir.Value = body.Reshape(index, [1])
        if rows[x]:
            place = body.Min(place, body.Sub(body.Shape(x, start=0, end=1), [1]))
        node = ir.Node("", "Gather", [x, place], [ir.AttrInt64("axis", 0)], outputs=[inner])
        body.graph.append(node)
    body.graph.extend(nodes)
    body.graph.outputs.append(body.Identity(going))
    made = {y: ir.Value(name=y.name, type=y.type, shape=shape) for y, shape in declared.items()}
    for y, axis in outputs.items():
        made[y].doc_string, y.doc_string, y.name = y.doc_string, None, op.fresh(f"{y.name}_row")
        one = body.Squeeze(y, [axis])
        one.type = y.type
        body.graph.outputs.append(one)
    always = op.constant(np.array(True))  # onnx's reference evaluator takes a condition left out for a false one
    stacked = op.add_node("Loop", [count, always], {"body": body.graph}, len(outputs))
    graph.outputs.clear()
    for (y, axis), all_rows in zip(outputs.items(), stacked, strict=True):
        order = [*range(1, axis + 1), 0, *range(axis + 1, len(made[y].shape or ()))]
        perm = [ir.AttrInt64s("perm", order)] if axis else []
        graph.append(ir.Node("", "Transpose" if axis else "Identity", [all_rows], perm, outputs=[made[y]]))
        graph.outputs.append(made[y])


def _one(x: ir.Value) -> ir.Shape | None:
    """The shape with one row."""
    return None if x.shape is None else ir.Shape([1, *x.shape[1:]])


def _alone(x: ir.Value, symbol: str | None) -> ir.Shape | None:
    """The shape with one example."""
    if x.shape is None:
        return None
    return ir.Shape([d if isinstance(d, int) else 1 if d.value == symbol else d.value for d in x.shape])
