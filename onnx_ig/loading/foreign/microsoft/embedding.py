"""Rewritings of ONNX Runtime's fused embeddings of words, positions and segments (domain com.microsoft)."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_float, given, optional
from onnx_ig.loading.foreign.microsoft.activation import is_read
from onnx_ig.loading.foreign.microsoft.quantised import dequantised
from onnx_ig.loading.foreign.table import MICROSOFT, foreign

# Rows of the table at input ``index`` at these places, under the name that the result is to have ("": any).
LookUp = Callable[[int, ir.Value, str], ir.Value]


@foreign("EmbedLayerNormalization", domain=MICROSOFT)
def embed_layer_normalization(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """y = LayerNormalization(word[ids] + position[0, 1, ... or position_ids] + segment[segment_ids]).

    Output 1: how many tokens of each example the mask keeps (0 without a mask). Output 2: the sum before normalising.
    """

    def looked_up(index: int, places: ir.Value, name: str) -> ir.Value:
        rows: ir.Value = op.Gather(given(node, index), places, _outputs=[name] if name else 1)
        return rows

    total = _sum(op, node, 4, optional(node, 8), looked_up)
    y = _normalised(op, node, total, given(node, 5), given(node, 6))
    return [y, _kept_tokens(op, node), total if is_read(node, 2) else None][: len(node.outputs)]


@foreign("QEmbedLayerNormalization", domain=MICROSOFT)
def quantised_embed_layer_normalization(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """The same of dequantised tables, γ and β: of the rows that are looked up, not of whole tables.

    Inputs 2 to 6 are the five, 8 to 12 their scales, 13 to 17 their zero points.
    """

    def looked_up(index: int, places: ir.Value, name: str) -> ir.Value:
        rows = op.Gather(given(node, index), places)
        y = dequantised(op, rows, given(node, index + 6), optional(node, index + 11))
        if name:
            y.name = op.fresh(name)
        return y

    total = _sum(op, node, 4, None, looked_up)
    gamma, beta = (dequantised(op, given(node, i), given(node, i + 6), optional(node, i + 11)) for i in (5, 6))
    return [_normalised(op, node, total, gamma, beta), _kept_tokens(op, node)][: len(node.outputs)]


def _sum(op: OpBuilder, node: ir.Node, segment: int, positions: ir.Value | None, looked_up: LookUp) -> ir.Value:
    """word + position + segment, of which there may be none. Names: these are the tensors at which users attribute."""
    ids, segments = given(node, 0), optional(node, 1)
    where = positions if positions is not None else op.Range(0, op.Squeeze(op.dim(ids, 1), [0]), 1)
    total = op.Add(looked_up(2, ids, "word_embedding"), looked_up(3, where, ""))
    if segments is not None and optional(node, segment) is not None:
        total = op.Add(total, looked_up(segment, segments, "segment_embedding"))
    return total


def _normalised(op: OpBuilder, node: ir.Node, x: ir.Value, gamma: ir.Value, beta: ir.Value) -> ir.Value:
    y: ir.Value = op.LayerNormalization(x, gamma, beta, axis=-1, epsilon=attr_float(node, "epsilon", 1e-12))
    return y


def _kept_tokens(op: OpBuilder, node: ir.Node) -> ir.Value | None:
    if not is_read(node, 1):
        return None
    ids, mask = given(node, 0), optional(node, 7)
    wide = op.Cast(ids if mask is None else mask, to=ir.DataType.INT64)
    kept = op.ReduceSum(wide if mask is not None else op.Sub(wide, wide), [1], keepdims=0)
    count: ir.Value = op.Cast(kept, to=ir.DataType.INT32)
    return count
