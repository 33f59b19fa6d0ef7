"""Refuse to attribute models whose output depends on chance, or on other examples as that of training mode does.

``differentiate`` takes such models: the gradient of one run is well defined, an attribution is not.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from onnx_ig.errors import NotDifferentiableError
from onnx_ig.graph.node import attr_int, constant, optional, refuse

_RANDOM = frozenset(
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
)
_ADVICE = "Export the model in evaluation mode (model.eval() in PyTorch)"


def training_nodes(nodes: Iterable[ir.Node]) -> list[NotDifferentiableError]:
    """A refusal for each node that draws at random and each BatchNormalization that takes the batch's own statistics.

    The bodies of control-flow nodes are looked into.
    """
    found = []
    for node in nodes:
        if node.domain in ("", "ai.onnx"):
            if node.op_type == "Dropout" and _drops(node):
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
                found += training_nodes(attribute.as_graph())
    return found


def _drops(node: ir.Node) -> bool:
    ratio, mode = constant(optional(node, 1)), optional(node, 2)
    known = constant(mode)
    trains = mode is not None and (known is None or bool(known.any()))
    return trains and (ratio is None or bool(ratio.any()))
