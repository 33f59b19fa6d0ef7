"""Repairs of the standard's function bodies, whose values are right but whose derivatives are not, and one of our own.

The one idea: a value that a body computes and then throws away by Where still spoils the derivative where it is not a
number.
"""

from __future__ import annotations

import onnx
import onnx.parser
import onnx_ir as ir

from onnx_ig.graph.node_edit import constant_value


def own_body(node: ir.Node) -> onnx.FunctionProto | None:
    """AffineGrid in operators of opset 18, None where its number of axes is unknown.

    grid[n, p, :] = θ[n] · (position p, 1). The standard's body squeezes a batch of one away, so that no rank is known.
    """
    axes = _image_axes(node)
    if axes is None:
        return None
    align = node.attributes.get_int("align_corners", 0)
    lines = ["one = Constant <value_float = 1.0> ()", "unit = CastLike (one, theta)", "two = Add (unit, unit)"]
    lines += [f"{name} = Constant <value_int = {i}> ()" for name, i in (("i0", 0), ("i1", 1))]
    lines += [f"{name} = Constant <value_ints = [{i}]> ()" for name, i in (("v1", 1), ("v2", 2), ("last", axes))]
    lines += [f"v9 = Constant <value_ints = [{axes + 2}]> ()", "image = Slice (size, v2, v9)"]
    lines += ["column = Concat <axis = 0> (image, v1)"]
    for i in range(axes):
        laid = ", ".join("-1" if a == i else "1" for a in range(axes + 1))
        lines += [
            f"at{i} = Constant <value_int = {i + 2}> ()",
            f"length{i} = Gather (size, at{i})",
            f"real{i} = CastLike (length{i}, theta)",
            f"range{i} = Range (i0, length{i}, i1)",
            f"index{i} = CastLike (range{i}, theta)",
            f"twice{i} = Mul (index{i}, two)",
            f"above{i} = Identity (twice{i})" if align else f"above{i} = Add (twice{i}, unit)",
            f"below{i} = Sub (real{i}, unit)" if align else f"below{i} = Identity (real{i})",
            f"share{i} = Div (above{i}, below{i})",
            f"place{i} = Sub (share{i}, unit)",
            f"form{i} = Constant <value_ints = [{laid}]> ()",
            f"laid{i} = Reshape (place{i}, form{i})",
            f"axis{i} = Expand (laid{i}, column)",
        ]
    coordinates = ", ".join(f"axis{i}" for i in reversed(range(axes)))  # the image's last axis comes first
    lines += [
        "ones = Expand (unit, column)",
        f"positions = Concat <axis = {axes}> ({coordinates}, ones)",
        f"flat = Constant <value_ints = [-1, {axes + 1}]> ()",
        "rows = Reshape (positions, flat)",
        f"whole = Constant <value_ints = [-1, {axes}, {axes + 1}]> ()",
        "matrices = Reshape (theta, whole)",  # says their rank where the model does not
        "turned = Transpose <perm = [0, 2, 1]> (matrices)",
        "product = MatMul (rows, turned)",
        "batch = Constant <value_ints = [-1]> ()",
        "shape = Concat <axis = 0> (batch, image, last)",
        "grid = Reshape (product, shape)",
    ]
    text = '<domain: "", opset_import: ["" : 18]> AffineGrid (theta, size) => (grid) {' + " ".join(lines) + "}"
    return onnx.parser.parse_function(text)


def _image_axes(node: ir.Node) -> int | None:
    """How many axes AffineGrid's images have, None if the model does not tell."""
    theta, size = node.inputs
    if theta is not None and theta.shape is not None and isinstance(theta.shape[1], int):
        return theta.shape[1]
    if size is None:
        return None
    value = constant_value(size)
    if value is not None:
        return int(value.size) - 2
    known = None if size.shape is None else size.shape[0]
    return known - 2 if isinstance(known, int) else None


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
