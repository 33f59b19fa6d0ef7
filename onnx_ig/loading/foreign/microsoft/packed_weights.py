"""Rewritings of ONNX Runtime's operators on weights of fewer bits than a byte (domain com.microsoft).

The one idea: the bits are unpacked here, once, into one byte a weight, which every runtime can read; a scale for each
block of weights turns them into numbers again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like
from onnx_ig.common.types import Array
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, constant, given, known_rank, optional, refuse
from onnx_ig.loading.foreign.table import MICROSOFT, foreign

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_HALF_BYTES = (ir.DataType.INT4, ir.DataType.UINT4)
# What the sixteen codes stand for (Dettmers et al., 2023, QLoRA, appendix E, and bitsandbytes for FP4), by quant_type.
_FP4_MAGNITUDES = [0, 1 / 192, 2 / 3, 1, 1 / 3, 1 / 2, 1 / 6, 1 / 4]
_CODES = {
    0: [*_FP4_MAGNITUDES, *(-value for value in _FP4_MAGNITUDES)],
    1: [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635),
        *(-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725),
        *(0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ],
}


@foreign("MatMulNBits", domain=MICROSOFT)
def matmul_nbits(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Y = A @ Wᵀ + b with W[n, k] = (q[n, k] − z[n, block of k]) · s[n, block of k], q stored in ``bits`` bits."""
    n, k, block = attr_int(node, "N", 0), attr_int(node, "K", 0), attr_int(node, "block_size", 32)
    bits, scales = attr_int(node, "bits", 4), given(node, 2)
    packed, zeros = constant(given(node, 1)), optional(node, 3)
    if packed is None or bits not in (2, 4, 8):
        raise refuse(node, f"its weights are not constant, or stored in {bits} bits", "Use 2, 4 or 8 bits")
    if optional(node, 4) is not None:
        raise refuse(node, "its weights are grouped by an index (g_idx)", "Quantise without reordering (act-order)")
    blocks = -(-k // block)
    numbers = op.constant(_unpacked(packed, bits).reshape(n, blocks, block))
    s = op.Reshape(scales, [n, blocks, 1])
    if zeros is None:
        offset: Any = float(1 << (bits - 1))
    elif zeros.dtype in _FLOATS:
        offset = op.Reshape(zeros, [n, blocks, 1])
    else:
        stored = constant(zeros)
        if stored is None:
            raise refuse(node, "its zero points are only known at run time", "Make them constant")
        each = _unpacked(stored, bits).reshape(n, -1)[:, :blocks]
        offset = cast_like(op, op.constant(np.ascontiguousarray(each)[:, :, None]), scales)
    weight = op.Mul(op.Sub(cast_like(op, numbers, scales), offset), s)
    weight = op.Reshape(weight, [n, blocks * block])
    if blocks * block != k:
        weight = op.Slice(weight, [0], [k], [1])
    y, bias = op.MatMul(given(node, 0), op.Transpose(weight, perm=[1, 0])), optional(node, 5)
    return [y if bias is None else op.Add(y, bias)]


@foreign("MatMulBnb4", domain=MICROSOFT)
def matmul_bnb4(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Y = A @ Wᵀ with W[n, k] = code[q[n, k]] · absmax[block of n·K + k], two q in a byte, the high bits first."""
    n, k, block = attr_int(node, "N", 0), attr_int(node, "K", 0), attr_int(node, "block_size", 64)
    packed, kind = constant(given(node, 1)), attr_int(node, "quant_type", 1)
    if packed is None or kind not in _CODES:
        raise refuse(node, f"its weights are not constant, or of type {kind}", "Quantise to FP4 (0) or NF4 (1)")
    if not attr_int(node, "transB", 1):
        raise refuse(node, "its product is that of a backward pass (transB = 0)", "Use the model made for inference")
    blocks = -(-n * k // block)
    halves = _unpacked(packed.ravel(), 4).reshape(-1, 2)[:, ::-1]
    codes: Array = np.resize(halves.ravel(), blocks * block).reshape(blocks, block)
    table, absmax = op.constant(np.array(_CODES[kind], np.float32), like=given(node, 2)), given(node, 2)
    scaled = op.Mul(op.Gather(table, op.constant(codes.astype(np.int32))), op.Reshape(absmax, [blocks, 1]))
    flat = op.Reshape(scaled, [-1])
    flat = flat if blocks * block == n * k else op.Slice(flat, [0], [n * k], [0])
    weight = op.Reshape(flat, [n, k])
    return [op.MatMul(given(node, 0), op.Transpose(weight, perm=[1, 0]))]


@foreign("GatherBlockQuantized", domain=MICROSOFT)
def gather_block_quantized(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Y = (q − z) · s of the rows at ``ids`` along ``gather_axis``; one s and z a block along ``quantize_axis``."""
    ids, scales, zeros = given(node, 1), given(node, 2), optional(node, 3)
    bits, block = attr_int(node, "bits", 4), attr_int(node, "block_size", 128)
    table = _integers(node, given(node, 0), bits)
    rows, blocked = (attr_int(node, name, d) % table.ndim for name, d in (("gather_axis", 0), ("quantize_axis", 1)))
    size = table.shape[blocked]
    block_of = op.constant(np.arange(size, dtype=np.int32) // (block or size))

    def looked_up(x: ir.Value) -> ir.Value:
        """Rows of the table, or of what has one row for all."""
        one = x.shape is not None and x.shape[rows] == 1 != table.shape[rows]
        first = op.constant(np.zeros([1] * known_rank(node, ids), np.int64))
        return op.Gather(x, first if one else ids, axis=rows)

    def dequantised(q: ir.Value, s: ir.Value, z: ir.Value | None, axis: int) -> ir.Value:
        number, unit = cast_like(op, q, scales), op.Gather(s, block_of, axis=axis)
        if z is None:
            unsigned = given(node, 0).dtype == ir.DataType.UINT8
            return op.Mul(op.Sub(number, float(1 << (bits - 1))) if unsigned else number, unit)
        return op.Mul(op.Sub(number, op.Gather(cast_like(op, z, scales), block_of, axis=axis)), unit)

    q = op.constant(table)
    z = None if zeros is None else op.constant(_integers(node, zeros, bits))
    if rows == blocked:  # neighbouring rows share a scale
        return [op.Gather(dequantised(q, scales, z, blocked), ids, axis=rows)]
    axis = blocked + (known_rank(node, ids) - 1 if blocked > rows else 0)
    return [dequantised(looked_up(q), looked_up(scales), None if z is None else looked_up(z), axis)]


def _integers(node: ir.Node, x: ir.Value, bits: int) -> Array:
    """The integers in a constant: of four bits each by its type, or ``bits`` in bytes along the last axis."""
    stored = constant(x)
    if stored is None or x.dtype not in (*_HALF_BYTES, ir.DataType.UINT8):
        raise refuse(node, f"{x.name!r} is not constant, or no table of integers", "Quantise to 4 or 8 bits")
    if x.dtype != ir.DataType.UINT8:
        return np.asarray(stored).astype(np.int8 if x.dtype == ir.DataType.INT4 else np.uint8)
    return _unpacked(stored, bits).reshape(*stored.shape[:-1], -1)


def _unpacked(packed: Array, bits: int) -> Array:
    """The numbers in a stream of bytes, the lowest bits first."""
    stream = packed.view(np.uint8)[..., None] >> np.arange(0, 8, bits, dtype=np.uint8)
    return np.asarray(stream & ((1 << bits) - 1), np.uint8)
