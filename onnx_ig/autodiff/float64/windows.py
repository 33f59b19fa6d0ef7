"""Convolutions, pooling and interpolation as products and sums.

The one idea: what the windows read lies side by side once Gather has picked it, element j of all windows along one axis
and the windows along the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.rules.sampling.resize import resized, resized_lengths
from onnx_ig.autodiff.rules.windows.average_pool import counts_along
from onnx_ig.autodiff.rules.windows.conv import rotated, transposed_window
from onnx_ig.autodiff.rules.windows.geometry import Axis, window
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_float, attr_int, attr_ints, attr_str, constant, given, known_rank, optional, refuse
from onnx_ig.graph.shapes import pad, reshape
from onnx_ig.graph.sizes import Size, floordiv, minus, plus, size, sizes, times, vector


def conv(op: OpBuilder, node: ir.Node) -> ir.Value:
    """Y[N, M, o] = Σ_{c,j} W[M, c, j] · X[N, c, o·stride + j·dilation − begin] + B[M], c within M's group."""
    x, w = given(node, 0), given(node, 1)
    known_rank(node, x)
    axes = window(op, node, x, w)
    counts = [_windows(op, a, size(op, x, i + 2)) for i, a in enumerate(axes)]
    return _with_bias(op, node, _product(op, x, w, axes, counts, attr_int(node, "group", 1)), len(axes))


def conv_transpose(op: OpBuilder, node: ir.Node) -> ir.Value:
    """Y[N, M, i·stride + j·dilation − begin] = Σ_{i,c,j} W[c, M, j] · X[N, c, i] + B[M], c within M's group.

    The convolution, by W rotated by half a turn, of X with stride − 1 zeros between its elements.
    """
    x, w, group = given(node, 0), given(node, 1), attr_int(node, "group", 1)
    n = known_rank(node, x) - 2
    axes = transposed_window(op, node, x, w)
    counts = [minus(op, a.covered(op, size(op, x, i + 2)), plus(op, a.begin, a.end)) for i, a in enumerate(axes)]
    for i, a in enumerate(axes):
        x = _spread_out(op, x, i + 2, a.stride)
    steps = [Axis(a.kernel, 1, a.dilation, minus(op, plus(op, a.reach(op), -1), a.begin), 0) for a in axes]
    return _with_bias(op, node, _product(op, x, rotated(op, w, n, group), steps, counts, group), n)


def average_pool(op: OpBuilder, node: ir.Node) -> ir.Value:
    """y[i] = Σ_j x[i·stride + j·dilation − begin] / count[i]."""
    x = given(node, 0)
    include_pad, ceil_mode = attr_int(node, "count_include_pad", 0) == 1, attr_int(node, "ceil_mode", 0) == 1
    known_rank(node, x)
    axes, y = window(op, node, x), x
    for i, a in enumerate(axes):
        length = size(op, x, i + 2)
        windows = _windows(op, a, length, ceil_mode)
        count = counts_along(op, a, windows, length, include_pad, ceil_mode)
        y = op.ReduceSum(_columns(op, y, i + 2, a, windows), [i + 2], keepdims=0)
        divisor = float(count) if isinstance(count, int) else op.Cast(count, to=ir.DataType.DOUBLE)
        y = op.Div(y, divisor if isinstance(count, int) else op.Reshape(divisor, [-1, *[1] * (len(axes) - 1 - i)]))
    return y


def lp_pool(op: OpBuilder, node: ir.Node) -> ir.Value:
    """y[i] = (Σ_j |x[i·stride + j·dilation − begin]|ᵖ)^(1/p)."""
    x, p = given(node, 0), float(attr_int(node, "p", 2))
    known_rank(node, x)
    y = op.Pow(op.Abs(x), p)
    for i, a in enumerate(window(op, node, x)):
        windows = _windows(op, a, size(op, x, i + 2), attr_int(node, "ceil_mode", 0) == 1)
        y = op.ReduceSum(_columns(op, y, i + 2, a, windows), [i + 2], keepdims=0)
    return op.Pow(y, 1 / p)


