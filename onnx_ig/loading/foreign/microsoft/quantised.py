"""Rewritings of ONNX Runtime's own quantised operators (domain com.microsoft) into the standard's.

A QLinear operator becomes DequantizeLinear, the float operator and QuantizeLinear, which compute the same up to the
rounding of ties; the gradient is then the straight-through one (:mod:`onnx_ig.autodiff.straight_through`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like
from onnx_ig.graph.builder import OpBuilder, rank_of
from onnx_ig.graph.node import attr_float, attr_int, attr_ints, constant, given, known_rank, optional, refuse
from onnx_ig.loading.foreign.microsoft.products import channels_first, channels_last
from onnx_ig.loading.foreign.table import MICROSOFT, foreign

_FOUR_BYTES_OR_LESS = (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT32)


def dequantised(
    op: OpBuilder, q: ir.Value, scale: ir.Value, zero: ir.Value | None, axis: int | None = None
) -> ir.Value:
    """DequantizeLinear; scale and zero point of one element are made scalars."""
    return op.DequantizeLinear(q, *_parameters(op, scale, zero), axis=axis)


def _quantised(op: OpBuilder, y: ir.Value, scale: ir.Value, zero: ir.Value | None) -> ir.Value:
    return op.QuantizeLinear(y, *_parameters(op, scale, zero))


def _parameters(op: OpBuilder, scale: ir.Value, zero: ir.Value | None) -> list[ir.Value]:
    return [_scalar(op, v) for v in (scale, zero) if v is not None]


def _scalar(op: OpBuilder, value: ir.Value) -> ir.Value:
    numbers = constant(value)
    single = numbers is not None and numbers.size == 1
    if rank_of(value) == 0 or not single:
        return value
    return op.Reshape(value, op.constant(np.zeros(0, np.int64)))


def _operand(op: OpBuilder, node: ir.Node, first: int) -> ir.Value:
    """The tensor, scale and zero point at inputs ``first``, ``first + 1`` and ``first + 2``, dequantised."""
    return dequantised(op, given(node, first), given(node, first + 1), optional(node, first + 2))


def _result(op: OpBuilder, node: ir.Node, y: ir.Value, first: int) -> list[ir.Value]:
    """``y`` quantised by the scale and zero point at inputs ``first`` and ``first + 1``."""
    return [_quantised(op, y, given(node, first), optional(node, first + 1))]


@foreign("QLinearAdd", "QLinearMul", domain=MICROSOFT)
def arithmetic(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """a + b or a · b."""
    combine: Callable[..., ir.Value] = op.Add if node.op_type == "QLinearAdd" else op.Mul
    return _result(op, node, combine(_operand(op, node, 0), _operand(op, node, 3)), 6)


@foreign("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QLinearReduceMean", domain=MICROSOFT)
def of_one_tensor(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """A function of one tensor."""
    x = _operand(op, node, 0)
    if node.op_type == "QLinearSigmoid":
        y = op.Sigmoid(x)
    elif node.op_type == "QLinearLeakyRelu":
        y = op.LeakyRelu(x, alpha=attr_float(node, "alpha", 0.01))
    elif node.op_type == "QLinearReduceMean":
        y = op.ReduceMean(x, attr_ints(node, "axes"), keepdims=attr_int(node, "keepdims", 1))
    elif attr_int(node, "opset", 13) < 13:  # over all axes from ``axis`` on, taken together
        flat = op.Flatten(x, axis=attr_int(node, "axis", 1) % known_rank(node, x))
        y = op.Reshape(op.Softmax(flat, axis=-1), op.Shape(x))
    else:
        y = op.Softmax(x, axis=attr_int(node, "axis", -1))
    return _result(op, node, y, 3)


@foreign("QLinearGlobalAveragePool", "QLinearAveragePool", domain=MICROSOFT)
def pool(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Mean over space, of everything or of windows; channels first or last."""
    x, last = _operand(op, node, 0), attr_int(node, "channels_last", 0)
    rank = known_rank(node, given(node, 0)) if last else 0
    x = channels_first(op, x, rank) if last else x
    if node.op_type == "QLinearGlobalAveragePool":
        y = op.GlobalAveragePool(x)
    else:
        names = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
        kept = {n: node.attributes[n] for n in names if n in node.attributes}
        (y,) = op.add_node("AveragePool", [x], kept, 1)
    return _result(op, node, channels_last(op, y, rank) if last else y, 3)


