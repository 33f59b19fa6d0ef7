"""Rewritings of ONNX Runtime's fused attention (domain com.microsoft).

Sizes: N examples, S queries, T keys (P of them from the past), H heads of h numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like, number
from onnx_ig.autodiff.registry import refused
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_float, attr_int, attr_ints, given, known_rank, optional, refuse
from onnx_ig.loading.foreign.microsoft.activation import is_read, must_not_be_read
from onnx_ig.loading.foreign.table import MICROSOFT, UNOPTIMISED, foreign

HEADS_FIRST = [0, 2, 1, 3]

refused(
    "PackedAttention",
    "PackedMultiHeadAttention",
    "PagedAttention",
    "DecoderMaskedMultiHeadAttention",
    domain=MICROSOFT,
    reason="its examples or keys are packed into a shared buffer, which keeps no axis of examples",
    advice="Export without padding removal (packing) and without a cache of keys",
)


@foreign("Attention", domain=MICROSOFT)
def attention(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """x [N, S, D] @ W [D, 3·H·h] + b, split into queries, keys and values, then scaled dot-product attention."""
    must_not_be_set(node, (6,), ("do_rotary", "past_present_share_buffer"))
    product = op.MatMul(given(node, 0), given(node, 1))
    bias = optional(node, 2)
    projected = product if bias is None else op.Add(product, bias)
    return _self_attention(op, node, projected, optional(node, 3), optional(node, 4), optional(node, 5))


@foreign("QAttention", domain=MICROSOFT)
def quantised_attention(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """Attention of dequantised input and weights."""
    must_not_be_set(node, (), ("do_rotary", "past_present_share_buffer"))
    x = op.DequantizeLinear(given(node, 0), _scalar(op, given(node, 3)), _scalar(op, optional(node, 6)))
    scale, zero = given(node, 4), optional(node, 7)
    weight = op.DequantizeLinear(given(node, 1), *((scale,) if zero is None else (scale, zero)), axis=1)
    projected = op.Add(op.MatMul(x, weight), given(node, 2))
    return _self_attention(op, node, projected, optional(node, 5), optional(node, 8), None)


def _scalar(op: OpBuilder, value: ir.Value | None) -> ir.Value | None:
    return None if value is None else op.Reshape(value, op.constant(np.zeros(0, np.int64)))


def _self_attention(
    op: OpBuilder,
    node: ir.Node,
    projected: ir.Value,
    mask: ir.Value | None,
    past: ir.Value | None,
    bias: ir.Value | None,
) -> list[ir.Value | None]:
    sizes, heads = attr_ints(node, "qkv_hidden_sizes"), attr_int(node, "num_heads", 1)
    split = op.Split(projected, sizes, axis=-1, _outputs=3) if sizes else op.Split(
        projected, axis=-1, num_outputs=3, _outputs=3
    )  # fmt: skip
    q, k, v = (split_heads(op, x, heads) for x in split)
    present = None
    if past is not None:
        old = op.Split(past, axis=0, num_outputs=2, _outputs=2)
        k, v = (op.Concat(op.Squeeze(o, [0]), x, axis=2) for o, x in zip(old, (k, v), strict=True))
    if is_read(node, 1):
        present = op.Concat(op.Unsqueeze(k, [0]), op.Unsqueeze(v, [0]), axis=0)
    added = [*_mask(op, node, mask, q, k), *([] if bias is None else [bias])]
    if attr_int(node, "unidirectional", 0):
        added.append(_causal(op, q, k))
    return [attend(op, node, q, k, v, added), present][: len(node.outputs)]


@foreign("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """Scaled dot-product attention of query [N, S, H·h], key and value: [N, T, H·h], packed, or with the heads split.

    Packed: query [N, S, H, 3, h] holds all three; key [N, T, H, 2, h] holds keys and values.
    """
    must_not_be_set(node, (8, 9), ())
    must_not_be_read(node, 3)
    heads = attr_int(node, "num_heads", 1)
    query, key, value, bias = given(node, 0), optional(node, 1), optional(node, 2), optional(node, 3)
    if bias is not None:
        query, key, value = _with_bias(op, node, bias, query, key, value)
    if key is None:
        q, k, v = (op.Transpose(x, perm=HEADS_FIRST) for x in _unpacked(op, query, 3))
    else:
        q = split_heads(op, query, heads)
        if value is None:
            k, v = (op.Transpose(x, perm=HEADS_FIRST) for x in _unpacked(op, key, 2))
        else:
            k, v = (x if known_rank(node, x) == 4 else split_heads(op, x, heads) for x in (key, value))
    past_key, past_value = optional(node, 6), optional(node, 7)
    if past_key is not None and past_value is not None:
        k, v = op.Concat(past_key, k, axis=2), op.Concat(past_value, v, axis=2)
    added = [*_mask(op, node, optional(node, 4), q, k), *([] if optional(node, 5) is None else [given(node, 5)])]
    if attr_int(node, "unidirectional", 0):
        added.append(_causal(op, q, k))
    return [attend(op, node, q, k, v, added), k, v][: len(node.outputs)]


def _with_bias(
    op: OpBuilder, node: ir.Node, bias: ir.Value, query: ir.Value, key: ir.Value | None, value: ir.Value | None
) -> tuple[ir.Value, ir.Value | None, ir.Value | None]:
    """Bias [D + D + D_v] added to the three; those whose heads are split have no bias."""
    if key is None or value is None or known_rank(node, query) != 3:
        raise refuse(node, "it has a bias beside packed inputs", UNOPTIMISED)
    width, total = query.shape, bias.shape
    if width is None or total is None or not isinstance(width[2], int) or not isinstance(total[0], int):
        raise refuse(node, "the hidden size of its query is unknown", "Give the inputs' shapes (load(..., shapes=...))")
    d = width[2]
    bq, bk, bv = op.Split(bias, [d, d, total[0] - 2 * d], axis=0, _outputs=3)
    query = op.Add(query, bq)
    if known_rank(node, key) == 3:
        key, value = op.Add(key, bk), op.Add(value, bv)
    return query, key, value


def attend(op: OpBuilder, node: ir.Node, q: ir.Value, k: ir.Value, v: ir.Value, added: Sequence[ir.Value]) -> ir.Value:
    """softmax(scale · q @ kᵀ + ...) @ v, the heads joined: [N, S, H·h_v]."""
    scale = attr_float(node, "scale", 0.0)
    if scale:
        factor = number(op, scale, q)
    elif q.shape is not None and isinstance(q.shape[-1], int):
        factor = number(op, 1.0 / sqrt(q.shape[-1]), q)
    else:
        factor = op.Reciprocal(op.Sqrt(cast_like(op, op.Squeeze(op.dim(q, -1), [0]), q)))
    scores = op.MatMul(op.Mul(q, factor), op.Transpose(k, perm=[0, 1, 3, 2]))
    cap = attr_float(node, "softcap", 0.0)
    if cap:
        scores = op.Mul(op.Tanh(op.Mul(scores, 1.0 / cap)), cap)
    for term in added:
        scores = op.Add(scores, term)
    y = op.MatMul(op.Softmax(scores, axis=-1), v)
    return op.Reshape(op.Transpose(y, perm=HEADS_FIRST), [0, 0, -1])


def _mask(op: OpBuilder, node: ir.Node, mask: ir.Value | None, q: ir.Value, k: ir.Value) -> list[ir.Value]:
    """What to add to the scores [N, H, S, T] for a mask [N, T], [N, S, T], [N, 1, M, M] or lengths [N]."""
    if mask is None:
        return []
    rank = known_rank(node, mask)
    if rank == 1:
        size = None if mask.shape is None else mask.shape[0]
        examples = None if q.shape is None else q.shape[0]
        if isinstance(size, int) and isinstance(examples, int) and size != examples:
            raise refuse(node, f"its mask has {size} numbers for {examples} examples", "Use a mask [N, T]")
        keys = op.Cast(range_of(op, op.dim(k, 2)), to=mask.dtype or ir.DataType.INT32)
        keep = op.Less(op.Unsqueeze(keys, [0]), op.Unsqueeze(mask, [1]))
        keep = op.Unsqueeze(keep, [1, 2])
    else:
        if rank == 4:
            ends = op.Concat(op.dim(k, 2), op.dim(k, 2), axis=0)
            starts = op.Concat(op.Sub(op.dim(k, 2), op.dim(q, 2)), [0], axis=0)
            mask = op.Slice(mask, starts, ends, [2, 3])
        keep = op.Greater(mask, op.Cast(op.constant(np.array(0, np.int64)), to=mask.dtype or ir.DataType.INT32))
        keep = op.Unsqueeze(keep, {2: [1, 2], 3: [1]}[rank]) if rank < 4 else keep
    value = attr_float(node, "mask_filter_value", -10000.0)
    return [op.Where(keep, number(op, 0.0, q), number(op, value, q))]


def _causal(op: OpBuilder, q: ir.Value, k: ir.Value) -> ir.Value:
    """[S, T]: 0 where the key is not after the query, else a large negative number."""
    new, total = op.dim(q, 2), op.dim(k, 2)
    queries = op.Unsqueeze(op.Add(range_of(op, new), op.Sub(total, new)), [1])
    seen = op.LessOrEqual(op.Unsqueeze(range_of(op, total), [0]), queries)
    return op.Where(seen, number(op, 0.0, q), number(op, masked_out(q), q))


def masked_out(q: ir.Value) -> float:
    return -6e4 if q.dtype == ir.DataType.FLOAT16 else -1e30


def split_heads(op: OpBuilder, x: ir.Value, heads: int) -> ir.Value:
    """[N, S, H·h] → [N, H, S, h]."""
    return op.Transpose(op.Reshape(x, [0, 0, heads, -1]), perm=HEADS_FIRST)


def _unpacked(op: OpBuilder, x: ir.Value, count: int) -> list[ir.Value]:
    """[N, S, H, count, h] → ``count`` tensors [N, S, H, h]."""
    return [op.Squeeze(part, [3]) for part in op.Split(x, axis=3, num_outputs=count, _outputs=count)]


def range_of(op: OpBuilder, count: ir.Value) -> ir.Value:
    """0, 1, ..., count − 1."""
    ends = (op.constant(np.array(n, np.int64)) for n in (0, 1))
    return op.Range(next(ends), op.Squeeze(count, [0]), next(ends))


def must_not_be_set(node: ir.Node, inputs: Sequence[int], attributes: Sequence[str]) -> None:
    """Refuse a node with one of these inputs or attributes set."""
    for index in inputs:
        value = optional(node, index)
        if value is not None:
            raise refuse(node, f"it reads {value.name!r} (input {index})", UNOPTIMISED)
    for name in attributes:
        attribute = node.attributes.get(name)
        if attribute is not None and attribute.value not in (0, -1, "", "NONE"):
            raise refuse(node, f"its {name} is {attribute.value!r}", UNOPTIMISED)
