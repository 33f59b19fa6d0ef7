"""VJP rule of DeformConv: a convolution whose kernel elements are read at offset points, each weighted by a mask."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.autodiff.rules.sampling.points import (
    Tap,
    along_axis,
    axis_taps,
    corners,
    image_cotangent,
    inside,
    pixel_products,
    rows_of,
    sampled,
    weighted,
)
from onnx_ig.autodiff.rules.windows.geometry import spatial_rank
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, attr_ints, given, optional
from onnx_ig.graph.sizes import Size, floordiv, plus, size, times, vector


@vjp("DeformConv")
def deform_conv(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """Y[n, m, o] = Σ_{c,j} W[m, c, j] · mask[n, j, o] · X[n, c, point[n, j, o]] + B[m],

    point[n, j, o] = o·stride + j·dilation − begin + offset[n, j, :, o].

    With V[n, c, j, o] the value read (linear between pixels, zero outside) and dV = mask · Wᵀ dY:
    dX = dV spread over the pixels read;  doffset = Σ_c dV · ∂V/∂point;  dmask = Σ_c (Wᵀ dY) · V;
    dW = Σ_{n,o} dY · (mask · V);  dB = Σ_{n,o} dY.
    """
    x, w, offset, mask = given(node, 0), given(node, 1), given(node, 2), optional(node, 4)
    n, group, offset_group = spatial_rank(node, x, w), attr_int(node, "group", 1), attr_int(node, "offset_group", 1)
    examples, channels = size(op, x, 0), size(op, x, 1)
    images, own = times(op, examples, offset_group), floordiv(op, channels, offset_group)
    sizes = [size(op, x, i + 2) for i in range(n)]
    kernel: list[Size] = [*(attr_ints(node, "kernel_shape") or ())] or [size(op, w, i + 2) for i in range(n)]
    elements = _product(op, kernel)
    taps = _taps(op, node, offset, kernel, images, sizes)

    # [N, group, M/group, outputs] and [group, M/group, C/group · elements]
    outs = floordiv(op, size(op, w, 0), group)
    dy_groups = op.Reshape(dy, vector(op, [examples, group, outs, -1]))
    w_groups = op.Reshape(w, vector(op, [group, outs, -1]))
    columns = op.MatMul(op.Transpose(w_groups, perm=[0, 2, 1]), dy_groups)  # Wᵀ dY
    per_image = op.Reshape(columns, vector(op, [images, own, -1]))
    dv = op.Transpose(per_image, perm=[0, 2, 1])  # [images, elements · outputs, C/offset_group]
    flat_mask = None if mask is None else op.Reshape(mask, vector(op, [images, -1]))

    def masked(value: ir.Value) -> ir.Value:
        return value if flat_mask is None else op.Mul(value, op.Unsqueeze(flat_mask, [2]))

    def rows() -> ir.Value:
        return rows_of(op, op.Reshape(x, vector(op, [images, own, -1])), own)

    def dx() -> ir.Value:
        return op.reshape_like(image_cotangent(op, taps, masked(dv), images, own, sizes), x)

    def dw() -> ir.Value:
        values = op.Transpose(masked(sampled(op, rows(), taps)), perm=[0, 2, 1])  # [images, own, elements · outputs]
        inner = times(op, floordiv(op, channels, group), elements)
        read = op.Reshape(values, vector(op, [examples, group, inner, -1]))
        each = op.MatMul(dy_groups, op.Transpose(read, perm=[0, 1, 3, 2]))
        return op.reshape_like(op.ReduceSum(each, [0], keepdims=0), w)

    def doffset() -> ir.Value:
        products = pixel_products(op, rows(), taps, masked(dv))
        shape = vector(op, [images, elements, 1, -1])
        parts = [op.Reshape(along_axis(op, taps, products, i), shape) for i in range(n)]
        return op.reshape_like(op.Concat(*parts, axis=2), offset)

    def dmask() -> ir.Value:
        assert mask is not None
        return op.reshape_like(weighted(op, taps, pixel_products(op, rows(), taps, dv)), mask)

    def db() -> ir.Value:
        total: ir.Value = op.ReduceSum(dy, [0, *range(2, n + 2)], keepdims=0)
        return total

    return (dx, dw, doffset, db, dmask)[: len(node.inputs)]


def _taps(
    op: OpBuilder, node: ir.Node, offset: ir.Value, kernel: list[Size], images: Size, sizes: list[Size]
) -> list[Tap]:
    """The taps of every kernel element at every output position: points [images, elements · outputs]."""
    n = len(kernel)
    strides, dilations = attr_ints(node, "strides") or [1] * n, attr_ints(node, "dilations") or [1] * n
    pads = attr_ints(node, "pads") or [0] * (2 * n)
    outputs = [size(op, node.outputs[0], i + 2) for i in range(n)]
    moves = op.Reshape(offset, vector(op, [images, _product(op, kernel), n, -1]))
    per_axis = []
    for i in range(n):
        # [kernel..., outputs...] → [elements, outputs]: where the kernel's elements lie before they are moved
        element = _along(op, kernel[i], dilations[i], i, 2 * n)
        output = _along(op, outputs[i], strides[i], n + i, 2 * n)
        grid = op.Expand(op.Add(op.Add(element, output), -pads[i]), vector(op, [*kernel, *outputs]))
        start = op.Reshape(grid, vector(op, [_product(op, kernel), -1]))
        point = op.Add(op.Gather(moves, i, axis=2), op.CastLike(start, offset))
        place = op.Reshape(point, vector(op, [images, -1]))
        length = op.CastLike(vector(op, [sizes[i]]), offset)
        per_axis.append([inside(op, t, length, zeros=True) for t in axis_taps(op, place, "linear")])
    return corners(op, per_axis, images, sizes)


def _along(op: OpBuilder, count: Size, step: int, axis: int, rank: int) -> ir.Value:
    """0, step, 2·step, ... (``count`` of them) laid along ``axis`` of ``rank``."""
    numbers = op.Mul(op.Range(0, op.Squeeze(vector(op, [plus(op, count, 0)]), [0]), 1), step)
    laid: ir.Value = op.Reshape(numbers, [-1 if i == axis else 1 for i in range(rank)])
    return laid


def _product(op: OpBuilder, sizes: list[Size]) -> Size:
    total: Size = 1
    for length in sizes:
        total = times(op, total, length)
    return total
