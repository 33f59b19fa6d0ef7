"""VJP rules of operators that only move pixels: DepthToSpace, SpaceToDepth, Col2Im."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, attr_ints, attr_str, constant, given, known_rank
from onnx_ig.graph.shapes import zeros
from onnx_ig.graph.sizes import floordiv, size, vector


@vjp("DepthToSpace")
def depth_to_space(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """Y[N, C/b², H·b, W·b] from X[N, C, H, W], channels in blocks: a permutation, undone (mode DCR by SpaceToDepth)."""
    block = attr_int(node, "blocksize", 1)
    if attr_str(node, "mode", "DCR") == "DCR":
        return op.SpaceToDepth(dy, blocksize=block)
    x = given(node, 0)
    n, c, h, w = (size(op, x, i) for i in range(4))
    split = op.Reshape(dy, vector(op, [n, floordiv(op, c, block * block), h, block, w, block]))
    return op.reshape_like(op.Transpose(split, perm=[0, 1, 3, 5, 2, 4]), x)


@vjp("SpaceToDepth")
def space_to_depth(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """Y[N, C·b², H/b, W/b] from X[N, C, H, W]: a permutation, undone by DepthToSpace."""
    return op.DepthToSpace(dy, blocksize=attr_int(node, "blocksize", 1), mode=attr_str(node, "mode", "DCR"))


@vjp("Col2Im")
def col2im(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """Y[N, C, image...] = the sum of the blocks X[N, C·elements, windows] in place:  dX = dY cut into those blocks.

    Cutting is a Conv of each channel with the unit kernels, one output channel per element of the block.
    """
    x, block = given(node, 0), given(node, 2)
    known = constant(block)
    image = [size(op, node.outputs[0], i + 2) for i in range(known_rank(node, node.outputs[0]) - 2)]
    if known is None:
        elements = op.ReduceProd(block, keepdims=1)
        square = op.EyeLike(zeros(op, op.Concat(elements, elements, axis=0), dy))
        units = op.Reshape(square, op.Concat(elements, [1], block, axis=0))
    else:
        units = op.constant(np.eye(int(known.prod()), dtype=np.float32).reshape(-1, 1, *known), like=dy)
    cut = op.Conv(
        op.Reshape(dy, vector(op, [-1, 1, *image])),
        units,
        strides=attr_ints(node, "strides"),
        dilations=attr_ints(node, "dilations"),
        pads=attr_ints(node, "pads"),
    )
    return op.reshape_like(cut, x)
