"""A path of a known number of points inside the file: a Loop over chunks of it that fit in memory, or as many copies.

The one idea: all chunks have the same length, so that the body has one shape; the last is filled with points of no
weight.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import onnx_ir as ir

from onnx_ig.attribution.layout import Layout
from onnx_ig.attribution.precision import accumulator_type, zeros
from onnx_ig.graph.builder import OpBuilder, static_shape


def in_chunks(
    op: OpBuilder,
    like: Collection[ir.Value],
    layout: Layout,
    at_once: int,
    chunk: Callable[[OpBuilder, ir.Value, ir.Value], list[ir.Value]],
    nodes: ir.Value,
    weights: ir.Value,
) -> list[ir.Value]:
    """Σ_k w_k · cotangent over the whole path, one tensor per tensor of ``like``, of its shape.

    Args:
        at_once: at most so many points in a chunk; they are shared evenly.
        chunk: the sum over some points and their weights, [K] each.
    """
    count = op.Shape(nodes)
    trips = op.Div(op.Add(count, at_once - 1), at_once)
    size = op.Div(op.Sub(op.Add(count, trips), 1), trips)
    missing = op.Sub(op.Mul(trips, size), count)
    nodes = op.Concat(nodes, op.Expand(op.Slice(nodes, [-1], [2**63 - 1], [0]), missing), axis=0)
    weights = op.Concat(weights, op.Expand(op.constant(np.zeros(1), like=weights), missing), axis=0)
    index = ir.val(op.fresh("chunk"), dtype=ir.DataType.INT64, shape=[])
    going = ir.val(op.fresh("going"), dtype=ir.DataType.BOOL, shape=[])
    carried = [ir.val(op.fresh("sum"), dtype=accumulator_type(x), shape=x.shape) for x in like]
    body = op.subgraph("path", [index, going, *carried])
    chosen = [body.Gather(body.Reshape(x, body.Concat([-1], size, axis=0)), index, axis=0) for x in (nodes, weights)]
    if not layout.batched:
        for x in chosen:
            x.shape = ir.Shape([1])
    body_sums = chunk(body, chosen[0], chosen[1])
    body.graph.outputs.append(body.Identity(going))
    for total, part in zip(carried, body_sums, strict=True):
        added = body.Add(total, part)
        added.type, added.shape = total.type, total.shape
        body.graph.outputs.append(added)
    always = op.constant(np.array(True))  # onnx's reference evaluator takes a condition left out for a false one
    start = [op.Squeeze(trips, [0]), always, *(zeros(op, x) for x in like)]
    results = op.add_node("Loop", start, {"body": body.graph}, len(like))
    for result, total in zip(results, carried, strict=True):
        result.type, result.shape = total.type, total.shape
    return list(results)


def in_sequence(
    op: OpBuilder,
    like: Collection[ir.Value],
    at_once: int,
    chunk: Callable[[OpBuilder, ir.Value, ir.Value], list[ir.Value]],
    nodes: ir.Value,
    weights: ir.Value,
) -> list[ir.Value]:
    """The same as :func:`in_chunks` by ⌈K / at_once⌉ copies of the step, one behind the other, which share the weights.

    Args:
        nodes, weights: of a known length K.
    """
    (count,) = static_shape(nodes)
    totals: list[ir.Value] = []
    for places in np.array_split(np.arange(count), -(-count // at_once)):
        first, last = [int(places[0])], [int(places[-1]) + 1]
        part = chunk(op, op.Slice(nodes, first, last, [0]), op.Slice(weights, first, last, [0]))
        totals = [op.Add(a, b) for a, b in zip(totals, part, strict=True)] if totals else part
    for total, x in zip(totals, like, strict=True):
        total.type, total.shape = ir.TensorType(accumulator_type(x)), x.shape
    return totals
