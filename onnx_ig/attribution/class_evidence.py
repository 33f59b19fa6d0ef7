"""Whether the numbers of an output are of classes, and how a share of each follows: what model and names tell of it.

The one idea: numbers are logits only where something says so. A softmax of what a regression predicts would be nonsense
that looks like a probability.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import onnx_ir as ir

from onnx_ig.attribution.probability import passed_through, probability, without_passing
from onnx_ig.graph.node import given
from onnx_ig.loading.model import Model, tensor_called, tensors_of

ShareKind: TypeAlias = Literal["probability", "softmax", "sigmoid", "value"]
NAMED: tuple[ShareKind, str] = ("softmax", "the classes have names")
_NAMED = re.compile(r"logit|class(?!_?token)|(^|[^a-z])label", re.IGNORECASE)


@dataclass(frozen=True)
class Told:
    """What the numbers of an output are, and a phrase that says what tells it.

    ``kind``: ``probability``; ``softmax`` and ``sigmoid``: of which the shares are made; ``value``: of no class.
    """

    kind: ShareKind
    why: str


def told_of(model: Model, output: str, *, named: bool, added: Collection[str] = ()) -> Told:
    """What the numbers of the tensor ``output`` are.

    Args:
        named: whether there is a name for the class of each number.
        added: results of an attribution model that were not the model's: its own ArgMax chooses the target.

    Raises:
        UsageError: there is no such tensor.
    """
    known = probability(model, output)
    if known is not None:
        return Told("probability", f"a {known.op_type} of the model gives them")
    for op_type in _behind(model, tensor_called(model, output), added):
        kind: ShareKind = "sigmoid" if "Sigmoid" in op_type else "softmax"
        return Told(kind, f"the model takes their {op_type}")
    if named:
        return Told(*NAMED)
    if _NAMED.search(output):
        return Told("softmax", f"the output is called {output!r}")
    return Told("value", "nothing tells that the numbers are of classes")


def _behind(model: Model, output: ir.Value, added: Collection[str]) -> Iterator[str]:
    """The softmax, sigmoid or ArgMax of ``output`` that a result of the model is, but one that was ``added``."""
    tensors = {str(value.name): value for value in tensors_of(model.ir_model.graph)}
    for result in (y for y in model.outputs if y.name not in added):
        known = probability(model, str(result.name))
        if known is not None and passed_through(tensors[known.logits], output):
            yield known.op_type
        node = without_passing(result).producer()
        if node is not None and node.op_type == "ArgMax" and passed_through(given(node, 0), output):
            yield "ArgMax"