@foreign("QLinearConcat", domain=MICROSOFT)
def concat(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Inputs: the result's scale and zero point, then each part with its own."""
    parts = [_operand(op, node, i) for i in range(2, len(node.inputs), 3)]
    return _result(op, node, op.Concat(*parts, axis=attr_int(node, "axis", 0)), 0)


@foreign("QLinearWhere", domain=MICROSOFT)
def where(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """condition ? x : y."""
    return _result(op, node, op.Where(given(node, 0), _operand(op, node, 1), _operand(op, node, 4)), 7)


@foreign("QLinearConv", domain=MICROSOFT)
def conv(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """The standard's QLinearConv, on channels-last data where told so (the weights are channels first)."""
    names = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    kept = {n: node.attributes[n] for n in names if n in node.attributes}
    inputs: list[ir.Value | None] = list(node.inputs)
    rank, last = known_rank(node, given(node, 3)), attr_int(node, "channels_last", 0)
    if last:
        inputs[0] = channels_first(op, given(node, 0), rank)
    (y,) = op.add_node("QLinearConv", inputs, kept, 1)
    return [channels_last(op, y, rank) if last else y]


@foreign("QGemm", domain=MICROSOFT)
def gemm(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Y = α A' @ B' + C in floats, quantised if a scale for it is given; C counts in units of α · s_A · s_B."""
    alpha, ta, tb = attr_float(node, "alpha", 1.0), attr_int(node, "transA", 0), attr_int(node, "transB", 0)
    a = _operand(op, node, 0)
    scale, zero = given(node, 4), optional(node, 5)
    b = dequantised(op, given(node, 3), scale, zero, axis=0 if tb else 1)
    y, c = op.Gemm(a, b, alpha=alpha, transA=ta, transB=tb), optional(node, 6)
    if c is not None:
        unit = op.Mul(op.Mul(_scalar(op, given(node, 1)), _scalar(op, scale)), alpha)
        y = op.Add(y, op.Mul(cast_like(op, c, y), unit))
    return [y] if optional(node, 7) is None else _result(op, node, y, 7)


@foreign("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_quantize_matmul(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Y = dequantise(dynamically quantised A) @ dequantise(B) + bias."""
    q, scale, zero = op.DynamicQuantizeLinear(given(node, 0), _outputs=3)
    product = _integer_product(op, q, given(node, 1), zero, optional(node, 3))
    return [_scaled(op, product, scale, given(node, 2), optional(node, 4))]


@foreign("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer_to_float(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Y = dequantise(A) @ dequantise(B) + bias."""
    product = _integer_product(op, given(node, 0), given(node, 1), optional(node, 4), optional(node, 5))
    return [_scaled(op, product, given(node, 2), given(node, 3), optional(node, 6))]


def _integer_product(op: OpBuilder, a: ir.Value, b: ir.Value, az: ir.Value | None, bz: ir.Value | None) -> ir.Value:
    if az is None and bz is not None:
        az = op.Cast(op.constant(np.array(0, np.int64)), to=a.dtype or ir.DataType.UINT8)
    zeros: list[Any] = [] if az is None else [az] if bz is None else [az, _scalar(op, bz)]
    return op.MatMulInteger(a, b, *zeros)


def _scaled(op: OpBuilder, product: ir.Value, a: ir.Value, b: ir.Value, bias: ir.Value | None) -> ir.Value:
    y = op.Mul(op.Cast(product, to=a.dtype or ir.DataType.FLOAT), op.Mul(a, b))
    return y if bias is None else op.Add(y, bias)


@foreign("QuantizeLinear", "DequantizeLinear", domain=MICROSOFT)
def quantize_or_dequantize(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """The standard's operators, which knew no 16-bit integers before opset 21."""
    kind = node.outputs[0].dtype if node.op_type == "QuantizeLinear" else given(node, 0).dtype
    zero = optional(node, 2)
    kind = kind or (None if zero is None else zero.dtype)
    if op.opset < 21 and kind not in _FOUR_BYTES_OR_LESS:
        raise refuse(node, f"opset {op.opset} cannot quantise to {kind}", "Convert the model to opset 21")
    inputs = [given(node, 0), *_parameters(op, given(node, 1), zero)]
    return list(op.add_node(node.op_type, inputs, {"axis": attr_int(node, "axis", 1)}, 1))
