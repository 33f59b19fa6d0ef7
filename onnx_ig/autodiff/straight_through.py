"""Straight-through derivatives: quantised models keep their own values and take the gradient of their float equivalent.

The one idea: a value may name another expression, its *surrogate*, whose derivative is taken for its own. The reverse
walk hands the value's cotangent to the surrogate instead of the node that made the value; it sees float tensors only.

* Each operator that quantises, dequantises or computes on quantised numbers has a :func:`~onnx_ig.autodiff.registry.
  straight_through` rule: the same as a float expression. d quantise(x)/dx is 1/scale where x lies within the range of
  the integers and 0 where it is clipped, as in torch's fake_quantize; d dequantise(q)/dq is the scale. Scales that a
  model computes from its data (DynamicQuantizeLinear) are held constant.
* An integer tensor on the path has a float copy of its numbers, the Cast of it. The copy's surrogate is the expression
  of the node that made the tensor. Operators that merely move or compare integers (Reshape, MaxPool, Concat, Add ...)
  need no rule here: their expression is the same operator on the float copies.
* So every nonlinearity is differentiated at the quantised model's own values, and of all these expressions only what
  the gradient reads stays in the graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import onnx
import onnx_ir as ir

from onnx_ig.autodiff.registry import lookup
from onnx_ig.autodiff.reverse import extend
from onnx_ig.graph.builder import OpBuilder, take_off
from onnx_ig.graph.node import refuse
from onnx_ig.graph.reading import SURROGATE, is_float, read_by

_OF = "onnx_ig.straight_through_of"  # in a surrogate's meta: the node that quantises or computes on quantised numbers
_REAL = "onnx_ig.real"  # in an integer tensor's meta: the float copy of its numbers
_DONE = "onnx_ig.surrogates"  # in a node's meta: its outputs have their surrogates


def add_surrogates(op: OpBuilder, wrt: Iterable[ir.Value]) -> bool:
    """Give surrogates to what depends on ``wrt`` by way of quantised operators or integers; whether any was new."""
    reached = set(wrt)
    changed = False
    for node in list(op.graph):
        if _DONE not in node.meta and _needs_surrogates(node, reached):
            node.meta[_DONE] = True
            before, after = _attach(op, node)
            changed = True
            for added in (*before, node, *after):
                extend(reached, added)
        else:
            extend(reached, node)
    return changed


def forget_surrogates(graph: ir.Graph) -> None:
    """Take the notes off the graph's values: the walk is over."""
    for node in ir.traversal.RecursiveGraphIterator(graph):
        for y in node.outputs:
            y.meta.pop(SURROGATE, None)
            y.meta.pop(_REAL, None)


def straight_through_operators(arrived: Iterable[ir.Value]) -> dict[str, int]:
    """How many nodes of which operators gave their cotangent to a surrogate, if a cotangent is at ``arrived``."""
    nodes = dict.fromkeys(value.meta[_OF] for value in arrived if _OF in value.meta)
    return dict(sorted(Counter(node.op_type for node in nodes).items()))


def real(op: OpBuilder, x: ir.Value) -> ir.Value:
    """The numbers of ``x`` as a float tensor: x itself, the float copy on the path, or a Cast."""
    if is_float(x):
        return x
    copy = x.meta.get(_REAL)
    return copy if copy is not None else op.Cast(x, to=ir.DataType.FLOAT)


def _needs_surrogates(node: ir.Node, reached: set[ir.Value]) -> bool:
    entry = lookup(node)
    integers = _carried(read_by(node), reached)
    if entry is not None and entry.kind == "straight-through":
        return bool(integers) or any(x in reached for x in read_by(node))
    if not integers or (entry is not None and entry.kind == "zero"):
        return False
    if any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()):
        raise refuse(
            node,
            f"its body reads or carries the quantised tensor {integers[0].name!r}",
            "Dequantise in front of the control flow, or attribute at a tensor after this node (--at)",
        )
    return True


