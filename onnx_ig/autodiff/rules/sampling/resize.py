"""VJP rule of Resize: along each axis a product with the transposed interpolation matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.autodiff.reverse import derivative_of
from onnx_ig.autodiff.rules.sampling.interpolation import Interpolation, axis_matrix
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import (
    attr_float,
    attr_int,
    attr_ints,
    attr_str,
    constant,
    given,
    known_rank,
    optional,
)
from onnx_ig.graph.sizes import Size, size, sizes, vector


@vjp("Resize")
def resize(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = (R₁ ⊗ R₂ ⊗ …) x, one matrix Rₐ[output size, input size] per axis:  dx = (R₁ᵀ ⊗ R₂ᵀ ⊗ …) dy.

    Nearest upsampling by a whole factor repeats elements: their cotangents are summed. The matrices' own dependence on
    roi and scales is differentiated as they are written.
    """

    def parameter(index: int) -> Callable[[], ir.Value | None]:
        return lambda: derivative_of(op, lambda: resized(op, node, sizes(op, node.outputs[0])), dy, given(node, index))

    return (lambda: _input_cotangent(op, node, dy), parameter(1), parameter(2), None)[: len(node.inputs)]


def _input_cotangent(op: OpBuilder, node: ir.Node, dy: ir.Value) -> ir.Value:
    x = given(node, 0)
    how, axes, rank = _interpolation(node), _axes(node), _rank(node, x)
    repeats: dict[int, int] = {}
    for i, axis in enumerate(axes):
        if _unchanged(node, how, x, axis, i):
            continue
        scale = _scale(op, node, x, axes, i)
        if isinstance(scale, float) and how.repeats(scale):
            repeats[axis] = int(scale)
            continue
        dy = _along(op, dy, axis, _matrix(op, node, i, scale, size(op, node.outputs[0], axis)), size(op, x, axis), rank)
    return _summed(op, dy, repeats, x, rank) if repeats else dy


def resized(op: OpBuilder, node: ir.Node, lengths: Sequence[Size]) -> ir.Value:
    """y by the matrices, whose elements depend on roi and scales; ``lengths``: y's size along each axis."""
    x = given(node, 0)
    how, axes, result = _interpolation(node), _axes(node), x
    for i, axis in enumerate(axes):
        if not _unchanged(node, how, x, axis, i):
            matrix = _matrix(op, node, i, _scale(op, node, x, axes, i), lengths[axis])
            result = _along(op, result, axis, op.Transpose(matrix, perm=[1, 0]), lengths[axis], _rank(node, x))
    return result


def resized_lengths(op: OpBuilder, node: ir.Node) -> list[Size]:
    """y's size along each axis, from x and the node's scales or sizes where its shape does not tell."""
    x, y, axes = given(node, 0), node.outputs[0], _axes(node)
    lengths = [size(op, x, axis) for axis in range(_rank(node, x))]
    for i, axis in enumerate(axes):
        known = None if y.shape is None else y.shape[axis]
        wanted = optional(node, 3)
        if isinstance(known, int):
            lengths[axis] = known
        elif wanted is not None and attr_str(node, "keep_aspect_ratio_policy", "stretch") == "stretch":
            lengths[axis] = op.Slice(wanted, [i], [i + 1], [0])
        else:
            scaled = op.Mul(op.Cast(op.dim(x, axis), to=ir.DataType.FLOAT), _scale(op, node, x, axes, i))
            whole = op.Floor(scaled if wanted is None else op.Add(scaled, 0.5))
            lengths[axis] = op.Cast(whole, to=ir.DataType.INT64)
    return lengths


def _matrix(op: OpBuilder, node: ir.Node, i: int, scale: ir.Value | float, length: Size) -> ir.Value:
    """Rₐ for the i-th of the resized axes, ``length`` rows, in x's type."""
    x, how, axes = given(node, 0), _interpolation(node), _axes(node)
    roi = _roi(op, node, i, len(axes)) if how.coordinates == "tf_crop_and_resize" else None
    return cast_like(op, axis_matrix(op, how, size(op, x, axes[i]), length, scale, roi), x)


