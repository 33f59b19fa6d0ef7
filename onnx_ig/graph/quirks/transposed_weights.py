"""Give transposed weights buffers of their own.

The one idea: a gradient graph reads a layer's weight twice, forwards and backwards, and OpenVINO
computes wrong numbers, without a word, where one initialiser serves a Conv and a ConvTranspose, or a square one serves
a product as it is and another transposed: it takes the one for the other as long as both name one buffer.

Seen in: OpenVINO 2026.4, on the CPU. Report: none known; on a GPU the first of the two was mended by
openvinotoolkit/openvino#8832.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import names_in
from onnx_ig.graph.node import attr_int, attr_ints, attr_str, constant, optional

_WEIGHT = 1  # the input Conv and ConvTranspose take it at


class SeparateTransposedWeightsPass(ir.passes.InPlacePass):
    """Part the weights that are read both ways.

    A ConvTranspose gets a second initialiser with the same content, which the file then holds twice, and so does an
    Einsum by more than a matrix. A square matrix is
    transposed as a view with one more axis: a constant subgraph that runtimes fold into a buffer of its own.
    A weight that is always read the same way stays.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        graph = model.graph
        taken: set[str] = set()

        def fresh(stem: str) -> str:
            taken.update(() if taken else names_in(graph))
            name = next(n for i in range(len(taken) + 1) if (n := stem if i == 0 else f"{stem}_{i}") not in taken)
            taken.add(name)
            return name

        parts = (_copy_for_transposed_convolutions, _copy_for_einsums, _transpose_view_of_square_matrix)
        weights = [value for value in graph.initializers.values() if value.const_value is not None]
        return ir.passes.PassResult(model, sum(part(graph, value, fresh) for value in weights for part in parts) > 0)


def _copy_for_transposed_convolutions(graph: ir.Graph, value: ir.Value, fresh: Callable[[str], str]) -> bool:
    readers: dict[str, list[ir.Node]] = {"Conv": [], "ConvTranspose": []}
    for node, index in value.uses():
        if index == _WEIGHT and node.domain == "" and node.op_type in readers:
            readers[node.op_type].append(node)
    if not all(readers.values()):
        return False
    copy = _copy(graph, value, fresh)
    for node in readers["ConvTranspose"]:
        node.replace_input_with(_WEIGHT, copy)
    return True


def _copy_for_einsums(graph: ir.Graph, value: ir.Value, fresh: Callable[[str], str]) -> bool:
    """One initialiser for each equation that reads a weight of more than two axes."""
    if value.const_value is None or len(value.const_value.shape) < 3:
        return False
    own: dict[tuple[str, int], ir.Value] = {}
    for node, index in list(value.uses()):
        if node.op_type == "Einsum" and node.domain == "":
            reading = attr_str(node, "equation", ""), index
            if reading not in own:
                own[reading] = _copy(graph, value, fresh) if own else value
            node.replace_input_with(index, own[reading])
    return len(own) > 1


def _copy(graph: ir.Graph, value: ir.Value, fresh: Callable[[str], str]) -> ir.Value:
    name = fresh(f"{value.name}_transposed")
    copy = ir.Value(name=name, type=value.type, shape=value.shape, const_value=value.const_value)
    graph.register_initializer(copy)
    return copy


def _transpose_view_of_square_matrix(graph: ir.Graph, value: ir.Value, fresh: Callable[[str], str]) -> bool:
    dims = [] if value.const_value is None else list(value.const_value.shape)
    if len(dims) != 2 or dims[0] != dims[1]:
        return False
    again = [(node, index) for view in _views(value) for node, index in view.uses() if _turns(node, index)]
    for node, index in again:
        _read_straight(node, index, value)
    uses = list(value.uses())
    turned = [(node, index) for node, index in uses if _turns(node, index)]
    if len(uses) < 2 or (len(turned) == len(uses) and len({node.op_type for node, _ in uses} - {"Transpose"}) == 1):
        return bool(again)  # always the same way around, by the same operator
    for node, index in turned:
        _read_straight(node, index, _transposed_view(graph, value, node, fresh))
    return bool(again or turned)


def _views(value: ir.Value) -> list[ir.Value]:
    """What :func:`_transposed_view` has made of ``value`` before."""
    found = [value]
    for kind in ("Unsqueeze", "Transpose", "Squeeze"):
        nodes = [node for x in found for node, index in x.uses() if node.op_type == kind and index == 0]
        found = [node.outputs[0] for node in nodes if _is_of_a_view(node)]
    return found


def _is_of_a_view(node: ir.Node) -> bool:
    """Whether it does what :func:`_transposed_view` lets its kind do, and not something else of a model's own."""
    if node.op_type == "Transpose":
        return attr_ints(node, "perm") == [0, 2, 1]
    axes = constant(optional(node, 1))
    return axes is not None and axes.tolist() == [0]


def _read_straight(node: ir.Node, index: int, matrix: ir.Value) -> None:
    """Let ``node``, which has read a matrix transposed, read ``matrix``, its transposed, as it is."""
    if node.op_type == "Transpose":
        ir.convenience.replace_all_uses_with(node.outputs[0], matrix)
        if node.graph is not None:
            node.graph.remove(node, safe=True)
        return
    node.replace_input_with(index, matrix)
    if node.op_type == "Gemm":
        node.attributes["transB"] = ir.AttrInt64("transB", 0)
    else:
        operands, output = _operands(node)
        operands[index] = operands[index][::-1]
        node.attributes["equation"] = ir.AttrString("equation", f"{','.join(operands)}->{output}")


def _turns(node: ir.Node, index: int) -> bool:
    """Whether ``node`` reads the matrix at ``index`` transposed."""
    if node.domain != "" or node.graph is None:
        return False
    if node.op_type == "Gemm":
        return index == _WEIGHT and attr_int(node, "transB", 0) == 1
    if node.op_type == "Einsum":
        operands, output = _operands(node)
        return len(operands[index]) == 2 and operands[index].isalpha() and operands[index][1] not in output
    return node.op_type == "Transpose" and attr_ints(node, "perm", [1, 0]) == [1, 0]


def _operands(einsum: ir.Node) -> tuple[list[str], str]:
    """The subscripts of an Einsum's inputs and of its output; without an arrow the latter are those that occur once."""
    equation = attr_str(einsum, "equation", "").replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    once = "".join(sorted(c for c in set(inputs) if c.isalpha() and inputs.count(c) == 1))
    return inputs.split(","), output if arrow else ("..." if "..." in inputs else "") + once


def _transposed_view(graph: ir.Graph, value: ir.Value, before: ir.Node, fresh: Callable[[str], str]) -> ir.Value:
    axis = ir.Value(name=fresh("view_axis"), const_value=ir.tensor(np.zeros(1, np.int64)))
    graph.register_initializer(axis)
    view = ir.node("Unsqueeze", [value, axis])
    transposed = ir.node("Transpose", [view.outputs[0]], attributes={"perm": [0, 2, 1]})
    back = ir.node("Squeeze", [transposed.outputs[0], axis])
    for made in (view, transposed, back):
        made.outputs[0].name, made.outputs[0].type = fresh(f"{value.name}_view"), value.type
    back.outputs[0].shape = value.shape  # of a square matrix
    assert before.graph is not None
    before.graph.insert_before(before, [view, transposed, back])
    return back.outputs[0]
