"""A normalisation's gradient in terms of the normalised tensor, in ONNX Runtime on CUDA.

With u = x̂ / √n, which the operator computes in one kernel, the gradient r·w − d·r³·mean(g·d) over n
numbers is r·(w − u·Σ g·u): five kernels in the place of ten (a mean is two). The root mean square's, which networks
write out in seven nodes, becomes ONNX Runtime's own SimplifiedLayerNormalization in the forward pass too.

Replaced for float32 along a last axis of known length, in bodies too; others stay. r is read where it is computed
already: what ONNX Runtime 1.31 makes of such a node in GPT-2 has no further outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnx_ig.runtime.substitution import Substitute, is_number, made_by, number, reduces_last_axis

_LAYER, _ROOT_MEAN_SQUARE = "LayerNormalization", "SimplifiedLayerNormalization"


class ReadNormalisedPass(ir.passes.InPlacePass):
    """Rewrite gradients of layer and root-mean-square normalisations, and the latter themselves.

    For layer normalisations behind :class:`KeepStatisticsPass`, which has them keep mean x and r.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        rewritten = 0
        for rewrite in (_pull_back, _normalise):
            nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
            rewritten += sum(rewrite(model, node) for node in nodes if node.graph is not None)
        return ir.passes.PassResult(model, rewritten > 0)


@dataclass(frozen=True)
class _Normalised:
    """x̂ = d·r of the operator, over the ``length`` numbers of the last axis."""

    op_type: str
    x: ir.Value
    epsilon: float
    length: int


def _pull_back(model: ir.Model, node: ir.Node) -> bool:
    """Rewrite w·r − d·(r·r·r·mean(g·d)) of a normalisation d·r."""
    if node.op_type != "Sub" or node.outputs[0].dtype != ir.DataType.FLOAT:
        return False
    first, second = made_by(node.inputs[0], "Mul"), made_by(node.inputs[1], "Mul")
    share = None if second is None else made_by(second.inputs[1], "Mul")
    if first is None or second is None or share is None:
        return False
    (w, r), d = first.inputs, second.inputs[0]
    mean = made_by(share.inputs[1], "ReduceMean")
    product = made_by(mean.inputs[0], "Mul") if mean is not None and reduces_last_axis(mean) else None
    if w is None or r is None or d is None or product is None or product.inputs[1] is not d:
        return False
    of = _of(d, r) if _is_cube(share.inputs[0], r) else None
    if of is None:
        return False
    op, g = Substitute(model, node), product.inputs[0]
    weights = np.full(of.length, of.length**-0.5, np.float32)
    u = op(of.op_type, of.x, weights, axis=-1, epsilon=of.epsilon, stash_type=1)  # r is the other one's: see above
    total = op("ReduceSum", op("Mul", g, u), np.array([-1]), keepdims=1)
    op("Mul", op("Sub", w, op("Mul", u, total)), r)
    op.put()
    return True


def _normalise(model: ir.Model, node: ir.Node) -> bool:
    """Rewrite s·(x·r) of a root-mean-square normalisation."""
    if node.op_type != "Mul" or node.graph is None:
        return False
    for scale, scaled in (node.inputs, reversed(node.inputs)):
        product = made_by(scaled, "Mul")
        for x, r in () if product is None else (product.inputs, reversed(product.inputs)):
            of = None if x is None or r is None else _root_mean_square(x, r)
            if of is not None and scale is not None and _is_row(scale) == of.length:
                op = Substitute(model, node)
                op(_ROOT_MEAN_SQUARE, of.x, scale, axis=-1, epsilon=of.epsilon, stash_type=1)
                op.put()
                return True
    return False


def _of(d: ir.Value, r: ir.Value) -> _Normalised | None:
    return _layer(d, r) or _root_mean_square(d, r)


def _layer(d: ir.Value, r: ir.Value) -> _Normalised | None:
    """d = x − mean x and r as a LayerNormalization of x keeps them."""
    node, centred = made_by(r, _LAYER), made_by(d, "Sub")
    if node is None or centred is None or len(node.outputs) < 3 or node.attributes.get_int("axis", -1) != -1:
        return None
    x, scale = node.inputs[0], node.inputs[1]
    if r is not node.outputs[2] or list(centred.inputs) != [x, node.outputs[1]] or x is None or scale is None:
        return None
    length = _last(x) or _last(scale)
    return None if length is None else _Normalised(_LAYER, x, node.attributes.get_float("epsilon", 1e-5), length)


def _root_mean_square(x: ir.Value, r: ir.Value) -> _Normalised | None:
    """r = (mean x² + ε)^(−½)."""
    inverse = made_by(r, "Div") or made_by(r, "Reciprocal")
    if inverse is None or (inverse.op_type == "Div" and not is_number(inverse.inputs[0], 1.0)):
        return None
    root = made_by(inverse.inputs[-1], "Sqrt")
    total = None if root is None else made_by(root.inputs[0], "Add")
    mean = None if total is None else made_by(total.inputs[0], "ReduceMean")
    if total is None or mean is None or not reduces_last_axis(mean) or x.dtype != ir.DataType.FLOAT:
        return None
    square = made_by(mean.inputs[0], "Pow") or made_by(mean.inputs[0], "Mul")
    if square is None or square.inputs[0] is not x:
        return None
    if square.inputs[1] is not x and (square.op_type == "Mul" or not is_number(square.inputs[1], 2.0)):
        return None
    epsilon, length = number(total.inputs[1]), _last(x) or _scaled_by(x, r)
    return None if epsilon is None or length is None else _Normalised(_ROOT_MEAN_SQUARE, x, epsilon, length)


def _scaled_by(x: ir.Value, r: ir.Value) -> int | None:
    """The length of the weights that x·r is multiplied by, as long as its last axis."""
    for product, _ in x.uses():
        if product.op_type == "Mul" and {*product.inputs} == {x, r}:
            for reader, index in product.outputs[0].uses():
                scale = reader.inputs[1 - index] if reader.op_type == "Mul" else None
                if scale is not None and (length := _is_row(scale)):
                    return length
    return None


def _is_row(scale: ir.Value) -> int | None:
    """The length of a constant of one axis, if it is more than one number."""
    return _last(scale) if scale.const_value is not None and len(scale.const_value.shape) == 1 else None


def _last(x: ir.Value) -> int | None:
    """The length of the last axis, if it is known and more than one."""
    length = x.shape[-1] if x.shape is not None and len(x.shape) else None
    return length if isinstance(length, int) and length > 1 else None


def _is_cube(cube: ir.Value | None, r: ir.Value) -> bool:
    outer = made_by(cube, "Mul")
    square = None if outer is None else made_by(outer.inputs[0], "Mul")
    return outer is not None and square is not None and [*square.inputs, outer.inputs[1]] == [r, r, r]
