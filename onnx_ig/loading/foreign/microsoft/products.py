"""Rewritings of ONNX Runtime's fused products and convolutions (domain com.microsoft)."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_float, attr_int, attr_str, constant, given, known_rank, optional, refuse
from onnx_ig.loading.foreign.microsoft.activation import activated, fast_gelu
from onnx_ig.loading.foreign.table import MICROSOFT, foreign

_CONVOLUTION = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_POOL = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides")


@foreign("FusedMatMul", "TransposeMatMul", "FusedMatMulActivation", domain=MICROSOFT)
def fused_matmul(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Y = activation(α · A' @ B'); A': the last two axes swapped, or the batch axes moved in front of the rows."""
    a = _arranged(op, node, given(node, 0), attr_int(node, "transA", 0), attr_int(node, "transBatchA", 0))
    b = _arranged(op, node, given(node, 1), attr_int(node, "transB", 0), attr_int(node, "transBatchB", 0))
    y, alpha = op.MatMul(a, b), attr_float(node, "alpha", 1.0)
    y = y if alpha == 1.0 else op.Mul(y, alpha)
    kind = attr_str(node, "activation", "")
    if kind == "Softmax":
        return [op.Softmax(y, axis=attr_int(node, "activation_axis", -1))]
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    parameters = [node.attributes[n].as_float() for n in names if n in node.attributes]
    return [activated(op, node, y, kind, parameters)]


def _arranged(op: OpBuilder, node: ir.Node, x: ir.Value, transposed: int, batch: int) -> ir.Value:
    """An operand as MatMul wants it. ``transBatch``: the axes come as rows, batch axes, columns."""
    if not transposed and not batch:
        return x
    axes = list(range(known_rank(node, x)))
    if len(axes) < 2:
        return x
    if batch:
        axes = [*axes[1:-1], axes[0], axes[-1]]
    if transposed:
        axes[-2], axes[-1] = axes[-1], axes[-2]
    return op.Transpose(x, perm=axes)


@foreign("FusedGemm", domain=MICROSOFT)
def fused_gemm(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Y = activation(α A' @ B' + β C)."""
    kept = {k: node.attributes[k] for k in ("alpha", "beta", "transA", "transB") if k in node.attributes}
    (y,) = op.add_node("Gemm", list(node.inputs), kept, 1)
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    parameters = [node.attributes[n].as_float() for n in names if n in node.attributes]
    return [activated(op, node, y, attr_str(node, "activation", ""), parameters)]


@foreign("GemmFastGelu", domain=MICROSOFT)
def gemm_fast_gelu(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Y = fast_gelu(A @ B + b)."""
    y, bias = op.MatMul(given(node, 0), given(node, 1)), optional(node, 2)
    return [fast_gelu(op, y if bias is None else op.Add(y, bias))]


@foreign("FusedConv", domain=MICROSOFT)
def fused_conv(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Y = activation(Conv(X, W, B) + Z)."""
    (y,) = op.add_node("Conv", _inputs(node, 3), _kept(node, _CONVOLUTION), 1)
    return [_added_and_activated(op, node, y)]


@foreign("NhwcConv", "NhwcFusedConv", domain=MICROSOFT)
def nhwc_conv(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """The same with X [N, ..., C], W [M, ..., C/g] (NhwcFusedConv: [M, C/g, ...]) and Y [N, ..., M]."""
    w = given(node, 1)
    rank = known_rank(node, w)
    inputs = _inputs(node, 3)
    inputs[0] = channels_first(op, given(node, 0), rank)
    inputs[1] = w if node.op_type == "NhwcFusedConv" else channels_first(op, w, rank)
    (y,) = op.add_node("Conv", inputs, _kept(node, _CONVOLUTION), 1)
    return [_added_and_activated(op, node, channels_last(op, y, rank))]


@foreign("NhwcMaxPool", domain=MICROSOFT)
def nhwc_max_pool(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """MaxPool on X [N, ..., C]."""
    rank = len(node.attributes["kernel_shape"].as_ints()) + 2
    inputs = [channels_first(op, given(node, 0), rank)]
    (y,) = op.add_node("MaxPool", inputs, _kept(node, _POOL), 1)
    return [channels_last(op, y, rank)]


@foreign("ConvTransposeWithDynamicPads", domain=MICROSOFT)
def conv_transpose_with_dynamic_pads(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """ConvTranspose whose pads are an input; here they must be constant."""
    pads = constant(optional(node, 2))
    if optional(node, 2) is not None and pads is None:
        raise refuse(node, "its pads are only known at run time", "Make the pads constant")
    kept = _kept(node, ("auto_pad", "dilations", "group", "kernel_shape", "output_padding", "strides"))
    amounts = {} if pads is None else {"pads": [int(p) for p in pads.ravel()]}
    inputs = [given(node, 0), given(node, 1), *([] if optional(node, 3) is None else [optional(node, 3)])]
    return list(op.add_node("ConvTranspose", inputs, {**kept, **amounts}, 1))


@vjp("Inverse", domain=MICROSOFT)
def inverse(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """Y = X⁻¹:  dX = −Yᵀ @ dY @ Yᵀ. No standard operator inverts: the result needs ONNX Runtime, as the model does."""
    y = node.outputs[0]
    axes = list(range(known_rank(node, given(node, 0))))
    yt = op.Transpose(y, perm=[*axes[:-2], axes[-1], axes[-2]])
    return op.Neg(op.MatMul(op.MatMul(yt, dy), yt))


def channels_first(op: OpBuilder, x: ir.Value, rank: int) -> ir.Value:
    """[N, ..., C] → [N, C, ...]."""
    return op.Transpose(x, perm=[0, rank - 1, *range(1, rank - 1)])


def channels_last(op: OpBuilder, x: ir.Value, rank: int) -> ir.Value:
    """[N, C, ...] → [N, ..., C]."""
    return op.Transpose(x, perm=[0, *range(2, rank), 1])


def _inputs(node: ir.Node, count: int) -> list[ir.Value | None]:
    inputs = list(node.inputs[:count])
    while inputs[-1] is None:
        inputs.pop()
    return inputs


def _kept(node: ir.Node, names: tuple[str, ...]) -> dict[str, ir.Attr]:
    return {name: node.attributes[name] for name in names if name in node.attributes}


def _added_and_activated(op: OpBuilder, node: ir.Node, y: ir.Value) -> ir.Value:
    z = optional(node, 3)
    attribute = node.attributes.get("activation_params")
    parameters = [] if attribute is None else list(attribute.as_floats())
    return activated(op, node, y if z is None else op.Add(y, z), attr_str(node, "activation", ""), parameters)
