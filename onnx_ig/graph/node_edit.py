"""Edit a node of a graph in place: attributes, inputs, constants before it, nodes before and after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_ig.common.types import Array
from onnx_ig.errors import ModelError


def required_input(node: ir.Node, i: int) -> ir.Value:
    x = node.inputs[i] if i < len(node.inputs) else None
    if x is None:
        raise ModelError(f"{node.op_type} (node {node.name!r}): input {i} is missing")
    return x


def take_attribute(node: ir.Node, name: str) -> Any:
    """The attribute's value, removed from the node; None if it is not given."""
    attribute = node.attributes.pop(name, None)
    return None if attribute is None else attribute.value


def int_attribute(node: ir.Node, name: str, default: int) -> int:
    return int(node.attributes.get_int(name, default))


def set_attributes(node: ir.Node, **attributes: int | str | list[int]) -> None:
    for name, value in attributes.items():
        if isinstance(value, list):
            node.attributes[name] = ir.AttrInt64s(name, value)
        else:
            node.attributes[name] = ir.AttrInt64(name, value) if isinstance(value, int) else ir.AttrString(name, value)


def set_inputs(node: ir.Node, values: Sequence[ir.Value | None]) -> None:
    """Give the node these inputs, those left out at the end dropped."""
    kept = list(values)
    while kept and kept[-1] is None:
        kept.pop()
    node.resize_inputs(len(kept))
    for i, value in enumerate(kept):
        node.replace_input_with(i, value)


def insert_before(node: ir.Node, op_type: str, inputs: Sequence[ir.Value], **attributes: int) -> ir.Value:
    made = ir.node(op_type, inputs, attributes or None)
    return _insert(node, made)


def _insert(node: ir.Node, made: ir.Node) -> ir.Value:
    assert node.graph is not None
    node.graph.insert_before(node, made)
    return made.outputs[0]


def insert_after(node: ir.Node, make: Callable[[ir.Value], ir.Node], i: int = 0) -> None:
    """Let the node ``make`` returns take the place (and the name) of output ``i``."""
    old = node.outputs[i]
    made = make(old)
    new = made.outputs[0]
    assert node.graph is not None
    node.graph.insert_after(node, made)
    new.type, new.shape = old.type, old.shape
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    made.replace_input_with(0, old)
    old.shape = None
    name = str(old.name)
    old.name = f"{name}/{node.op_type}"
    new.name = name


def constant_value(value: ir.Value) -> Array | None:
    """The value of an initialiser or a Constant node."""
    tensor = value.const_value
    producer = value.producer()
    if tensor is None and producer is not None and producer.op_type == "Constant":
        tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def integers(node: ir.Node, value: object) -> ir.Value | None:
    """An int64 vector as a Constant node before ``node``; None for None."""
    return None if value is None else _constant_node(node, np.atleast_1d(np.asarray(value, np.int64)))


def floats(node: ir.Node, value: object) -> ir.Value:
    return _constant_node(node, np.asarray(value, np.float32))


def scalar_like(node: ir.Node, value: float) -> ir.Value:
    """A scalar of the type of the node's first input."""
    x = required_input(node, 0)
    if x.dtype is None:
        scalar = _constant_node(node, np.asarray(value, np.float32))
        return insert_before(node, "CastLike", [scalar, x])
    return _constant_node(node, np.asarray(value).astype(x.dtype.numpy()))


def _constant_node(node: ir.Node, value: Array) -> ir.Value:
    y = _insert(node, ir.node("Constant", [], {"value": ir.tensor(value)}))
    y.type, y.shape = ir.TensorType(ir.DataType.from_numpy(value.dtype)), ir.Shape(value.shape)
    return y
