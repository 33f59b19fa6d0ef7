"""Rewritings of what ONNX Runtime's highest optimisation level writes on CPU (domain com.microsoft.nchwc).

There a tensor declared [N, C, H, W] lies in memory as [N, C/b, H, W, b], channels padded to a multiple of the block b:
8 or 16, the width of the processor's registers, which the file does not state. The one idea: every operator is the
standard one between unblocking and blocking, and an unblocking of what was just blocked is left out.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.common.types import Array
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, attr_str, constant, given, optional, refuse
from onnx_ig.loading.foreign.microsoft.activation import activated
from onnx_ig.loading.foreign.table import BLOCKED, UNOPTIMISED, foreign
from onnx_ig.runtime.channel_blocks import block_size_here

_BLOCKS = (8, 16)
_PLAIN = "onnx_ig.unblocked"  # on a blocked value: the value it was made of
_BLOCK = "onnx_ig.block"  # on a graph: its block size
_WINDOW = ("auto_pad", "ceil_mode", "count_include_pad", "dilations", "group", "kernel_shape", "pads", "strides")


@foreign("ReorderInput", domain=BLOCKED)
def reorder_input(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """[N, C, H, W] (``channels_last``: [N, H, W, C]) → blocked, C padded with zeros."""
    block, x = _block_size(op, node), given(node, 0)
    if attr_int(node, "channels_last", 0):
        x = op.Transpose(x, perm=[0, 3, 1, 2])
    channels = None if x.shape is None else x.shape[1]
    if not isinstance(channels, int):
        raise refuse(node, "the number of its channels is unknown", "Declare the shapes of the model's inputs")
    if missing := -channels % block:
        x = op.Pad(x, op.constant(np.array([0] * 5 + [missing, 0, 0], np.int64)))
    return [_blocked(op, x, block)]


@foreign("ReorderOutput", domain=BLOCKED)
def reorder_output(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Blocked → [N, C, H, W] (``channels_last``: [N, H, W, C]) without the padding."""
    x, channels = _plain(op, given(node, 0), _block_size(op, node)), attr_int(node, "channels", 0)
    if x.shape is None or x.shape[1] != channels:
        x = op.Slice(x, [0], [channels], [1])
    return [op.Transpose(x, perm=[0, 2, 3, 1]) if attr_int(node, "channels_last", 0) else x]


@foreign("Conv", domain=BLOCKED)
def conv(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Y = activation(Conv(X, W, B) + Z). X of fewer channels than a block is not blocked."""
    block, x, w = _block_size(op, node), given(node, 0), constant(given(node, 1))
    if w is None:
        raise refuse(node, "its weights are only known at run time", UNOPTIMISED)
    if _reads_blocked(node, w.shape, block):
        x = _plain(op, x, block)
    inputs = [x, op.constant(ir.tensor(_unblocked_weights(w, block))), optional(node, 2)]
    (y,) = op.add_node("Conv", inputs if inputs[2] is not None else inputs[:2], _kept(node), 1)
    if (added := optional(node, 3)) is not None:
        y = op.Add(y, _plain(op, added, block))
    if kind := attr_str(node, "activation", ""):
        parameters = node.attributes.get("activation_params")
        y = activated(op, node, y, kind, [] if parameters is None else list(parameters.as_floats()))
    return [_blocked(op, y, block)]


@foreign("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", domain=BLOCKED)
def pool(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """The standard's operator of the same name."""
    block = _block_size(op, node)
    (y,) = op.add_node(node.op_type, [_plain(op, given(node, 0), block)], _kept(node), 1)
    return [_blocked(op, y, block)]


@foreign("Upsample", domain=BLOCKED)
def upsample(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Resize by whole factors; nearest: rounded down."""
    block = _block_size(op, node)
    scales = np.array(node.attributes["scales"].as_ints(), np.float32)
    y = op.Resize(
        _plain(op, given(node, 0), block),
        None,
        op.constant(ir.tensor(scales)),
        mode=attr_str(node, "mode", "nearest"),
        coordinate_transformation_mode=attr_str(node, "coordinate_transformation_mode", "asymmetric"),
        nearest_mode="floor",
    )
    return [_blocked(op, y, block)]


def _blocked(op: OpBuilder, x: ir.Value, block: int) -> ir.Value:
    """[N, C, H, W] → the same shape with memory in the order [N, C/b, H, W, b]."""
    split = op.Reshape(op.Transpose(x, perm=[0, 2, 3, 1]), [0, 0, 0, -1, block])
    y = op.Reshape(op.Transpose(split, perm=[0, 3, 1, 2, 4]), op.Shape(x))
    y.meta[_PLAIN] = x
    return y


def _plain(op: OpBuilder, x: ir.Value, block: int) -> ir.Value:
    """The inverse of :func:`_blocked`."""
    if _PLAIN in x.meta:
        return x.meta[_PLAIN]
    split = op.Reshape(x, [0, -1, 0, 0, block])
    return op.Reshape(op.Transpose(split, perm=[0, 1, 4, 2, 3]), op.Shape(x))


def _unblocked_weights(w: Array, block: int) -> Array:
    """[O, I, H, W] out of memory in the order [O/b, I/b, H, W, b of I, b of O], for I < b (depthwise too) in the order
    [O/b, I, H, W, b].
    """
    o, i, *kernel = w.shape
    if i < block:
        return np.ascontiguousarray(w.reshape(o // block, i, *kernel, block).transpose(0, 4, 1, 2, 3)).reshape(w.shape)
    split = w.reshape(o // block, i // block, *kernel, block, block)
    return np.ascontiguousarray(split.transpose(0, 5, 1, 4, 2, 3)).reshape(w.shape)


def _reads_blocked(node: ir.Node, weights: tuple[int, ...], block: int) -> bool:
    return weights[1] >= block or attr_int(node, "group", 1) > 1


def _kept(node: ir.Node) -> dict[str, ir.Attr]:
    return {name: node.attributes[name] for name in _WINDOW if name in node.attributes}


# -- the block size ------------------------------


def _block_size(op: OpBuilder, node: ir.Node) -> int:
    """What the weights' shapes tell; where both sizes fit, this machine's, with which ONNX Runtime reads the file here.

    Raises:
        NotDifferentiableError: neither fits, or both and this machine has no such kernels.
    """
    if _BLOCK not in op.graph.meta:  # once, while every node is there
        found = [
            block for block in _BLOCKS if all(_fits(other, block) for other in op.graph if other.domain == BLOCKED)
        ]
        if len(found) > 1:
            found = [block for block in found if block == block_size_here()]
        op.graph.meta[_BLOCK] = found[0] if found else 0
    block = op.graph.meta[_BLOCK]
    if not block:
        raise refuse(
            node,
            "the model was optimised for one kind of processor: its weights are stored in blocks of unknown size",
            "Optimise at a lower level (ORT_ENABLE_EXTENDED), or use the model as it was before optimisation",
        )
    return int(block)


def _fits(node: ir.Node, block: int) -> bool:
    """Whether the shapes around ``node`` are possible with this block size."""
    if node.op_type == "ReorderOutput":
        source = given(node, 0).producer()
        w = None if source is None or source.op_type != "Conv" else constant(given(source, 1))
        channels = attr_int(node, "channels", 0)
        return w is None or len(w) == channels + -channels % block
    w = constant(given(node, 1)) if node.op_type == "Conv" else None
    if w is None:
        return True
    o, i = w.shape[:2]
    return o % block == 0 and (i < block or i % block == 0)