def global_average_pool(op: OpBuilder, node: ir.Node) -> ir.Value:
    """y[N, C, 1...] = mean of x[N, C, spatial...]."""
    return op.ReduceMean(given(node, 0), _spatial(node), keepdims=1)


def global_max_pool(op: OpBuilder, node: ir.Node) -> ir.Value:
    """y[N, C, 1...] = maximum of x[N, C, spatial...]."""
    return op.ReduceMax(given(node, 0), _spatial(node), keepdims=1)


def global_lp_pool(op: OpBuilder, node: ir.Node) -> ir.Value:
    """y[N, C, 1...] = (Σ |x|ᵖ)^(1/p)."""
    p = float(attr_int(node, "p", 2))
    return op.Pow(op.ReduceSum(op.Pow(op.Abs(given(node, 0)), p), _spatial(node), keepdims=1), 1 / p)


def instance_normalization(op: OpBuilder, node: ir.Node) -> ir.Value:
    """y = scale · (x − μ) / √(σ² + ε) + bias, mean and variance over the spatial axes of each channel."""
    x, axes = given(node, 0), _spatial(node)
    centred = op.Sub(x, op.ReduceMean(x, axes, keepdims=1))
    variance = op.ReduceMean(op.Mul(centred, centred), axes, keepdims=1)
    normal = op.Div(centred, op.Sqrt(op.Add(variance, attr_float(node, "epsilon", 1e-5))))
    scale, bias = (op.Reshape(given(node, i), [-1, *[1] * len(axes)]) for i in (1, 2))
    return op.Add(op.Mul(normal, scale), bias)


