"""MaxPool's gradient by the places of the maxima, in ONNX Runtime on CUDA.

The rule writes it tap by tap, without the operator's Indices, which are slow on a CPU and missing in TensorRT: some
thirty kernels for a window of 3×3. On CUDA the places cost nothing, and the cotangents are scattered to them at once;
where windows overlap they meet there in any order, as in PyTorch.

Replaced for float32 behind a Relu (a window of −∞ alone has no place) and for pictures of known size whose windows move
by more than one position along every axis that they slide along; others stay. The first of equal maxima, row by row, is
the one in both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnx_ig.runtime.in_place import inferred_shapes
from onnx_ig.runtime.substitution import Substitute, made_by

_BACK = frozenset(("Add", "Concat", "Mul", "Pad", "Reshape", "Slice", "Sub", "Unsqueeze"))


class ScatterToMaximaPass(ir.passes.InPlacePass):
    """Rewrite the gradients of MaxPool in the main graph."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        pools = [node for node in model.graph if node.op_type == "MaxPool" and len(node.outputs) == 1]
        shapes = inferred_shapes(model) if pools else {}
        return ir.passes.PassResult(model, sum(_scatter(model, node, shapes) for node in pools) > 0)


@dataclass(frozen=True)
class _Window:
    """What a pool reads along its spatial axes."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    begin: tuple[int, ...]

    @property
    def sliding(self) -> list[int]:
        return [i for i, (k, s) in enumerate(zip(self.kernel, self.strides, strict=True)) if (k, s) != (1, 1)]


def _scatter(model: ir.Model, node: ir.Node, shapes: Mapping[str, ir.Shape]) -> bool:
    x, y = node.inputs[0], node.outputs[0]
    window = _window(node)
    shape = None if x is None else shapes.get(str(x.name))
    if x is None or made_by(x, "Relu") is None or window is None or shape is None or x.dtype != ir.DataType.FLOAT:
        return False
    if not all(isinstance(d, int) for d in shape[1:]) or any(window.strides[i] == 1 for i in window.sliding):
        return False
    for dy in _cotangents(y):
        end = _end(dy, y, window, shapes, list(shape[1:]))
        if end is not None:
            _put(model, node, dy, end, [int(d) for d in shape[1:] if isinstance(d, int)])
            return True
    return False


def _window(node: ir.Node) -> _Window | None:
    kernel = tuple(node.attributes["kernel_shape"].as_ints())
    ones, noughts = (1,) * len(kernel), (0,) * 2 * len(kernel)
    given = {
        name: tuple(node.attributes[name].as_ints())
        for name in ("strides", "pads", "dilations")
        if name in node.attributes
    }
    if node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET" or {*given.get("dilations", ones)} != {1}:
        return None
    pads = given.get("pads", noughts)
    padded = [i for i, k in enumerate(kernel) if pads[i] + pads[i + len(kernel)] and k == 1]
    return None if padded else _Window(kernel, given.get("strides", ones), pads[: len(kernel)])


def _masked(y: ir.Value) -> list[ir.Node]:
    """The products of cotangents with where a tap equals ``y``."""
    equal = [n for n, i in y.uses() if n.op_type == "Equal" and i == 1]
    casts = [n for e in equal for n, _ in e.outputs[0].uses() if n.op_type == "Cast"]
    return [n for c in casts for n, i in c.outputs[0].uses() if n.op_type == "Mul" and i == 1]


def _cotangents(y: ir.Value) -> list[ir.Value]:
    """What the first tap takes of: no difference of what earlier ones left."""
    left = {
        n.outputs[0] for product in _masked(y) for n, i in product.outputs[0].uses() if n.op_type == "Sub" and i == 1
    }
    return [x for n in _masked(y) if (x := n.inputs[0]) is not None and x not in left]


def _end(
    dy: ir.Value, y: ir.Value, window: _Window, shapes: Mapping[str, ir.Shape], lengths: list[int | ir.SymbolicDim]
) -> ir.Value | None:
    """The value that all of ``dy`` has come to when every axis is walked, of the shape of x."""
    masks = sum(window.kernel[i] - 1 for i in window.sliding)
    first = [n for n in dict.fromkeys(n for n, _ in dy.uses()) if n in _masked(y) or _subtracts(n, dy, y)]
    waiting, done = [*first], set[ir.Node]()
    while waiting:
        node = next((n for n in waiting if not _awaits(n, waiting, done)), None)
        if node is None:
            return None
        waiting.remove(node)
        done.add(node)
        masks -= node.op_type == "Mul"
        value = node.outputs[0]
        if not waiting and masks == 0 and _is_x(node, value, window, shapes, lengths):
            return value
        readers = dict.fromkeys(n for n, _ in value.uses() if n.op_type != "Shape")
        if value.is_graph_output() or any(n.op_type not in _BACK or n.graph is not node.graph for n in readers):
            return None
        waiting += [n for n in readers if n not in waiting and n not in done]
    return None


def _subtracts(node: ir.Node, dy: ir.Value, y: ir.Value) -> bool:
    return node.op_type == "Sub" and node.inputs[0] is dy and made_by(node.inputs[1], "Mul") in _masked(y)


def _awaits(node: ir.Node, waiting: list[ir.Node], done: set[ir.Node]) -> bool:
    """Whether an input of ``node`` is computed from another of those that wait."""
    seen, pending = set[ir.Node](), [x.producer() for x in node.inputs if x is not None]
    while pending:
        producer = pending.pop()
        if producer is None or producer in done or producer in seen or producer.op_type not in _BACK:
            continue
        if producer in waiting:
            return True
        seen.add(producer)
        pending += [x.producer() for x in producer.inputs if x is not None]
    return False


def _is_x(
    node: ir.Node, value: ir.Value, window: _Window, shapes: Mapping[str, ir.Shape], lengths: list[int | ir.SymbolicDim]
) -> bool:
    """Whether the last axis is walked: its phases are joined, and what lay in the padding is cut off."""
    shape = shapes.get(str(value.name))
    cut = node.op_type == "Slice" if window.begin[window.sliding[-1]] else node.op_type != "Concat"
    return cut and shape is not None and len(shape) == len(lengths) + 1 and list(shape[1:]) == lengths


def _put(model: ir.Model, pool: ir.Node, dy: ir.Value, end: ir.Value, lengths: list[int]) -> None:
    """Scatter ``dy`` in the place of what computes ``end``."""
    pool.resize_outputs(2)
    places = pool.outputs[1]
    places.name, places.type = f"{pool.outputs[0].name}_places", ir.TensorType(ir.DataType.INT64)
    producer = end.producer()
    assert producer is not None
    op = Substitute(model, producer)
    size = math.prod(lengths)
    flat, at = op("Reshape", dy, np.array([-1])), op("Reshape", places, np.array([-1]))
    zeros = op("Expand", 0.0, op("Mul", op("Shape", dy, start=0, end=1), np.array([size])))
    found = op("ScatterElements", zeros, at, flat, axis=0, reduction="add")
    op("Reshape", found, np.array([-1, *lengths]))
    op.put()
