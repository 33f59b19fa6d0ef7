"""Repairs of the standard's function bodies, whose values are right but whose derivatives are not.

The one idea: a value that a body computes and then throws away by Where still spoils the derivative where it is not a
number.
"""

from __future__ import annotations

import onnx


def repaired(op_type: str, body: onnx.FunctionProto) -> onnx.FunctionProto:
    """``body``, changed in place where the operator's needs it."""
    if op_type == "Attention":
        _mask_before_softmax(body)
    return body


def _mask_before_softmax(body: onnx.FunctionProto) -> None:
    """Rows in which every key is masked: zeros go into the Softmax, not only out of it, where it would give 0/0."""
    by_output = {name: node for node in body.node for name in node.output}
    softmax = next(node for node in body.node if node.op_type == "Softmax")
    guard = next((n for n in body.node if n.op_type == "Where" and _selects_from(n, softmax, by_output)), None)
    if guard is None:
        return
    needed = _ancestors(guard.input[0], by_output, stop=set(_before(body, softmax)))
    zero, kept = "SoftmaxSafeZero", f"{softmax.input[0]}Safe"
    added = [
        onnx.helper.make_node("Constant", [], [f"{zero}F"], value_float=0.0),
        onnx.helper.make_node("CastLike", [f"{zero}F", softmax.input[0]], [zero]),
        onnx.helper.make_node("Where", [guard.input[0], zero, softmax.input[0]], [kept]),
    ]
    softmax.input[0] = kept
    nodes = []
    for node in body.node:
        if node is softmax:
            nodes += [*needed, *added]
        if not any(node is n for n in needed):
            nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del body.node[:]
    body.node.extend(copies)


def _selects_from(node: onnx.NodeProto, softmax: onnx.NodeProto, by_output: dict[str, onnx.NodeProto]) -> bool:
    """Whether ``node`` (a Where) selects between something and the Softmax's result, cast or not."""
    source = by_output.get(node.input[2])
    while source is not None and source.op_type in ("Cast", "CastLike", "Identity"):
        source = by_output.get(source.input[0])
    return source is softmax


def _before(body: onnx.FunctionProto, node: onnx.NodeProto) -> list[str]:
    """The values made before ``node``."""
    names: list[str] = []
    for other in body.node:
        if other is node:
            return names
        names.extend(other.output)
    return names


def _ancestors(name: str, by_output: dict[str, onnx.NodeProto], stop: set[str]) -> list[onnx.NodeProto]:
    """The nodes that compute ``name`` from what is in ``stop``, in order."""
    if name in stop or name not in by_output:
        return []
    node = by_output[name]
    found: list[onnx.NodeProto] = []
    for source in node.input:
        found += [n for n in _ancestors(source, by_output, stop) if not any(n is m for m in found)]
    return [*found, node]