def lrn(op: OpBuilder, node: ir.Node) -> ir.Value:
    """y = x / (bias + α/size · Σ x²)^β, the sum over the ``size`` channels around each."""
    x, count = given(node, 0), attr_int(node, "size", 1)
    around = Axis(count, 1, 1, (count - 1) // 2, count // 2)
    sums = op.ReduceSum(_columns(op, op.Mul(x, x), 1, around, size(op, x, 1)), [1], keepdims=0)
    scaled = op.Mul(sums, attr_float(node, "alpha", 1e-4) / count)
    return op.Div(x, op.Pow(op.Add(scaled, attr_float(node, "bias", 1.0)), attr_float(node, "beta", 0.75)))


def col2im(op: OpBuilder, node: ir.Node) -> ir.Value:
    """The sum of overlapping blocks x[N, C · block, windows] in an image: a transposed convolution by the identity."""
    x, image, block = given(node, 0), constant(given(node, 1)), constant(given(node, 2))
    channels = size(op, x, 1)
    if image is None or block is None or not isinstance(channels, int):
        raise refuse(node, "the sizes of image, block and channels are not constant", "convert the model to float32")
    n, elements = len(image), int(block.prod())
    strides, dilations = attr_ints(node, "strides") or [1] * n, attr_ints(node, "dilations") or [1] * n
    pads = attr_ints(node, "pads") or [0] * (2 * n)
    room = [int(image[i] + pads[i] + pads[n + i] - (block[i] - 1) * dilations[i] - 1) for i in range(n)]
    counts = [r // stride + 1 for r, stride in zip(room, strides, strict=True)]
    rest = [r % stride for r, stride in zip(room, strides, strict=True)]
    identity = np.tile(np.eye(elements).reshape(elements, 1, *block), (channels // elements, *[1] * (n + 1)))
    made: ir.Value = op.ConvTranspose(
        reshape(op, x, [size(op, x, 0), channels, *counts]),
        op.constant(identity, x),
        group=channels // elements,
        strides=strides,
        dilations=dilations,
        pads=pads,
        output_padding=rest,
    )
    return made


def resize(op: OpBuilder, node: ir.Node) -> ir.Value:
    """y = (R₁ ⊗ R₂ ⊗ …) x, one matrix of interpolation per axis.

    Its elements are as in ONNX Runtime's float32 kernel, to 1e-7: the standard has the scales in float32.
    """
    if attr_str(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize":
        raise refuse(node, "what lies outside the region is no product", "convert the model to float32")
    return resized(op, node, resized_lengths(op, node))


FORMULAS = {
    "Col2Im": col2im,
    "Resize": resize,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "AveragePool": average_pool,
    "LpPool": lp_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "GlobalLpPool": global_lp_pool,
    "InstanceNormalization": instance_normalization,
    "LRN": lrn,
}


def _spatial(node: ir.Node) -> list[int]:
    return list(range(2, known_rank(node, given(node, 0))))


def _windows(op: OpBuilder, a: Axis, length: Size, ceil_mode: bool = False) -> Size:
    """How many windows slide over ``length`` positions; none begins beyond the padding at the end."""
    room = minus(op, plus(op, plus(op, a.begin, length), a.end), a.reach(op))
    whole = plus(op, floordiv(op, room, a.stride), 1)
    if not ceil_mode or a.stride == 1:
        return whole
    most = plus(op, floordiv(op, plus(op, room, a.stride - 1), a.stride), 1)
    begun = plus(op, floordiv(op, plus(op, plus(op, a.begin, length), -1), a.stride), 1)  # that start within begin + x
    if isinstance(most, int) and isinstance(begun, int):
        return min(most, begun)
    return op.Min(vector(op, [most]), vector(op, [begun]))


def _columns(op: OpBuilder, x: ir.Value, axis: int, a: Axis, windows: Size) -> ir.Value:
    """[..., kernel, windows, ...] in place of ``axis``: x[i·stride + j·dilation − begin] at j, i; zero outside x."""
    end = minus(op, a.covered(op, windows), plus(op, a.begin, size(op, x, axis)))
    padded = pad(op, x, {axis: (a.begin, end)})
    first, step = _numbers(op, windows, a.stride), _numbers(op, a.kernel, a.dilation)
    return op.Gather(padded, op.Add(op.Unsqueeze(step, [1]), first), axis=axis)


def _numbers(op: OpBuilder, count: Size, step: int) -> ir.Value:
    """0, step, 2·step, ..., ``count`` of them."""
    if isinstance(count, int):
        return op.constant(np.arange(count) * step)
    return op.Mul(op.Range(0, op.Squeeze(count, [0]), 1), step)


def _product(
    op: OpBuilder, x: ir.Value, w: ir.Value, axes: Sequence[Axis], counts: Sequence[Size], group: int
) -> ir.Value:
    """Σ_{c,j} W[M, c, j] · X[N, c, o·stride + j·dilation − begin] for ``counts`` windows along each axis."""
    n, batch, channels, outs = len(axes), size(op, x, 0), size(op, x, 1), size(op, w, 0)
    kernels: Size = 1
    for a in axes:
        kernels = times(op, kernels, a.kernel)
    for i in reversed(range(n)):
        x = _columns(op, x, i + 2, axes[i], counts[i])
    x = op.Transpose(x, perm=[0, 1, *range(2, 2 * n + 2, 2), *range(3, 2 * n + 2, 2)])
    summed = times(op, floordiv(op, channels, group), kernels)
    positions: Size = 1
    for count in counts:
        positions = times(op, positions, count)
    columns = reshape(op, x, [batch, group, summed, positions])
    matrices = reshape(op, w, [group, floordiv(op, outs, group), summed])
    return reshape(op, op.MatMul(matrices, columns), [batch, outs, *counts])


def _spread_out(op: OpBuilder, x: ir.Value, axis: int, stride: int) -> ir.Value:
    """``x`` with stride − 1 zeros between its elements along ``axis``."""
    if stride == 1:
        return x
    shape = sizes(op, x)
    spread = pad(op, op.Unsqueeze(x, [axis + 1]), {axis + 1: (0, stride - 1)})
    wide = times(op, shape[axis], stride)
    return pad(op, reshape(op, spread, [*shape[:axis], wide, *shape[axis + 1 :]]), {axis: (0, 1 - stride)})


def _with_bias(op: OpBuilder, node: ir.Node, y: ir.Value, n: int) -> ir.Value:
    bias = optional(node, 2)
    return y if bias is None else op.Add(y, op.Reshape(bias, [-1, *[1] * n]))
