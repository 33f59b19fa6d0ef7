"""a + b·c in one kernel, in ONNX Runtime on CUDA.

SiLU's derivative s + y·(1 − s), and that of a GELU, are such sums of tensors of one shape. ONNX Runtime's GatedAdd
multiplies rows by numbers; with rows of one number that is any product.

Replaced where all three are computed from one tensor element by element, so that they have its shape, and nothing else
reads the product; in bodies too. Older versions of ONNX Runtime, which do not know the operator, keep the sums.
"""

from __future__ import annotations

import functools

import numpy as np
import onnx_ir as ir

from onnx_ig.runtime.substitution import Substitute, made_by, number

_DOMAIN, _GATED_ADD = "com.microsoft", "GatedAdd"
_OF_ONE = frozenset(("Sigmoid", "HardSigmoid", "Tanh", "Erf", "Exp", "Neg", "Abs", "Sqrt", "Identity", "HardSwish"))
_OF_TWO = frozenset(("Add", "Sub", "Mul", "Div", "Pow"))
_TYPES = frozenset((ir.DataType.FLOAT, ir.DataType.FLOAT16))


class AddProductsPass(ir.passes.InPlacePass):
    """Replace Add(a, Mul(b, c)) of one shape by GatedAdd."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        nodes = list(ir.traversal.RecursiveGraphIterator(model.graph)) if _is_known() else []
        origins: dict[ir.Value, ir.Value] = {}
        for node in nodes:
            _trace(node, origins)
        return ir.passes.PassResult(model, sum(_fuse(model, node, origins) for node in nodes) > 0)


@functools.cache
def _is_known() -> bool:
    """Whether this version of ONNX Runtime has the operator."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return any((s.domain, s.name) == (_DOMAIN, _GATED_ADD) for s in state.get_all_operator_schema())


def _trace(node: ir.Node, origins: dict[ir.Value, ir.Value]) -> None:
    """Note from which tensor, whose shape it has, the node's output is computed."""
    tensors = [x for x in node.inputs if x is not None and number(x) is None]
    if node.domain not in ("", "ai.onnx") or node.op_type not in _OF_ONE | _OF_TWO or not tensors:
        return
    found = {origins.get(x, x) for x in tensors}
    if len(found) == 1 and all(_is_scalar(x) for x in node.inputs if x is not None and x not in tensors):
        origins[node.outputs[0]] = found.pop()


def _is_scalar(x: ir.Value) -> bool:
    return x.const_value is not None and len(x.const_value.shape) == 0


def _fuse(model: ir.Model, node: ir.Node, origins: dict[ir.Value, ir.Value]) -> bool:
    if node.op_type != "Add" or node.outputs[0].dtype not in _TYPES:
        return False
    for a, product in (node.inputs, reversed(node.inputs)):
        mul = made_by(product, "Mul")
        if a is None or mul is None or len(mul.outputs[0].uses()) > 1 or mul.outputs[0].is_graph_output():
            continue
        three = [a, *(x for x in mul.inputs if x is not None)]
        if len({origins.get(x, x) for x in three}) > 1 or any(x.const_value is not None for x in three):
            continue
        op, last = Substitute(model, node), np.array([-1])
        apart = [op("Unsqueeze", x, last) for x in three]
        op("Squeeze", op(_GATED_ADD, *apart, domain=_DOMAIN), last)
        op.put()
        model.opset_imports.setdefault(_DOMAIN, 1)
        return True
    return False
