"""A Transpose that moves the first axis, kept apart from the product that reads it in another type.

The one idea: ONNX Runtime joins such a Transpose with the MatMul behind it and looks through the Cast between them, as
it puts one before a product of float16 itself; where the factors have different ranks the process ends with a signal. A
Reshape that keeps every size, and costs nothing, stands between them.

Seen in: ONNX Runtime 1.31.1, on the CPU. Report: none known.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import names_in
from onnx_ig.graph.node import attr_ints


class PartMovedExamplesPass(ir.passes.InPlacePass):
    """Put a Reshape behind each such Transpose, in bodies too; one that keeps axis 0 or is read in its own type stays.

    Its own type is one that ONNX Runtime multiplies in: any but float16.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        products = [n for n in ir.traversal.RecursiveGraphIterator(model.graph) if n.op_type == "MatMul"]
        return ir.passes.PassResult(model, sum(_part(model.graph, n, i) for n in products for i in (0, 1)) > 0)


def _part(graph: ir.Graph, product: ir.Node, index: int) -> bool:
    reader, x = product, product.inputs[index]
    between = None if x is None else x.producer()
    cast = between is not None and between.op_type == "Cast" and between.domain == ""
    if between is not None and cast:
        reader, index, x = between, 0, between.inputs[0]
    transpose = None if x is None else x.producer()
    if x is None or transpose is None or transpose.op_type != "Transpose" or {transpose.domain, product.domain} != {""}:
        return False
    perm = attr_ints(transpose, "perm")
    if perm is None or perm[0] == 0 or not (cast or x.dtype == ir.DataType.FLOAT16):
        return False
    reshape = ir.Node("", "Reshape", [x, _zeros(graph, len(perm))])
    kept = reshape.outputs[0]
    kept.name, kept.type, kept.shape = _fresh(graph, f"{x.name}_kept"), x.type, x.shape
    assert reader.graph is not None
    reader.graph.insert_before(reader, reshape)
    reader.replace_input_with(index, kept)
    return True


def _zeros(graph: ir.Graph, rank: int) -> ir.Value:
    """The sizes that a Reshape leaves all as they are."""
    name = f"onnx_ig.kept_{rank}"  # no name of the model's own can be in the way
    if name not in graph.initializers:
        graph.register_initializer(ir.Value(name=name, const_value=ir.tensor(np.zeros(rank, np.int64))))
    return graph.initializers[name]


def _fresh(graph: ir.Graph, stem: str) -> str:
    taken = names_in(graph)
    return next(n for i in range(len(taken) + 1) if (n := stem if i == 0 else f"{stem}_{i}") not in taken)
