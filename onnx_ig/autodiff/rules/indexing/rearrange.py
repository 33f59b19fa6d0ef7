"""VJP rules of operators that keep every element and give the tensor another shape or order, or repeat it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder, rank_of
from onnx_ig.graph.node import attr_int, attr_ints, constant, given, optional
from onnx_ig.graph.shapes import reshape
from onnx_ig.graph.sizes import Size, sizes


@vjp("Reshape", "Flatten")
def reshaped(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x in another shape:  dx = dy in x's shape."""
    return (op.reshape_like(dy, given(node, 0)), *[None] * (len(node.inputs) - 1))


@vjp("Squeeze")
def squeeze(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x without the axes of size one in ``axes`` (all of them where absent):  dx = dy with them put back."""
    axes = optional(node, 1)
    if axes is None:
        return op.reshape_like(dy, given(node, 0))
    return op.Unsqueeze(dy, axes), None


@vjp("Unsqueeze")
def unsqueeze(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x with axes of size one put in:  dx = dy without them."""
    return op.Squeeze(dy, given(node, 1)), None


@vjp("Transpose")
def transpose(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y.shape[i] = x.shape[perm[i]]:  dx = dy transposed by the inverse of perm (absent: reversal, its own inverse)."""
    perm = attr_ints(node, "perm")
    return op.Transpose(dy, perm=None if perm is None else [int(p) for p in np.argsort(perm)])


@vjp("Expand")
def expand(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x broadcast:  dx = dy summed over the axes along which x was broadcast."""
    return op.unbroadcast(dy, given(node, 0)), None


@vjp("Tile")
def tile(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y[i] = x[i mod D] along each axis of size D, repeated r times:  dx = Σ over the copies, dy as [.., r, D, ..]."""
    x = given(node, 0)
    repeats = constant(given(node, 1))
    if repeats is None or rank_of(x) is None:
        # [r₀, D₀, r₁, D₁, ...], summed over the even axes
        pairs = op.Concat(op.Unsqueeze(given(node, 1), [1]), op.Unsqueeze(op.Shape(x), [1]), axis=1)
        shape = op.Reshape(pairs, [-1])
        zero, two = (op.constant(np.array(n, np.int64)) for n in (0, 2))
        axes = op.Range(zero, op.Size(shape), two)
        return op.ReduceSum(op.Reshape(dy, shape, allowzero=1), axes, keepdims=0, noop_with_empty_axes=1), None
    split: list[Size] = []
    summed: list[int] = []
    for count, length in zip(repeats.tolist(), sizes(op, x), strict=True):
        if count == 1:
            split.append(length)
        elif isinstance(length, int) and length == 1:
            summed.append(len(split))  # the copies are the axis; its size one comes back with the reshape below
            split.append(count)
        else:
            summed.append(len(split))
            split += [count, length]
    if not summed:
        return dy, None
    return op.reshape_like(op.ReduceSum(reshape(op, dy, split), summed, keepdims=0), x), None


@vjp("Trilu")
def trilu(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x on one side of the k-th diagonal, 0 on the other:  dx = dy likewise."""
    k = optional(node, 1)
    dx = (
        op.Trilu(dy, k, upper=attr_int(node, "upper", 1))
        if k is not None
        else op.Trilu(dy, upper=attr_int(node, "upper", 1))
    )
    return (dx, *[None] * (len(node.inputs) - 1))


@vjp("ReverseSequence")
def reverse_sequence(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x with the first ``sequence_lens[b]`` steps of each sequence back to front: its own inverse."""
    axes = {"batch_axis": attr_int(node, "batch_axis", 1), "time_axis": attr_int(node, "time_axis", 0)}
    return op.ReverseSequence(dy, given(node, 1), **axes), None
