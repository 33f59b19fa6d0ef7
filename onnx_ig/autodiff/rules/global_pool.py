"""VJP rules of pooling over all spatial axes at once, and of MaxUnpool."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.builder import OpBuilder
from onnx_ig.autodiff.masks import cast_like
from onnx_ig.autodiff.node import attr_int, attr_ints, constant, given, optional, refuse
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.autodiff.rules.average_pool import over_norm, power_slope
from onnx_ig.autodiff.window import size


@vjp("GlobalAveragePool")
def global_average_pool(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y[N, C, 1...] = mean of x[N, C, spatial...]:  dx = dy / number of positions, the same at each."""
    x = given(node, 0)
    positions = op.ReduceProd(op.Shape(x, start=2), keepdims=0)
    return op.Expand(op.Div(dy, cast_like(op, positions, x)), op.Shape(x))


@vjp("GlobalMaxPool")
def global_max_pool(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y[N, C, 1...] = maximum of x[N, C, spatial...]:  dx = dy at the first position of the maximum."""
    x = given(node, 0)
    flat = op.Reshape(x, [0, 0, -1])
    first = op.ArgMax(flat, axis=2, keepdims=1)  # [N, C, 1]
    positions = op.Range(0, op.Squeeze(op.Shape(flat, start=2), [0]), 1)
    chosen = cast_like(op, op.Equal(positions, first), x)
    return op.reshape_like(op.Mul(chosen, op.Reshape(dy, [0, 0, -1])), x)


@vjp("GlobalLpPool")
def global_lp_pool(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y[N, C, 1...] = (Σ |x|ᵖ)^(1/p):  dx = dy · sign(x) |x|ᵖ⁻¹ · y¹⁻ᵖ; zero where y is (a kink)."""
    x, p = given(node, 0), attr_int(node, "p", 2)
    return op.Mul(power_slope(op, x, p), over_norm(op, dy, node.outputs[0], p))


@vjp("MaxUnpool")
def max_unpool(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y.flat[indices] = x:  dx = dy.flat[indices].

    Refused where output_shape may differ from the shape that the pooling attributes imply: the standard reads the
    indices in the implied shape, ONNX Runtime in output_shape.
    """
    x = given(node, 0)
    if optional(node, 2) is not None:
        kernel, n = attr_ints(node, "kernel_shape") or [], len(attr_ints(node, "kernel_shape") or [])
        strides, pads = attr_ints(node, "strides") or [1] * n, attr_ints(node, "pads") or [0] * (2 * n)
        wanted = constant(optional(node, 2))
        for i in range(n):
            length = size(op, x, i + 2)
            implied = (length - 1) * strides[i] + kernel[i] - pads[i] - pads[n + i] if isinstance(length, int) else None
            if wanted is None or implied != wanted[i + 2]:
                raise refuse(
                    node,
                    "its output_shape is not known to be the one its kernel, strides and pads imply, and runtimes then "
                    "disagree on what its indices mean",
                    "Leave output_shape out and pad the result instead",
                )
    return op.Gather(op.Reshape(dy, [-1]), given(node, 1), axis=0)