def _interpolation(node: ir.Node) -> Interpolation:
    return Interpolation(
        mode=attr_str(node, "mode", "nearest"),
        coordinates=attr_str(node, "coordinate_transformation_mode", "half_pixel"),
        rounding=attr_str(node, "nearest_mode", "round_prefer_floor"),
        cubic_a=attr_float(node, "cubic_coeff_a", -0.75),
        exclude_outside=attr_int(node, "exclude_outside", 0) == 1,
        antialias=attr_int(node, "antialias", 0) == 1,
    )


def _axes(node: ir.Node) -> list[int]:
    rank = _rank(node, given(node, 0))
    return [a % rank for a in attr_ints(node, "axes") or range(rank)]


def _rank(node: ir.Node, x: ir.Value) -> int:
    """The number of x's axes, from its shape or from the number of scales or sizes."""
    for given_sizes in (constant(optional(node, 2)), constant(optional(node, 3))):
        if given_sizes is not None and given_sizes.size and "axes" not in node.attributes:
            return int(given_sizes.size)
    return known_rank(node, x)


def _unchanged(node: ir.Node, how: Interpolation, x: ir.Value, axis: int, i: int) -> bool:
    """Whether the axis is known to be left as it is."""
    if how.coordinates == "tf_crop_and_resize":
        return False
    scales, y = constant(optional(node, 2)), node.outputs[0]
    if scales is not None and scales.size:
        return bool(scales[i] == 1.0)
    if x.shape is None or y.shape is None:
        return False
    before, after = x.shape[axis], y.shape[axis]
    if isinstance(before, ir.SymbolicDim) and before.value is None:
        return False  # two unknown sizes
    return before == after and attr_str(node, "keep_aspect_ratio_policy", "stretch") == "stretch"


def _scale(op: OpBuilder, node: ir.Node, x: ir.Value, axes: list[int], i: int) -> ir.Value | float:
    """The factor along the i-th of ``axes``: a number where known, else float32 [1]."""
    scales, sizes = optional(node, 2), optional(node, 3)
    factor: ir.Value
    if sizes is None:
        factor = op.Slice(scales, [i], [i + 1], [0])
    else:
        lengths = vector(op, [size(op, x, a) for a in axes])
        ratios = op.Div(op.Cast(sizes, to=ir.DataType.FLOAT), op.Cast(lengths, to=ir.DataType.FLOAT))
        policy = attr_str(node, "keep_aspect_ratio_policy", "stretch")
        if policy == "stretch":
            factor = op.Slice(ratios, [i], [i + 1], [0])
        else:
            factor = (op.ReduceMin if policy == "not_larger" else op.ReduceMax)(ratios, keepdims=1)
    known = constant(factor)
    return factor if known is None else float(known.item())


def _roi(op: OpBuilder, node: ir.Node, i: int, n: int) -> tuple[ir.Value, ir.Value]:
    """Start and end of the region along the i-th of n axes, float32 [1]."""
    roi = op.Cast(given(node, 1), to=ir.DataType.FLOAT)
    return op.Slice(roi, [i], [i + 1], [0]), op.Slice(roi, [n + i], [n + i + 1], [0])


def _along(op: OpBuilder, dy: ir.Value, axis: int, matrix: ir.Value, length: Size, rank: int) -> ir.Value:
    """Σ_o matrix[o, i] dy[..., o, ...] along ``axis``."""
    product: ir.Value
    if axis == rank - 1:
        product = op.MatMul(dy, matrix)
        return product
    turned = op.Transpose(matrix, perm=[1, 0])
    if axis == rank - 2:
        product = op.MatMul(turned, dy)
        return product
    # the axes after this one ride as one column axis
    after = [size(op, dy, i) for i in range(axis + 1, rank)]
    columns = op.Reshape(dy, [0] * (axis + 1) + [-1])
    product = op.Reshape(op.MatMul(turned, columns), vector(op, [*[0] * axis, length, *after]))
    return product


def _summed(op: OpBuilder, dy: ir.Value, repeats: dict[int, int], x: ir.Value, rank: int) -> ir.Value:
    """dy summed over groups of ``repeats[axis]`` neighbours along each of the axes."""
    split: list[Size] = []
    summed = []
    for axis in range(rank):
        split.append(size(op, x if axis in repeats else dy, axis))
        if axis in repeats:
            summed.append(len(split))
            split.append(repeats[axis])
    columns = op.Reshape(dy, vector(op, split))
    total: ir.Value = op.ReduceSum(columns, np.array(summed, np.int64), keepdims=0)
    return total
