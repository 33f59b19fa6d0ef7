"""Give transposed weights buffers of their own.

The one idea: a gradient graph reads a layer's weight twice, forwards and backwards, and OpenVINO (seen in 2026.4)
computes wrong numbers, without a word, where one initialiser serves a Conv and a ConvTranspose, or a square one serves
a MatMul as it is and another transposed: it takes the one for the other as long as both name one buffer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.builder import names_in
from onnx_ig.autodiff.node import attr_ints

_WEIGHT = 1  # the input Conv and ConvTranspose take it at


def separate_transposed_weights(graph: ir.Graph) -> None:
    """Part the weights that are read both ways.

    A ConvTranspose gets a second initialiser with the same content, which the file then holds twice. A square matrix is
    transposed as a view with one more axis: a constant subgraph that runtimes fold into a buffer of its own.
    """
    taken: set[str] = set()

    def fresh(stem: str) -> str:
        taken.update(() if taken else names_in(graph))
        name = next(n for i in range(len(taken) + 1) if (n := stem if i == 0 else f"{stem}_{i}") not in taken)
        taken.add(name)
        return name

    for value in list(graph.initializers.values()):
        if value.const_value is not None:
            _copy_for_transposed_convolutions(graph, value, fresh)
            _transpose_view_of_square_matrix(graph, value, fresh)


def _copy_for_transposed_convolutions(graph: ir.Graph, value: ir.Value, fresh: Callable[[str], str]) -> None:
    readers: dict[str, list[ir.Node]] = {"Conv": [], "ConvTranspose": []}
    for node, index in value.uses():
        if index == _WEIGHT and node.domain == "" and node.op_type in readers:
            readers[node.op_type].append(node)
    if not all(readers.values()):
        return
    copy = ir.Value(
        name=fresh(f"{value.name}_transposed"), type=value.type, shape=value.shape, const_value=value.const_value
    )
    graph.register_initializer(copy)
    for node in readers["ConvTranspose"]:
        node.replace_input_with(_WEIGHT, copy)


def _transpose_view_of_square_matrix(graph: ir.Graph, value: ir.Value, fresh: Callable[[str], str]) -> None:
    dims = [] if value.const_value is None else list(value.const_value.shape)
    if len(dims) != 2 or dims[0] != dims[1] or len(value.uses()) < 2:
        return
    for node, _ in value.uses():
        if node.op_type != "Transpose" or attr_ints(node, "perm", [1, 0]) != [1, 0] or node.graph is None:
            continue
        axis = ir.Value(name=fresh("view_axis"), const_value=ir.tensor(np.zeros(1, np.int64)))
        graph.register_initializer(axis)
        result = node.outputs[0]
        view = ir.node("Unsqueeze", [value, axis])
        transposed = ir.node("Transpose", [view.outputs[0]], attributes={"perm": [0, 2, 1]})
        back = ir.node("Squeeze", [transposed.outputs[0], axis])
        for made in (view, transposed, back):
            made.outputs[0].name, made.outputs[0].type = fresh(f"{value.name}_view"), value.type
        back.outputs[0].shape = result.shape
        node.graph.insert_before(node, [view, transposed, back])
        ir.convenience.replace_all_uses_with(result, back.outputs[0])
        node.graph.remove(node, safe=True)
