"""Rewritings of ONNX Runtime's fused biases by relative position (domain com.microsoft): T5, WavLM."""

from __future__ import annotations

from math import log

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, given, optional, refuse
from onnx_ig.loading.foreign.table import MICROSOFT, foreign


@foreign("RelativePositionBias", domain=MICROSOFT)
def relative_position_bias(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """bias[0, h, i, j] = table[bucket(j − i), h] with queries i and keys j (Raffel et al., 2020, T5).

    Of the buckets (half of them for each sign if bidirectional) the first half is for distances of their own number,
    the others grow by a factor up to ``max_distance``. Keys ahead are in bucket 0 unless bidirectional.
    """
    table = given(node, 0)
    buckets = None if table.shape is None else table.shape[0]
    if not isinstance(buckets, int):
        raise refuse(node, "the number of buckets in its table is unknown", "Give the table a shape")
    i, j = (op.Range(0, _number(op, given(node, index)), 1) for index in (1, 2))
    ahead = op.Sub(op.Unsqueeze(j, [0]), op.Unsqueeze(i, [1]))
    both = attr_int(node, "is_bidirectional", 0)
    first: ir.Value | None = None
    if both:
        buckets //= 2
        first = op.Mul(op.Cast(op.Greater(ahead, 0), to=ir.DataType.INT64), buckets)
        distance = op.Abs(ahead)
    else:
        distance = op.Max(op.Neg(ahead), op.constant(np.array(0, np.int64)))
    exact = buckets // 2
    growth = (buckets - exact) / log(attr_int(node, "max_distance", 128) / exact)
    far = op.Cast(op.Max(distance, op.constant(np.array(exact, np.int64))), to=ir.DataType.FLOAT)
    place = op.Add(op.Cast(op.Mul(op.Log(op.Div(far, float(exact))), growth), to=ir.DataType.INT64), exact)
    bucket = op.Where(op.Less(distance, exact), distance, op.Min(place, op.constant(np.array(buckets - 1, np.int64))))
    bias = op.Gather(table, bucket if first is None else op.Add(bucket, first))
    return [op.Unsqueeze(op.Transpose(bias, perm=[2, 0, 1]), [0])]


@foreign("GatedRelativePositionBias", domain=MICROSOFT)
def gated_relative_position_bias(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """(u · (r · a − 1) + 2) · rel_pos, where [u, r] = σ of the sums of the two halves of (q + b) W + c, per head and
    query (Chen et al., 2022, WavLM).
    """
    if optional(node, 6) is not None:
        raise refuse(node, "its tokens are without padding (token_offset)", "Optimise without removing padding")
    query, query_bias, position, weight, bias, a = (given(node, i) for i in range(6))
    heads = attr_int(node, "num_heads", 1)
    q = op.Transpose(op.Reshape(op.Add(query, query_bias), [0, 0, heads, -1]), perm=[0, 2, 1, 3])  # [N, H, S, h]
    halves = op.Reshape(op.Add(op.MatMul(q, weight), bias), [0, 0, 0, 2, -1])
    u, r = op.Split(op.Sigmoid(op.ReduceSum(halves, [-1], keepdims=0)), axis=-1, num_outputs=2, _outputs=2)
    return [op.Mul(op.Add(op.Mul(u, op.Sub(op.Mul(r, a), 1.0)), 2.0), position)]


def _number(op: OpBuilder, value: ir.Value) -> ir.Value:
    """An int64 scalar."""
    return op.Reshape(op.Cast(value, to=ir.DataType.INT64), op.constant(np.zeros(0, np.int64)))
