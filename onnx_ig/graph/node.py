"""What rules ask of a node: attributes with their defaults, required inputs, constant inputs, known ranks."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.common.types import Array
from onnx_ig.errors import ModelError, NotDifferentiableError
from onnx_ig.graph.builder import OpBuilder, rank_of

# Key of a node's ``meta``: the error with which it was refused when it was to be rewritten.
REFUSAL = "onnx_ig.refusal"


def attr_int(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute."""
    return int(node.attributes[name].as_int()) if name in node.attributes else default


def attr_float(node: ir.Node, name: str, default: float) -> float:
    """A float attribute."""
    return float(node.attributes[name].as_float()) if name in node.attributes else default


def attr_str(node: ir.Node, name: str, default: str) -> str:
    """A string attribute."""
    return str(node.attributes[name].as_string()) if name in node.attributes else default


def attr_ints(node: ir.Node, name: str, default: list[int] | None = None) -> list[int] | None:
    """A list attribute; ``default`` where absent."""
    return list(node.attributes[name].as_ints()) if name in node.attributes else default


def given(node: ir.Node, index: int) -> ir.Value:
    """Input ``index``, which the operator requires.

    Raises:
        ModelError: the model leaves it out.
    """
    value = optional(node, index)
    if value is None:
        raise ModelError(f"malformed graph: {node.op_type} (node {node.name!r}) lacks its input {index}")
    return value


def optional(node: ir.Node, index: int) -> ir.Value | None:
    """Input ``index``, or None when the node leaves it out."""
    return node.inputs[index] if index < len(node.inputs) else None


def output(op: OpBuilder, node: ir.Node, index: int) -> ir.Value:
    """Output ``index`` of a primal node, asked of it if the model leaves it out."""
    if index >= len(node.outputs):
        node.resize_outputs(index + 1)
    value = node.outputs[index]
    if not value.name:
        value.name = op.fresh(f"{node.outputs[0].name}_{index}")
    return value


def constant(value: ir.Value | None) -> Array | None:
    """The numbers of a constant tensor, None if ``value`` is absent or computed at run time."""
    return None if value is None or value.const_value is None else value.const_value.numpy()


def known_rank(node: ir.Node, value: ir.Value) -> int:
    """The number of axes of ``value``.

    Raises:
        NotDifferentiableError: the model does not let it be inferred.
    """
    rank = rank_of(value)
    if rank is None:
        raise unknown_rank(node, value)
    return rank


def unknown_rank(node: ir.Node, value: ir.Value) -> NotDifferentiableError:
    """The error for a node whose derivative needs the number of axes of ``value``; raise it."""
    return refuse(
        node,
        f"the number of axes of {value.name!r} is unknown",
        "Give the inputs' shapes (onnx_ig.load(..., shapes=...)), or data from which to take it "
        "(load(..., example_inputs=...), --example-input)",
    )


def refuse(node: ir.Node, reason: str, advice: str) -> NotDifferentiableError:
    """The error for a node that cannot be differentiated; raise it."""
    name = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
    return NotDifferentiableError(name, node.name or "", reason, advice)
