"""Rewrite nodes that have no VJP rule into nodes that do: by our own lowering, or by the standard's function body."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnx_ig.autodiff.composites import composite_of
from onnx_ig.autodiff.function_bodies import function_body, has_body
from onnx_ig.autodiff.registry import PreparationRule, lookup, prepare
from onnx_ig.autodiff.reverse import dependents
from onnx_ig.autodiff.straight_through import add_surrogates
from onnx_ig.errors import NotDifferentiableError
from onnx_ig.graph.builder import OpBuilder, take_off
from onnx_ig.graph.node import REFUSAL, unknown_rank
from onnx_ig.graph.reading import captured_by, is_float


def lower_path(op: OpBuilder, wrt: Sequence[ir.Value]) -> dict[ir.Value, ir.Value]:
    """Expand, in place in op's graph, every node that depends on ``wrt`` and has no rule of its own, until none is
    left to expand.

    Returns:
        The values that were replaced, each with the one that took its place (and its name).
    """
    graph = op.graph
    replaced: dict[ir.Value, ir.Value] = {}
    while True:
        on_path = dependents(graph, wrt)
        expandable = [node for node in graph if any(y in on_path for y in node.outputs) and _needs_lowering(node)]
        made = [outputs for node in expandable if (outputs := expand(op, node)) is not None]
        if not made:
            if add_surrogates(op, wrt):
                continue  # what depends on them is on the path now
            _lower_bodies(op, on_path)
            return _restate(op, on_path, wrt, replaced)
        for outputs in made:
            replaced = _and_then(replaced, outputs)


def _and_then(replaced: dict[ir.Value, ir.Value], outputs: dict[ir.Value, ir.Value]) -> dict[ir.Value, ir.Value]:
    return {old: outputs.get(new, new) for old, new in replaced.items()} | outputs


def _restate(
    op: OpBuilder, on_path: set[ir.Value], wrt: Sequence[ir.Value], replaced: dict[ir.Value, ir.Value]
) -> dict[ir.Value, ir.Value]:
    """Write functions that exporters spell in their own ways as runtimes know them; returns ``replaced`` extended."""
    for node in [node for node in op.graph if node.outputs[0] in on_path]:
        whole = composite_of(node)
        if whole is None or whole.usual is None or whole.inner.intersection(wrt):
            continue
        last = op.graph[-1]
        y = whole.usual(op)
        replaced = _and_then(replaced, _replace(op.graph, node, take_off(op.graph, last), [y]))
    return replaced


def _lower_bodies(op: OpBuilder, on_path: set[ir.Value]) -> None:
    """The same inside the bodies of control-flow operators on the path, for what depends on their inputs or on it."""
    for node in op.graph:
        if not any(y in on_path for y in node.outputs):
            continue
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                body = attribute.as_graph()
                roots = [*filter(is_float, body.inputs), *(v for v in captured_by(body) if v in on_path)]
                lower_path(OpBuilder(body, parent=op), roots)


def _needs_lowering(node: ir.Node) -> bool:
    entry = lookup(node)
    return entry is None or entry.kind in ("lowering", "rule")


def expand(op: OpBuilder, node: ir.Node) -> dict[ir.Value, ir.Value] | None:
    """Replace the node; returns its outputs with what took their place, None if nothing is known to expand it into."""
    entry = lookup(node)
    if entry is not None and entry.kind == "rule":
        return rewrite(op, node, prepare)
    if entry is not None and entry.function is not None:
        return rewrite(op, node, entry.function)
    function = function_body(node, op.opset)
    if function is None:
        unknown = [x for x in node.inputs if x is not None and x.shape is None]
        if unknown and has_body(node, op.opset):
            node.meta[REFUSAL] = unknown_rank(node, unknown[0])
        return None
    last = op.graph[-1]
    outputs = _instantiate(op, ir.from_proto(function), node)
    return _replace(op.graph, node, take_off(op.graph, last), outputs)


def rewrite(op: OpBuilder, node: ir.Node, rule: PreparationRule) -> dict[ir.Value, ir.Value] | None:
    """Replace the node by what ``rule`` makes of it; returns its outputs with what took their place.

    None where there is nothing to do, or the rule refuses it: the node stays, and the refusal is raised if a cotangent
    gets there.
    """
    last = op.graph[-1]
    try:
        made = rule(op, node)
    except NotDifferentiableError as refusal:
        take_off(op.graph, last)
        node.meta[REFUSAL] = refusal
        return None
    if made is None:
        return None
    outputs = list(made)
    return _replace(op.graph, node, take_off(op.graph, last), outputs)


def _replace(
    graph: ir.Graph, node: ir.Node, added: Sequence[ir.Node], outputs: Sequence[ir.Value | None]
) -> dict[ir.Value, ir.Value]:
    """Put ``added`` where ``node`` stood; its outputs' names live on in the new ones, returned by the old."""
    graph.insert_before(node, added)
    taken: dict[ir.Value, ir.Value] = {}
    for old, new in zip(node.outputs, outputs, strict=False):
        if new is None:
            continue
        if old.is_graph_output() and new.producer() not in added:  # a constant or an input: it keeps its own name
            copy = ir.Node("", "Identity", [new])
            copy.outputs[0].type, copy.outputs[0].shape = new.type or old.type, new.shape or old.shape
            graph.insert_before(node, copy)
            added, new = [*added, copy], copy.outputs[0]
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        if new.producer() in added:
            new.name, old.name = old.name, None
            new.shape = new.shape or old.shape
            new.type = new.type or old.type
        taken[old] = new
    graph.remove(node, safe=True)
    return taken


def _instantiate(op: OpBuilder, function: ir.Function, node: ir.Node) -> list[ir.Value | None]:
    """Append the function's nodes with the caller's inputs and attributes put in; returns the body's outputs."""
    attributes = {name: a for name, a in function.attributes.items() if a.value is not None}
    attributes.update(node.attributes)
    values: dict[ir.Value, ir.Value | None] = dict(zip(function.inputs, node.inputs, strict=False))
    for inner in function:
        kept = {}
        for name, attribute in inner.attributes.items():
            if attribute.is_ref():
                referred = attributes.get(str(attribute.ref_attr_name))
                if referred is not None:
                    kept[name] = ir.Attr(name, referred.type, referred.value)
            else:
                kept[name] = attribute
        made = op.add_node(
            inner.op_type, [None if x is None else values.get(x) for x in inner.inputs], kept, len(inner.outputs)
        )
        values.update(zip(inner.outputs, made, strict=True))
    return [values[y] for y in function.outputs]
