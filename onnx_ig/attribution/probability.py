"""Find the logits behind an output that is a probability.

The one idea: where a softmax or sigmoid is sure, F is flat and its gradient next to nothing, so that almost all of the
path's integral lies in a short part of it, which few points meet; in front of it F is as steep as the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from onnx_ig.graph.node import given
from onnx_ig.loading.model import Model, tensor_called

_PROBABILITIES = frozenset({"Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid"})
# operators that move numbers without computing with them (their first input's), and the logarithm of a softmax
_PASSING = frozenset(
    {"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Gather", "Clip", "Log"}
)


@dataclass(frozen=True)
class Probability:
    """``output`` comes from the last ``op_type`` of the model, which computes it from the tensor ``logits``."""

    output: str
    op_type: str
    logits: str


def probability(model: Model, output: str) -> Probability | None:
    """The probability that the tensor ``output`` is, p = softmax(z) or σ(z) with its logits z; None: it is none.

    Operators that only move numbers may follow. An exp(z) / Σ exp(z) written out is a softmax too, as TensorFlow's
    exporters write it, with or without the largest z taken off.

    Raises:
        UsageError: there is no such tensor.
    """
    node = without_passing(tensor_called(model, output)).producer()
    if node is None or node.domain != "":
        return None
    if node.op_type in _PROBABILITIES:
        return Probability(output, node.op_type, str(given(node, 0).name))
    logits = _of_quotient(node)
    return None if logits is None else Probability(output, "Softmax", str(logits.name))


def without_passing(value: ir.Value) -> ir.Value:
    """The tensor whose numbers ``value`` holds, before operators that only move them, or take a logarithm."""
    *_, first = _moved(value)
    return first


def passed_through(value: ir.Value, tensor: ir.Value) -> bool:
    """Whether ``value`` is ``tensor``, or holds its numbers moved."""
    return any(one is tensor for one in _moved(value))


def _moved(value: ir.Value) -> Iterator[ir.Value]:
    """``value``, and each tensor before it that holds its numbers."""
    yield value
    node = value.producer()
    while node is not None and node.op_type in _PASSING and node.domain == "":
        value = given(node, 0)
        yield value
        node = value.producer()


def _of_quotient(node: ir.Node) -> ir.Value | None:
    """z where the node is exp(z) / Σ exp(z) or exp(z − max z) / Σ exp(z − max z)."""
    if node.op_type != "Div":
        return None
    powers = given(node, 0)
    exp, total = powers.producer(), given(node, 1).producer()
    if exp is None or total is None or exp.op_type != "Exp" or total.op_type != "ReduceSum":
        return None
    if given(total, 0) is not powers:
        return None
    z = given(exp, 0)
    shifted = z.producer()
    if shifted is not None and shifted.op_type == "Sub":
        largest = given(shifted, 1).producer()
        if largest is not None and largest.op_type == "ReduceMax" and given(largest, 0) is given(shifted, 0):
            return given(shifted, 0)
    return z
