"""Where models are attributed whose inputs have no gradient: integers, text, floats that are read as integers.

The one idea: the walk from such an input to the output meets a first float tensor from which on everything can be
differentiated: an embedding, a picture cast to float, one-hot columns, word counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from onnx_ig.autodiff.registry import lookup
from onnx_ig.graph.reading import all_dependents, is_float, read_by

# Their value depends on the shape of what they read alone: a position, not an input's value.
_SHAPE_ONLY = frozenset({"Shape", "Size"})
# Inputs that choose among others, though they may be floats.
_CHOICES = {"OneHot": (0, 1)}


def computed(graph: ir.Graph) -> set[ir.Value]:
    """Values that depend on an input of the model; all others are weights."""
    return all_dependents(graph, graph.inputs)


def by_value(graph: ir.Graph) -> list[ir.Node]:
    """The nodes whose outputs depend on more than the shapes of what they read."""
    return [node for node in graph if node.op_type not in _SHAPE_ONLY]


def entrances(graph: ir.Graph, inputs: Iterable[ir.Value] | None = None) -> list[ir.Value]:
    """The first float tensors behind those of ``inputs`` (default: all) that no output can be differentiated by.

    Before several of which none is looked up in a table, the tensor where they meet: one-hot columns side by side.
    Only inner tensors with the examples on axis 0 and a known number of axes, from which an output can be reached.
    """
    nodes, outputs = by_value(graph), set(graph.outputs)
    flat = [x for x in graph.inputs if not is_float(x) or not outputs & _smooth(nodes, [x])]
    sources = flat if inputs is None else [x for x in inputs if x in flat]
    behind = all_dependents(nodes, sources)
    rows = {_name(x.shape[0]) for x in sources if x.shape} - {None}
    smooth = {x for x in graph.inputs if x not in flat}
    found = []
    for node in nodes:
        _extend(smooth, node)
        for y in node.outputs:
            inner = is_float(y) and y not in outputs and _has_examples_first(y, rows)
            if y in behind and y not in smooth and inner:
                smooth.add(y)
                found.append(y)
    used = _dequantised(nodes, [y for y in found if outputs & _smooth(nodes, [y])], outputs)
    apart = len(used) < 2 or any(look_up(y) is not None for y in used)
    whole = None if apart else _meeting(nodes, used, outputs)
    return used if whole is None or not _has_examples_first(whole, rows) else [whole, *used]


def _dequantised(nodes: Sequence[ir.Node], found: Sequence[ir.Value], outputs: set[ir.Value]) -> list[ir.Value]:
    """``found``, the integers looked up in a table and the scales at the same places as the tensor where they meet."""
    places = {y: _looked_up_at(y) for y in found}
    result = dict.fromkeys(found)
    for number in [y for y in found if places[y] is not None and look_up(y) is None]:
        parts = [y for y in found if places[y] is places[number]]
        whole = _meeting(nodes, parts, outputs) if len(parts) > 1 and number in result else None
        if whole is not None:
            result = dict.fromkeys(whole if y is number else y for y in result if y is number or y not in parts)
    return list(result)


def _looked_up_at(y: ir.Value) -> ir.Value | None:
    """The indices of the look-up that makes ``y``, or makes the integers that ``y`` is a Cast of."""
    node = y.producer()
    if node is not None and node.op_type == "Cast" and node.inputs[0] is not None:
        node = look_up(node.inputs[0])
    return node.inputs[1] if node is not None and node.op_type == "Gather" else None


def _meeting(nodes: Sequence[ir.Node], parts: Sequence[ir.Value], outputs: set[ir.Value]) -> ir.Value | None:
    """The first tensor that depends on all of ``parts``, if every way from them to an output leads through it."""
    reached = [{part} for part in parts]
    for node in nodes:
        for one in reached:
            _extend(one, node)
        y = node.outputs[0]
        if all(y in one for one in reached):
            around = _smooth([other for other in nodes if other is not node], parts)
            return y if y not in outputs and not outputs & around else None
    return None


def look_up(value: ir.Value) -> ir.Node | None:
    """The look-up in a table that makes ``value``; None for a tensor of another kind."""
    node = value.producer()
    return node if node is not None and node.op_type == "Gather" and node.domain == "" else None


def where_instead(graph: ir.Graph, inputs: Iterable[ir.Value]) -> str:
    """Advice for one who asks for the gradient with respect to integer or text ``inputs``."""
    place = place_behind(graph, inputs)
    return "only float tensors have gradients" + (
        f"; {place}" if place else ", and no output can be differentiated by one that depends on these inputs"
    )


def place_behind(graph: ir.Graph, inputs: Iterable[ir.Value]) -> str:
    """Advice where to attribute instead of ``inputs`` that have no gradient; empty where there is no place.

    The largest table comes first: words, before positions that depend on the padding.
    """
    found = sorted(entrances(graph, inputs), key=_rows, reverse=True)
    if not found:
        return ""
    what = "its embedding" if look_up(found[0]) is not None else "the first float tensor behind it"
    others = ", ".join(repr(y.name) for y in found[1:])
    return f"attribute at {what}, at={found[0].name!r} (--at)" + (f" (others: {others})" if others else "")


def _smooth(nodes: Sequence[ir.Node], roots: Iterable[ir.Value]) -> set[ir.Value]:
    """What can be differentiated by ``roots``, before anything is lowered: quantised tensors count as floats."""
    reached = set(roots)
    for node in nodes:
        _extend(reached, node)
    return reached


def _extend(reached: set[ir.Value], node: ir.Node) -> None:
    entry = lookup(node)
    if entry is not None and entry.kind == "zero":
        return
    choices = [node.inputs[i] for i in _CHOICES.get(node.op_type, ())]
    read = [x for x in read_by(node) if x in reached and x not in choices]
    quantised = any(not is_float(x) for x in read) or (entry is not None and entry.kind == "straight-through")
    reached.update(y for y in node.outputs if read and (quantised or is_float(y)))


def _has_examples_first(y: ir.Value, rows: set[str | None]) -> bool:
    """Whether axis 0 may be that of the examples, whose number is called one of ``rows``."""
    if not y.shape:
        return False
    names = [_name(d) for d in y.shape]
    return names[0] in rows or not any(name in rows for name in names)


def _name(size: int | ir.SymbolicDim) -> str | None:
    return None if isinstance(size, int) else size.value


def _rows(value: ir.Value) -> int:
    """The number of rows of the table that ``value`` is looked up in."""
    node = look_up(value)
    table = None if node is None else node.inputs[0]
    size = table.shape[0] if table is not None and table.shape else None
    return size if isinstance(size, int) else 0