def _carried(values: Sequence[ir.Value], reached: set[ir.Value]) -> list[ir.Value]:
    """The integer tensors among ``values`` whose numbers depend on the path."""
    return [x for x in values if _REAL in x.meta and x.meta[_REAL] in reached]


def _attach(op: OpBuilder, node: ir.Node) -> tuple[list[ir.Node], list[ir.Node]]:
    """Set the surrogates of the node's outputs; returns the nodes added before and after it."""
    graph, last = op.graph, op.graph[-1]
    entry = lookup(node)
    if entry is not None and entry.function is not None and entry.kind == "straight-through":
        expressions, straight_through = entry.function(op, node, lambda x: real(op, x)), True
    else:
        expressions, straight_through = _same_on_floats(op, node), False
    # An Identity is never rewritten, so the note stays true whatever becomes of the expression.
    anchored = [None if e is None or e.const_value is not None else op.Identity(e) for e in expressions]
    surrogates = {y: e for y, e in zip(node.outputs, anchored, strict=False) if e is not None}
    added = take_off(graph, last)
    if any(is_float(y) for y in surrogates):
        before, after = added, []
    else:
        before, after = [], added  # it may read what the node made
    for y, expression in surrogates.items():
        if straight_through:
            expression.meta[_OF] = node
        if is_float(y):
            y.meta[SURROGATE] = expression
            continue
        copy = ir.Node("", "Cast", [y], [ir.AttrInt64("to", expression.dtype or ir.DataType.FLOAT)])
        copy.outputs[0].name = op.fresh(f"{y.name}_real")
        copy.outputs[0].type = ir.TensorType(expression.dtype or ir.DataType.FLOAT)
        copy.outputs[0].shape = None if y.shape is None else y.shape.copy()
        copy.outputs[0].meta[SURROGATE] = expression
        y.meta[_REAL] = copy.outputs[0]
        after.append(copy)
    graph.insert_before(node, before)
    graph.insert_after(node, after)
    return before, after


def _same_on_floats(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """The node on the float copies of the integer tensors it reads; None for outputs that are no such numbers."""
    if node.op_type == "Cast" and node.domain == "":
        (x,) = node.inputs
        assert x is not None
        return [op.Cast(real(op, x), to=node.outputs[0].dtype) if is_float(node.outputs[0]) else real(op, x)]
    schema = _schema(node, op.opset)
    if schema is None:
        return _unknown(op, node)
    kinds = [schema.inputs[min(i, len(schema.inputs) - 1)].type_str for i in range(len(node.inputs))]
    numbers = {kind for kind, x in zip(kinds, node.inputs, strict=True) if x is not None and _REAL in x.meta}
    inputs = [
        real(op, x) if x is not None and kind in numbers else x for kind, x in zip(kinds, node.inputs, strict=True)
    ]
    made = op.add_node(node.op_type, inputs, dict(node.attributes), len(node.outputs))
    results = [schema.outputs[min(i, len(schema.outputs) - 1)].type_str for i in range(len(node.outputs))]
    return [y if kind in numbers else None for kind, y in zip(results, made, strict=True)]


def _schema(node: ir.Node, opset: int) -> onnx.defs.OpSchema | None:
    if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type, opset, ""):
        return None
    return onnx.defs.get_schema(node.op_type, opset, "")


def _unknown(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """A copy of an unknown operator, on floats: the reverse walk refuses it by name if it gets there."""
    inputs = [None if x is None else real(op, x) if _REAL in x.meta else x for x in node.inputs]
    copy = ir.Node(
        node.domain, node.op_type, inputs, list(node.attributes.values()), num_outputs=len(node.outputs), name=node.name
    )
    for y in copy.outputs:
        y.name, y.type = op.fresh("surrogate"), ir.TensorType(ir.DataType.FLOAT)
    op.graph.append(copy)
    return list(copy.outputs)
