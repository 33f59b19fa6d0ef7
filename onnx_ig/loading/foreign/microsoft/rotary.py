"""Rewritings of ONNX Runtime's rotary embedding and the attention of decoders that use it (domain com.microsoft)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.masks import number
from onnx_ig.graph.builder import OpBuilder, rank_of
from onnx_ig.graph.node import attr_int, given, known_rank, optional, refuse
from onnx_ig.loading.foreign.microsoft.activation import must_not_be_read
from onnx_ig.loading.foreign.microsoft.attention import (
    HEADS_FIRST,
    attend,
    masked_out,
    must_not_be_set,
    range_of,
    split_heads,
)
from onnx_ig.loading.foreign.table import MICROSOFT, UNOPTIMISED, foreign


@foreign("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """Causal attention in which each key and value serves H / H_kv heads; optionally rotary embedding and a window.

    query [N, S, H·h] (or all three packed along the last axis), key and value [N, S, H_kv·h], past [N, H_kv, P, h],
    seqlens_k [N]: the number of keys of each example less one.
    """
    must_not_be_set(node, (11, 12, 13, 14, 15), ("smooth_softmax", "k_quant_type", "v_quant_type", "qk_output"))
    must_not_be_read(node, 3)
    if attr_int(node, "causal", 1) != 1:
        raise refuse(node, "it is not causal", UNOPTIMISED)
    heads, groups = attr_int(node, "num_heads", 1), attr_int(node, "kv_num_heads", 1)
    query, key, value = given(node, 0), optional(node, 1), optional(node, 2)
    if key is None or value is None:
        all_heads = op.Reshape(query, [0, 0, heads + 2 * groups, -1])
        parts = op.Split(all_heads, [heads, groups, groups], axis=2, _outputs=3)
        q, k, v = (op.Transpose(x, perm=HEADS_FIRST) for x in parts)
    else:
        q, k, v = split_heads(op, query, heads), split_heads(op, key, groups), split_heads(op, value, groups)
    past_key, past_value = optional(node, 3), optional(node, 4)
    new = op.dim(q, 2)
    old = op.constant(np.array([0], np.int64)) if past_key is None else op.dim(past_key, 2)
    if attr_int(node, "do_rotary", 0):
        places = optional(node, 9)
        if places is None:
            places = op.Add(range_of(op, new), old)
        cos, sin = (op.Gather(given(node, i), places) for i in (7, 8))
        if rank_of(cos) == 3 or optional(node, 9) is not None:
            cos, sin = op.Unsqueeze(cos, [1]), op.Unsqueeze(sin, [1])
        q, k = (_rotated(op, node, x, cos, sin, attr_int(node, "rotary_interleaved", 0)) for x in (q, k))
    if past_key is not None and past_value is not None:
        k, v = op.Concat(past_key, k, axis=2), op.Concat(past_value, v, axis=2)
    presents = [k, v]
    queries = op.Unsqueeze(op.Add(range_of(op, new), old), [1])  # [S, 1]: the place of each query
    keys = op.Unsqueeze(range_of(op, op.dim(k, 2)), [0])  # [1, T]
    seen = op.LessOrEqual(keys, queries)
    window = attr_int(node, "local_window_size", -1)
    if window > 0:
        seen = op.And(seen, op.Greater(keys, op.Sub(queries, window)))
    lengths = op.Reshape(op.Cast(given(node, 5), to=ir.DataType.INT64), [-1, 1, 1, 1])
    seen = op.And(seen, op.LessOrEqual(op.Unsqueeze(keys, [0, 1]), lengths))
    added = [op.Where(seen, number(op, 0.0, q), number(op, masked_out(q), q))]
    if optional(node, 10) is not None:
        added.append(given(node, 10))
    if heads != groups:
        k, v = (_repeated(op, x, heads // groups) for x in (k, v))
    return [attend(op, node, q, k, v, added), *presents][: len(node.outputs)]


@foreign("RotaryEmbedding", domain=MICROSOFT)
def rotary_embedding(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Pairs of numbers of each head turned by an angle that grows with the position: cos and sin from tables [L, h/2].

    Input [N, S, H·h] or [N, H, S, h]; position_ids [N, S], or [1]: the position of the first token.
    """
    if attr_int(node, "is_packed_batching", 0):
        raise refuse(node, "its examples are packed", "Export without packing")
    x, places, cos, sin = (given(node, i) for i in range(4))
    split = known_rank(node, x) == 4
    heads, part = attr_int(node, "num_heads", 0), attr_int(node, "rotary_embedding_dim", 0)
    if split:
        by_head = x
    elif heads:
        by_head = split_heads(op, x, heads)
    else:
        table = cos.shape
        if part or table is None or not isinstance(table[1], int):
            raise refuse(node, "the size of a head is unknown", "Set its num_heads attribute")
        by_head = op.Transpose(op.Reshape(x, [0, 0, -1, 2 * table[1]]), perm=HEADS_FIRST)
    if known_rank(node, places) == 1:
        places = op.Unsqueeze(op.Add(range_of(op, op.dim(by_head, 2)), places), [0])
    cos, sin = (op.Unsqueeze(op.Gather(t, places), [1]) for t in (cos, sin))
    turned = _rotated(op, node, by_head, cos, sin, attr_int(node, "interleaved", 0))
    return [turned if split else op.Reshape(op.Transpose(turned, perm=HEADS_FIRST), [0, 0, -1])]


def _rotated(
    op: OpBuilder, node: ir.Node, x: ir.Value, cos: ir.Value, sin: ir.Value, interleaved: int
) -> ir.Value:  # fmt: skip
    """x [N, H, S, h]: (a, b) → (a cos − b sin, a sin + b cos); a, b: halves of the head, or neighbours."""
    table = cos.shape
    if table is None or not isinstance(table[-1], int):
        raise refuse(node, "the size of its cosine table is unknown", "Make the tables constant")
    half = table[-1]
    front = op.Slice(x, [0], [2 * half], [-1])
    rest = op.Slice(x, [2 * half], [2**63 - 1], [-1])  # empty where the whole head is turned
    if interleaved:
        pairs = op.Reshape(front, [0, 0, 0, half, 2])
        a, b = (op.Squeeze(p, [-1]) for p in op.Split(pairs, axis=-1, num_outputs=2, _outputs=2))
    else:
        a, b = op.Split(front, axis=-1, num_outputs=2, _outputs=2)
    left, right = op.Sub(op.Mul(a, cos), op.Mul(b, sin)), op.Add(op.Mul(a, sin), op.Mul(b, cos))
    if interleaved:
        joined = op.Concat(op.Unsqueeze(left, [-1]), op.Unsqueeze(right, [-1]), axis=-1)
        turned = op.Reshape(joined, [0, 0, 0, 2 * half])
    else:
        turned = op.Concat(left, right, axis=-1)
    whole = x.shape is not None and x.shape[-1] == 2 * half
    return turned if whole else op.Concat(turned, rest, axis=-1)


def _repeated(op: OpBuilder, x: ir.Value, times: int) -> ir.Value:
    """[N, H, T, h] → [N, H·times, T, h], each head ``times`` times in a row."""
    copies = op.Concat(*[op.Unsqueeze(x, [2])] * times, axis=2)
    shape = op.Concat(op.dim(x, 0), [-1], op.dim(x, 2), op.dim(x, 3), axis=0)
    return op.Reshape(copies, shape)
