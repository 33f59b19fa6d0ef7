"""Put nodes in the place of another, remove what nothing reads any more, and recognise what is to be replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_ig.common.types import Array

_TOLD = {"Shape": ir.DataType.INT64, "Less": ir.DataType.BOOL, "Equal": ir.DataType.BOOL}


def replace(node: ir.Node, *made: ir.Node) -> None:
    """Put ``made`` where ``node`` stood: the only output of the last takes its output's name, type, shape and place."""
    old, new = node.outputs[0], made[-1].outputs[0]
    name, old.name = old.name, None
    new.name, new.type, new.shape = name, old.type, old.shape
    assert node.graph is not None
    node.graph.insert_before(node, made)
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    node.graph.remove(node, safe=True)


def remove_unread(node: ir.Node | None) -> None:
    """Remove ``node``, and the nodes that only it has read from."""
    if node is None or node.graph is None or any(y.uses() or y.is_graph_output() for y in node.outputs):
        return
    before = [x.producer() for x in node.inputs if x is not None]
    node.graph.remove(node, safe=True)
    for producer in before:
        remove_unread(producer)


class Substitute:
    """The nodes that shall stand in ``node``'s place, made one after the other: ``op("Mul", a, b)``.

    Numbers among the inputs become constants of its output's type.
    """

    def __init__(self, model: ir.Model, node: ir.Node) -> None:
        self._model, self._node, self._y = model, node, node.outputs[0]
        self.opset: int = model.graph.opset_imports.get("", 1)
        self._made: list[ir.Node] = []
        self._constants = 0

    def __call__(self, op_type: str, *inputs: ir.Value | float | Array | None, **attributes: Any) -> ir.Value:
        """The first output of a new node."""
        return self.several(op_type, 1, *inputs, **attributes)[0]

    def several(
        self, op_type: str, outputs: int, *inputs: ir.Value | float | Array | None, domain: str = "", **attributes: Any
    ) -> list[ir.Value]:
        """All outputs of a new node."""
        values = [x if x is None or isinstance(x, ir.Value) else self._constant(x) for x in inputs]
        made = ir.node(op_type, values, attributes=attributes, num_outputs=outputs, domain=domain)
        for i, y in enumerate(made.outputs):
            y.name, y.type = f"{self._y.name}_{op_type}_{len(self._made)}_{i}", _type(op_type, values)
        self._made.append(made)
        return list(made.outputs)

    def put(self) -> None:
        """Put them there: the last one's output in the place of the node's, and what only that read is removed."""
        before = [x.producer() for x in self._node.inputs if x is not None]
        replace(self._node, *self._made)
        for producer in before:
            remove_unread(producer)

    def _constant(self, value: float | Array) -> ir.Value:
        assert self._y.dtype is not None
        array = value if isinstance(value, np.ndarray) else np.array(value, self._y.dtype.numpy())
        taken = self._model.graph.initializers  # an earlier pass may have put something in this place
        while (name := f"{self._y.name}_constant_{self._constants}") in taken:
            self._constants += 1
        tensor = ir.tensor(array, name=name)
        shape = ir.Shape(array.shape)
        constant = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
        self._model.graph.register_initializer(constant)
        return constant


def _type(op_type: str, inputs: Sequence[ir.Value | None]) -> ir.TypeProtocol | None:
    """What the outputs of such a node are of."""
    if op_type in _TOLD:
        return ir.TensorType(_TOLD[op_type])
    told = inputs[-1 if op_type == "Where" else 0]  # a selection's first input is the mask
    return None if told is None else told.type


def made_by(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The node of the default domain and this operator that computes ``value``; None: another one, or none."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type and node.domain in ("", "ai.onnx") else None


def number(value: ir.Value | None) -> float | None:
    """The number that ``value`` always is; None: it is no constant, or holds several."""
    known = None if value is None else value.const_value
    return None if known is None or known.size != 1 else float(known.numpy().item())


def is_number(value: ir.Value | None, wanted: float) -> bool:
    """Whether ``value`` is always that number, as float32 holds it."""
    found = number(value)
    return found is not None and np.float32(found) == np.float32(wanted)


def reduces_last_axis(node: ir.Node | None) -> bool:
    """Whether ``node`` reduces the last axis alone and keeps it."""
    axes = None if node is None or len(node.inputs) < 2 or node.inputs[1] is None else node.inputs[1].const_value
    return (
        node is not None
        and axes is not None
        and axes.numpy().tolist() == [-1]
        and node.attributes.get_int("keepdims", 1) == 1
    )
