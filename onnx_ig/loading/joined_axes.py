"""Dimensions of inputs that have names of their own and are one: the number of rows of a table's columns.

The one idea: what a Concat puts side by side agrees in every other axis, so that two names that meet there are of one
number. Converters of tables name (or leave nameless) the rows of each column for themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

import onnx_ir as ir

Symbols = Mapping[str, str]


def joined_symbols(graph: ir.Graph) -> dict[str, str]:
    """Names of the inputs' dimensions that are proved to be equal to another's, with the name that stands for both."""
    return one_name(graph, _meetings(graph))


def one_name(graph: ir.Graph, meetings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The names in ``meetings`` that are the inputs', each with the name that stands for all it meets.

    It is the first in the inputs' order that was not made up here.
    """
    order: dict[str, bool] = {}
    for x in graph.inputs:
        for i, d in enumerate(x.shape or ()):
            if isinstance(d, ir.SymbolicDim) and d.value is not None:
                order.setdefault(d.value, d.value == made_up_name(x.name, i))
    preferred = sorted(order, key=lambda name: order[name])
    groups: dict[str, set[str]] = {name: {name} for name in order}
    for a, b in meetings:
        if a in groups and b in groups and groups[a] is not groups[b]:
            groups[a] |= groups[b]
            for name in groups[a]:
                groups[name] = groups[a]
    chosen = {name: next(other for other in preferred if other in groups[name]) for name in order}
    return {name: other for name, other in chosen.items() if name != other}


def rename(values: Iterable[ir.Value], names: Symbols) -> None:
    """Write the ``names`` that stand for others into the values' shapes."""
    for value in values:
        if value.shape is not None:
            value.shape = renamed(value.shape, names)


def renamed(shape: ir.Shape, names: Symbols) -> ir.Shape:
    """The shape with names that stand for others in place of these."""
    return ir.Shape([d if isinstance(d, int) or d.value is None else names.get(d.value, d.value) for d in shape])


def made_up_name(name: str | None, axis: int) -> str:
    """What a dimension of input ``name`` is called that the model does not name."""
    return f"{name}_{axis}"


def _meetings(graph: ir.Graph) -> Iterator[tuple[str, str]]:
    for node in graph:
        if node.op_type != "Concat" or node.domain != "":
            continue
        shapes = [x.shape for x in node.inputs if x is not None and x.shape is not None]
        if not shapes or len({len(shape) for shape in shapes}) > 1:
            continue
        joined = node.attributes.get_int("axis", 0) % len(shapes[0])
        for axis in range(len(shapes[0])):
            names = [shape[axis].value for shape in shapes if isinstance(shape[axis], ir.SymbolicDim)]  # type: ignore[union-attr]
            known = [name for name in names if name is not None]
            if axis != joined:
                yield from pairwise(known)
