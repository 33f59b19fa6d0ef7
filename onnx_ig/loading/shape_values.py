"""Follow dimensions through the small integer tensors that exporters compute shapes with.

The one idea: a tensor that a Reshape or Expand takes as its shape is mostly put together from other tensors' shapes, so
its elements are numbers and the inputs' own dimension symbols. onnx's inference follows the numbers and loses the
symbols; without them a gradient must find out at run time which axes were broadcast.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

import onnx_ir as ir

Dim = int | str | None  # a number, an input's symbol, or unknown
Values = Mapping[ir.Value | None, list[Dim]]

_LONGEST = 16  # elements of a tensor that may be a shape


def settle_shapes(graph: ir.Graph) -> bool:
    """Write the inputs' symbols and what follows from them into the main graph's shapes; whether any was new."""
    symbols = {d.value for x in graph.inputs if x.shape is not None for d in x.shape if isinstance(d, ir.SymbolicDim)}
    values: dict[ir.Value | None, list[Dim]] = {}
    for x in graph.initializers.values():
        tensor = x.const_value
        if tensor is not None and tensor.dtype.is_integer() and tensor.size <= _LONGEST:
            values[x] = [int(v) for v in tensor.numpy().reshape(-1)]
    found = False
    for node in graph:
        if node.domain != "":
            continue
        if node.op_type in _RESULTS:
            found |= _settle(node.outputs[0], _RESULTS[node.op_type](node, values, symbols), symbols)
        elements = _elements(node, values, symbols)
        if elements is not None and len(elements) <= _LONGEST:
            values[node.outputs[0]] = elements
    if found:  # names that inference made up for the unknown would stay
        for node in graph:
            for y in node.outputs:
                if y.shape is not None:
                    y.shape = ir.Shape(_dims(y, symbols))
    return found


def _settle(y: ir.Value, dims: list[Dim] | None, symbols: set[str | None]) -> bool:
    """Fill dimensions of ``y`` that are neither numbers nor an input's."""
    if dims is None or (y.shape is not None and len(y.shape) != len(dims)):
        return False
    known = _dims(y, symbols) if y.shape is not None else [None] * len(dims)
    merged = [new if old is None else old for old, new in zip(known, dims, strict=True)]
    if merged == known:
        return False
    inferred = list(y.shape) if y.shape is not None else [None] * len(dims)
    y.shape = ir.Shape([old if new is None else new for old, new in zip(inferred, merged, strict=True)])
    return True


def _dims(x: ir.Value, symbols: set[str | None]) -> list[Dim]:
    assert x.shape is not None
    return [d if isinstance(d, int) else d.value if d.value in symbols else None for d in x.shape]


def _elements(node: ir.Node, values: Values, symbols: set[str | None]) -> list[Dim] | None:
    """The elements of the node's output, in order, where it computes on shapes."""
    x = node.inputs[0] if node.inputs else None
    if node.op_type == "Shape" and x is not None and x.shape is not None:
        start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", len(x.shape))
        return _dims(x, symbols)[start:end]
    known = [v for v in map(values.get, node.inputs) if v is not None]
    rule = _ELEMENTS.get(node.op_type)
    return rule(node, known) if rule is not None and known and len(known) == len(node.inputs) else None


def _numbers(*values: list[Dim]) -> list[list[int]] | None:
    """The values, if none is a symbol or unknown."""
    numbers = [[d for d in v if isinstance(d, int)] for v in values]
    return numbers if [*map(len, numbers)] == [*map(len, values)] else None


def _gathered(node: ir.Node, known: list[list[Dim]]) -> list[Dim] | None:
    places = _numbers(known[1])
    if places is None or node.attributes.get_int("axis", 0) != 0:
        return None
    return [known[0][i] for i in places[0] if -len(known[0]) <= i < len(known[0])]


def _sliced(node: ir.Node, known: list[list[Dim]]) -> list[Dim] | None:
    numbers = _numbers(*known[1:])
    if numbers is None or len(numbers[0]) != 1:
        return None
    step = numbers[3][0] if len(numbers) > 3 else 1
    return known[0][slice(numbers[0][0], numbers[1][0], step)] if step > 0 else None


def _of_pairs(of_two: Callable[[Dim, Dim], Dim]) -> Callable[[ir.Node, list[list[Dim]]], list[Dim] | None]:
    def rule(node: ir.Node, known: list[list[Dim]]) -> list[Dim] | None:
        a, b = known
        return [of_two(p, q) for p, q in zip(a, b, strict=True)] if len(a) == len(b) else None

    return rule


def _product(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    return b if a == 1 else a if b == 1 else None


def _sum(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    return b if a == 0 else a if b == 0 else None


_ELEMENTS: dict[str, Callable[[ir.Node, list[list[Dim]]], list[Dim] | None]] = {
    **dict.fromkeys(("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"), lambda node, known: known[0]),
    "Concat": lambda node, known: [d for v in known for d in v],
    "Gather": _gathered,
    "Slice": _sliced,
    "Mul": _of_pairs(_product),
    "Add": _of_pairs(_sum),
}


def _reshaped(node: ir.Node, values: Values, symbols: set[str | None]) -> list[Dim] | None:
    x, shape = node.inputs[0], values.get(node.inputs[1])
    if x is None or shape is None:
        return None
    source = _dims(x, symbols) if x.shape is not None else None
    if not node.attributes.get_int("allowzero", 0):
        if source is None and 0 in shape:
            return None
        shape = [source[i] if d == 0 and source is not None and i < len(source) else d for i, d in enumerate(shape)]
    if -1 not in shape:
        return shape
    rest = None if source is None else _quotient(source, [d for d in shape if d != -1])
    return [rest if d == -1 else d for d in shape]


def _quotient(dims: Sequence[Dim], others: Sequence[Dim]) -> Dim:
    """The product of ``dims`` over that of ``others``, where it is one number or one symbol."""
    if None in dims or None in others:
        return None
    left = Counter(d for d in dims if isinstance(d, str))
    right = Counter(d for d in others if isinstance(d, str))
    above, below = (math.prod(d for d in side if isinstance(d, int)) for side in (dims, others))
    if right - left or below == 0 or above % below:
        return None
    symbols, number = list((left - right).elements()), above // below
    return number if not symbols else symbols[0] if len(symbols) == 1 and number == 1 else None


def _expanded(node: ir.Node, values: Values, symbols: set[str | None]) -> list[Dim] | None:
    x, shape = node.inputs[0], values.get(node.inputs[1])
    if x is None or shape is None or x.shape is None:
        return None
    pairs = zip_longest(reversed(_dims(x, symbols)), reversed(shape), fillvalue=1)
    return [q if p == 1 else p if q == 1 or p == q else None for p, q in pairs][::-1]


def _filled(node: ir.Node, values: Values, symbols: set[str | None]) -> list[Dim] | None:
    return values.get(node.inputs[0])


def _normalised(node: ir.Node, values: Values, symbols: set[str | None]) -> list[Dim] | None:
    """Text keeps its place where no word is left out."""
    x = node.inputs[0]
    return None if x is None or x.shape is None or "stopwords" in node.attributes else _dims(x, symbols)


_RESULTS: dict[str, Callable[[ir.Node, Values, set[str | None]], list[Dim] | None]] = {
    "Reshape": _reshaped,
    "Expand": _expanded,
    "ConstantOfShape": _filled,
    "StringNormalizer": _normalised,
}
