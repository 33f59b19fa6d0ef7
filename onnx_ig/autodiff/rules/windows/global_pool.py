"""VJP rules of pooling over all spatial axes at once, and of MaxUnpool."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.autodiff.rules.windows.average_pool import over_norm, power_slope
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, attr_ints, constant, given, optional
from onnx_ig.graph.sizes import size


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

    Where output_shape differs from the shape that the pooling attributes imply, the standard reads the indices in the
    implied shape and ONNX Runtime in output_shape: the node itself, run on the numbers of x's elements, then tells
    which element went where.
    """
    if _shape_is_implied(op, node):
        return op.Gather(op.Reshape(dy, [-1]), given(node, 1), axis=0)
    x = given(node, 0)
    count = op.Size(x)
    wide = ir.DataType.DOUBLE if dy.dtype == ir.DataType.DOUBLE else ir.DataType.FLOAT
    numbers = op.reshape_like(op.Cast(op.Range(1, op.Add(count, 1), 1), to=wide), x)
    placed = op.add_node("MaxUnpool", [numbers, *node.inputs[1:]], node.attributes, 1)[0]  # 0: no element
    zeros = op.ConstantOfShape(
        op.Reshape(op.Add(count, 1), [1]), value=ir.tensor(np.zeros(1, wide.numpy()), dtype=wide)
    )
    whole = op.Cast(op.Reshape(placed, [-1]), to=ir.DataType.INT64)
    sums = op.ScatterElements(zeros, whole, op.Cast(op.Reshape(dy, [-1]), to=wide), axis=0, reduction="add")
    return cast_like(op, op.reshape_like(op.Slice(sums, [1], [2**62], [0]), x), x)


def _shape_is_implied(op: OpBuilder, node: ir.Node) -> bool:
    """Whether y is known to have the shape that kernel, strides and pads imply."""
    if optional(node, 2) is None:
        return True
    kernel, wanted = attr_ints(node, "kernel_shape") or [], constant(optional(node, 2))
    n = len(kernel)
    strides, pads = attr_ints(node, "strides") or [1] * n, attr_ints(node, "pads") or [0] * (2 * n)
    for i in range(n):
        length = size(op, given(node, 0), i + 2)
        implied = (length - 1) * strides[i] + kernel[i] - pads[i] - pads[n + i] if isinstance(length, int) else None
        if wanted is None or implied != wanted[i + 2]:
            return False
    return True
