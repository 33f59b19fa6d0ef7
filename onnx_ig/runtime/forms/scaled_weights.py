"""A constant factor in the weights of the product behind it, in ONNX Runtime on CUDA.

c · x is a kernel of its own there, and a mean is two: a sum and a division. What comes between the factor and a
convolution or a product by constant weights (views, a selection whose only other value is 0) lets the factor pass, so
that c · W takes it. Squeeze-and-excitation has a mean and a HardSigmoid's slope in each block.

Replaced for float32 in the main graph, where nothing else reads the values between and the weights are few (a Gemm has
a factor of its own); a mean where its number of terms is known. A factor behind a convolution stays: ONNX Runtime takes
it into those weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from onnx_ig.runtime.in_place import inferred_shapes
from onnx_ig.runtime.substitution import Substitute, is_number, made_by, number, remove_unread

_VIEWS = frozenset(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"))
_PRODUCTS = frozenset(("Conv", "MatMul", "Gemm"))
_MOST_BYTES = 4 << 20  # of weights that are copied: beside the copy stand those that the gradient reads


class ScaleWeightsPass(ir.passes.InPlacePass):
    """Multiply the weights of Conv, MatMul and Gemm by the factors of what they are applied to."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        scaled = sum(_scale_later(model, node) for node in list(model.graph) if node.op_type == "Mul")
        means = [node for node in model.graph if node.op_type == "ReduceMean" and _product_behind(node.outputs[0])]
        shapes = inferred_shapes(model) if means else {}
        scaled += sum(_sum_instead(model, node, shapes) for node in means)
        return ir.passes.PassResult(model, scaled > 0)


def _sum_instead(model: ir.Model, node: ir.Node, shapes: Mapping[str, ir.Shape]) -> bool:
    """Replace a mean of n numbers by their sum, and W by W / n."""
    x, axes = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    shape = None if x is None else shapes.get(str(x.name))
    if shape is None or axes is None or axes.const_value is None or node.outputs[0].dtype != ir.DataType.FLOAT:
        return False
    lengths = [shape[int(axis)] for axis in axes.const_value.numpy()]
    known = [length for length in lengths if isinstance(length, int)]
    product = _product_behind(node.outputs[0])
    if product is None or len(known) < len(lengths) or not known:
        return False
    _scale(model, product, 1 / math.prod(known), node)
    op = Substitute(model, node)
    op("ReduceSum", x, axes, keepdims=node.attributes.get_int("keepdims", 1))
    op.put()
    return True


def _scale_later(model: ir.Model, node: ir.Node) -> bool:
    """Remove a multiplication by a number, and scale W by it."""
    y = node.outputs[0]
    for x, factor in (node.inputs, reversed(node.inputs)):
        scale, product = number(factor), _product_behind(y)
        if x is None or factor is None or scale is None or product is None or made_by(x, "Conv") is not None:
            continue
        if y.dtype == ir.DataType.FLOAT and factor.const_value is not None and not len(factor.const_value.shape):
            _scale(model, product, scale, node)
            ir.convenience.replace_all_uses_with(y, x)
            remove_unread(node)
            return True
    return False


def _product_behind(y: ir.Value) -> ir.Node | None:
    """The product by constant weights that alone reads ``y``, by way of what a factor passes through."""
    while len(y.uses()) == 1 and not y.is_graph_output():
        ((node, index),) = y.uses()
        if node.graph is None or node.domain not in ("", "ai.onnx") or index != (node.op_type == "Where"):
            return None
        if node.op_type in _PRODUCTS:
            return node if _may_be_scaled(node) else None
        if node.op_type not in _VIEWS and not (node.op_type == "Where" and is_number(node.inputs[2], 0.0)):
            return None
        y = node.outputs[0]
    return None


def _may_be_scaled(product: ir.Node) -> bool:
    weights = product.inputs[1]
    if weights is None or weights.const_value is None or weights.is_graph_input():
        return False
    few = product.op_type == "Gemm" or weights.const_value.nbytes <= _MOST_BYTES
    return few and weights.dtype == ir.DataType.FLOAT


def _scale(model: ir.Model, product: ir.Node, scale: float, of: ir.Node) -> None:
    """Multiply the weights of ``product`` by the factor ``of`` a node."""
    if product.op_type == "Gemm":
        alpha = product.attributes.get_float("alpha", 1.0)
        product.attributes["alpha"] = ir.AttrFloat32("alpha", alpha * scale)
        return
    weights = product.inputs[1]
    assert weights is not None and weights.const_value is not None
    name = f"{of.outputs[0].name}_scaled_weights"
    tensor = ir.tensor((weights.const_value.numpy() * scale).astype(np.float32), name=name)
    scaled = ir.Value(name=name, type=weights.type, shape=weights.shape, const_value=tensor)
    model.graph.register_initializer(scaled)
    product.replace_input_with(1, scaled)
