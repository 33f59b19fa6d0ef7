"""Refuse to attribute models whose output depends on chance, or on other examples as that of training mode does.

``differentiate`` takes such models: the gradient of one run is well defined, an attribution is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir

from onnx_ig.common.types import Array
from onnx_ig.errors import InputError, NotDifferentiableError
from onnx_ig.graph.constants import evaluated
from onnx_ig.graph.node import attr_int, constant, optional, refuse
from onnx_ig.loading.model import Model

_RANDOM = frozenset(
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
)
# What a flag is computed with.
_OF_FLAGS = frozenset(
    ("And", "Cast", "Equal", "Greater", "Identity", "Less", "Not", "Or", "Reshape", "Squeeze", "Unsqueeze", "Xor")
)
_ADVICE = (
    "Export the model in evaluation mode (model.eval() in PyTorch); an input that says whether to train needs false as "
    "its default in the file"
)


def training_nodes(nodes: Iterable[ir.Node], model: Model) -> list[NotDifferentiableError]:
    """A refusal for each node that draws at random and each BatchNormalization that takes the batch's own statistics.

    ``nodes``: of the model, whose inputs are taken to have their defaults. The bodies of control-flow nodes are looked
    into.
    """
    found = []
    for node in nodes:
        if node.domain in ("", "ai.onnx"):
            if node.op_type == "Dropout" and _drops(node, model):
                reason = "it drops at random (training_mode is true, or known at run time only)"
                found.append(refuse(node, f"{reason}: each run gives another output", _ADVICE))
            elif node.op_type == "BatchNormalization" and attr_int(node, "training_mode", 0):
                reason = "it is in training mode: what it takes off an example depends on the others in the batch"
                found.append(refuse(node, reason, _ADVICE))
            elif node.op_type in _RANDOM:
                advice = "Let the model take what it draws as an input, or choose an output before it"
                found.append(refuse(node, "it draws at random: each run gives another output", advice))
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                found += training_nodes(attribute.as_graph(), model)
    return found


def require_evaluation(model: Model, feeds: Mapping[str, Array]) -> None:
    """Hold callers to the defaults of inputs that say whether a Dropout drops.

    Raises:
        InputError: one is fed a value that turns it on.
    """
    for node in ir.traversal.RecursiveGraphIterator(model.ir_model.graph):
        if node.op_type == "Dropout" and _drops(node, model, feeds) and not _drops(node, model):
            given = sorted(name for name in feeds if name in model.defaults and np.any(feeds[name]))
            raise InputError(
                f"{', '.join(given)}: so fed, the model drops at random (Dropout {node.name!r}), and attributions "
                "would be of another function at each run: leave it at its default"
            )


def _drops(node: ir.Node, model: Model, feeds: Mapping[str, Array] | None = None) -> bool:
    inputs = {**model.defaults, **(feeds or {})}
    opset = model.ir_model.graph.opset_imports[""]
    ratio, mode = constant(optional(node, 1)), optional(node, 2)
    known = None if mode is None else _known(mode, inputs, opset)
    trains = mode is not None and (known is None or bool(known.any()))
    return trains and (ratio is None or bool(ratio.any()))


def _known(value: ir.Value, inputs: Mapping[str, Array], opset: int) -> Array | None:
    """The value of a tensor that is computed from constants and ``inputs`` alone, None where it is not."""
    if value.const_value is not None:
        return value.const_value.numpy()
    if value.is_graph_input():
        return inputs.get(str(value.name))
    node = value.producer()
    if node is None or node.domain not in ("", "ai.onnx") or node.op_type not in _OF_FLAGS:
        return None
    values: dict[ir.Value, Array] = {}
    for x in node.inputs:
        if x is None:
            continue
        known = _known(x, inputs, opset)
        if known is None:
            return None
        values[x] = known
    return evaluated(node, opset, values)[node.outputs.index(value)]
