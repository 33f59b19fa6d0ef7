"""Give transposed convolutions weights of their own.

The one idea: a gradient graph reads a layer's weight twice, forwards and backwards, and OpenVINO (seen in 2026.4)
computes wrong numbers, without a word, where one initialiser serves a Conv and a ConvTranspose. A second initialiser
with the same content is right everywhere; it costs the file the weights of the strided convolutions once more.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.builder import names_in

_WEIGHT = 1  # the input both operators take it at


def separate_transposed_weights(graph: ir.Graph) -> None:
    """Copy every initialiser that is the weight of a Conv and of a ConvTranspose; the latter then read the copy."""
    taken: set[str] | None = None
    for value in list(graph.initializers.values()):
        readers: dict[str, list[ir.Node]] = {"Conv": [], "ConvTranspose": []}
        for node, index in value.uses():
            if index == _WEIGHT and node.domain == "" and node.op_type in readers:
                readers[node.op_type].append(node)
        if not all(readers.values()) or value.const_value is None:
            continue
        taken = taken if taken is not None else names_in(graph)
        stem = f"{value.name}_transposed"
        name = next(n for i in range(len(taken) + 1) if (n := stem if i == 0 else f"{stem}_{i}") not in taken)
        taken.add(name)
        copy = ir.Value(name=name, type=value.type, shape=value.shape, const_value=value.const_value)
        graph.register_initializer(copy)
        for node in readers["ConvTranspose"]:
            node.replace_input_with(_WEIGHT, copy)
