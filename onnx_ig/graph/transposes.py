"""Transposes that the graph does without.

The one idea: (Aᵀ)ᵀ = A and (A @ B)ᵀ = Bᵀ @ Aᵀ. Runtimes read a product's factor transposed at little or no cost, but
write its result transposed in a pass of its own.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder, rank_of, take_off
from onnx_ig.graph.node import attr_ints, constant
from onnx_ig.graph.shapes import with_last_axes


class CancelTransposesPass(ir.passes.InPlacePass):
    """Read x where a Transpose undoes the one before it, as the adjoint of a model's own Transpose of a weight does.

    In the main graph; one that makes an output of the graph stays.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        return ir.passes.PassResult(model, sum(_cancel(node) for node in model.graph) > 0)


def _cancel(node: ir.Node) -> bool:
    before = node.inputs[0].producer() if node.op_type == "Transpose" and node.inputs[0] is not None else None
    if before is None or before.op_type != "Transpose" or {node.domain, before.domain} != {""}:
        return False
    first, second = attr_ints(before, "perm"), attr_ints(node, "perm")
    axes = list(range(len(first or second or [])))
    turned = axes[::-1]  # what a Transpose does without being told
    cancels = [(first or turned)[i] for i in second or turned] == axes
    x, y = before.inputs[0], node.outputs[0]
    if not cancels or x is None or y.is_graph_output() or not y.uses():
        return False
    ir.convenience.replace_all_uses_with(y, x)
    return True


def turn_products(op: OpBuilder, but: Collection[ir.Node]) -> None:
    """Replace (Aᵀ @ B)ᵀ by Bᵀ @ A and (A @ Bᵀ)ᵀ by B @ Aᵀ, in place in op's graph, also where a number scales them.

    The cotangent of the keys of attention is such a product. A product with a weight stays: runtimes want that on the
    right. ``but`` are nodes to leave as they are.
    """
    kept = set(but)
    for node in [n for n in op.graph if n not in kept and _exchanges_last(n) and not n.outputs[0].is_graph_output()]:
        value, scales = node.inputs[0], list[ir.Node]()
        while (scale := _made_for_one(value, kept)) is not None and _scaled(scale) is not None:
            scales.append(scale)
            value = _scaled(scale)
        product = _made_for_one(value, kept)
        if product is None or product.op_type != "MatMul" or product.domain != "":
            continue
        a, b = product.inputs
        if a is None or b is None or rank_of(a) is None or rank_of(a) != rank_of(b):
            continue
        turned = [_untransposed(x) for x in (a, b)]
        if not any(turned) or any(x is not None and x.const_value is not None for x in (a, b, *turned)):
            continue
        last = op.graph[-1]
        y = op.MatMul(*(_untransposed(x) or with_last_axes(op, x, [1, 0]) for x in (b, a)))
        for scale in reversed(scales):
            y = op.add_node(scale.op_type, [y if x is _scaled(scale) else x for x in scale.inputs], {}, 1)[0]
        op.graph.insert_before(node, take_off(op.graph, last))
        ir.convenience.replace_all_uses_with(node.outputs[0], y)


def _made_for_one(value: ir.Value | None, kept: Collection[ir.Node]) -> ir.Node | None:
    """The node, none of ``kept``, that makes ``value`` for one other alone."""
    node = None if value is None or len(value.uses()) != 1 or value.is_graph_output() else value.producer()
    return None if node in kept else node


def _scaled(node: ir.Node) -> ir.Value | None:
    """x of x · c and x / c where c is one number."""
    if node.domain != "" or node.op_type not in ("Mul", "Div"):
        return None
    for x, c in (node.inputs, node.inputs[::-1])[: 2 if node.op_type == "Mul" else 1]:
        number, rank = constant(c), None if x is None else rank_of(x)
        if number is not None and number.size == 1 and rank is not None and number.ndim <= rank:
            return x
    return None


def _untransposed(value: ir.Value) -> ir.Value | None:
    """x if ``value`` is x with its last two axes exchanged."""
    node = value.producer()
    return node.inputs[0] if node is not None and _exchanges_last(node) else None


def _exchanges_last(node: ir.Node) -> bool:
    perm = attr_ints(node, "perm") if node.op_type == "Transpose" and node.domain == "" else None
    n = 0 if perm is None else len(perm)
    return n > 1 and perm == [*range(n - 2), n - 1, n - 2]
