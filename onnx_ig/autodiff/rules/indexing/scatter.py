"""VJP rules of operators that write updates into a copy of a tensor, replacing, adding, multiplying or comparing.

One formula serves all of them, in terms of two moves: ``read`` takes from a tensor of data's shape what stands where
each update went, ``write`` combines a tensor of updates' shape into one of data's shape.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, attr_str, given
from onnx_ig.graph.shapes import positions

_Read = Callable[[ir.Value], ir.Value]
_Write = Callable[[ir.Value, ir.Value, str], ir.Value]


@vjp("ScatterElements", "Scatter")
def scatter_elements(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = data with y[indices[i, j], j] ∘= updates[i, j] (for axis 0), ∘ the reduction; see :func:`_cotangents`."""
    indices, axis = given(node, 1), attr_int(node, "axis", 0)

    def read(v: ir.Value) -> ir.Value:
        return op.GatherElements(v, indices, axis=axis)

    def write(v: ir.Value, u: ir.Value, reduction: str) -> ir.Value:
        return op.ScatterElements(v, indices, u, axis=axis, reduction=reduction)

    return _cotangents(op, node, dy, read, write)


@vjp("ScatterND")
def scatter_nd(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = data with y[indices[i]] ∘= updates[i], index tuples in the last axis of indices; see :func:`_cotangents`."""
    data, indices = given(node, 0), given(node, 1)

    def read(v: ir.Value) -> ir.Value:
        return op.GatherND(v, indices)

    def write(v: ir.Value, u: ir.Value, reduction: str) -> ir.Value:
        if reduction == "none":
            return op.ScatterND(v, indices, u)
        # ScatterND with a reduction races between threads on ONNX Runtime CPU
        places = op.Reshape(op.GatherND(positions(op, data), indices), [-1])
        flat = op.ScatterElements(op.Reshape(v, [-1]), places, op.Reshape(u, [-1]), axis=0, reduction=reduction)
        return op.Reshape(flat, op.Shape(data), allowzero=1)

    return _cotangents(op, node, dy, read, write)


def _cotangents(op: OpBuilder, node: ir.Node, dy: ir.Value, read: _Read, write: _Write) -> Cotangents:
    """The cotangents of data and updates (u), by reduction.

    * none: d data = dy with zeros written,  du = read(dy); indices do not repeat, says the standard.
    * add: d data = dy,  du = read(dy).
    * mul: d data = dy · Π u,  du = read(dy · data) · Π of the other updates of the same element.
    * max, min: dy in equal shares to data and those updates that equal the result.
    """
    data, updates, reduction = given(node, 0), given(node, 2), attr_str(node, "reduction", "none")
    if reduction == "none":
        return lambda: write(dy, op.zeros_like(updates), "none"), None, lambda: read(dy)
    if reduction == "add":
        return dy, None, lambda: read(dy)
    if reduction == "mul":
        return (
            lambda: op.Mul(dy, write(_full(op, data, 1), updates, "mul")),
            None,
            lambda: op.Mul(read(op.Mul(dy, data)), _product_of_others(op, data, updates, read, write)),
        )
    y = node.outputs[0]
    data_wins = cast_like(op, op.Equal(data, y), data)
    updates_win = cast_like(op, op.Equal(updates, read(y)), data)
    share = op.Div(dy, _count(op, data_wins, updates_win, write))
    return lambda: op.Mul(share, data_wins), None, lambda: op.Mul(read(share), updates_win)


def _product_of_others(op: OpBuilder, data: ir.Value, u: ir.Value, read: _Read, write: _Write) -> ir.Value:
    """For each update the product of the other updates of its element: exact where some of them are zero.

    With P the product and Z the number of zeros among the element's updates, taken without the zeros: P / u if u ≠ 0
    and Z = 0, P if u = 0 and Z = 1, else 0.
    """
    is_zero = cast_like(op, op.Equal(u, op.constant(np.array(0), like=u)), u)
    not_zero = op.Add(u, is_zero)
    product = read(write(_full(op, data, 1), not_zero, "mul"))
    other_zeros = op.Sub(read(_count(op, op.zeros_like(data), is_zero, write)), is_zero)
    no_other_zero = cast_like(op, op.Equal(other_zeros, op.constant(np.array(0), like=u)), u)
    return op.Mul(op.Div(product, not_zero), no_other_zero)


def _count(op: OpBuilder, base: ir.Value, ones: ir.Value, write: _Write) -> ir.Value:
    """``base`` with the zeros and ones added, in float32 where the type is narrower: ONNX Runtime CPU adds no half."""
    if base.dtype not in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
        return write(base, ones, "add")
    wide = write(op.Cast(base, to=ir.DataType.FLOAT), op.Cast(ones, to=ir.DataType.FLOAT), "add")
    return op.Cast(wide, to=base.dtype)


def _full(op: OpBuilder, like: ir.Value, number: int) -> ir.Value:
    """A tensor of like's shape and type filled with ``number``."""
    assert like.dtype is not None
    return op.ConstantOfShape(op.Shape(like), value=ir.tensor(np.full(1, number, like.dtype.numpy()), dtype=like.dtype))
