"""Weights that ONNX Runtime's CPU provider reads where they lie, instead of from copies of its own.

The one idea: opening a model it copies every weight, transposes the copy where the graph does, and packs it for each
product that reads it. A gradient graph reads a weight both ways, so beside the model's own stand two packed ones.
Packing pays where a product has few rows. Where it has many, as those of a transformer have, it saves next to no time
and most of the memory; and a product that is not packed can take the model's own matrix, either way around.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx_ir as ir
import onnx_ir.passes.common as passes

from onnx_ig.runtime.substitution import remove_unread, replace

_MANY_ROWS = 64  # per example: packing a matrix costs about as much as multiplying it by as many
_FUSED = ("com.microsoft", "FusedMatMul")

_Shapes = Mapping[str, ir.Shape]


def read_weights_in_place(model: ir.Model) -> list[str]:
    """Let products read transposed weights as they are, in place, and choose the weights that need not be copied.

    MatMul(x, Wᵀ) becomes FusedMatMul(x, W), an operator of ONNX Runtime that reads W the other way around, as Gemm can.

    Returns:
        The names of the weights that only products with many rows read, if they are most of the model's; else none.
        They are matrices on the right of a product: what ONNX Runtime's optimiser transposes by giving an initialiser
        another content would be lost on weights that it does not own.
    """
    shapes = inferred_shapes(model)
    for node in list(model.graph):
        _read_untransposed(node, shapes, model)
    graph = model.graph
    weights = [value for value in graph.initializers.values() if value.const_value is not None]
    chosen = [w for w in weights if _only_of_many_rows(w, graph, shapes)]
    return [str(value.name) for value in chosen] if 2 * _nbytes(chosen) > _nbytes(weights) else []


def inferred_shapes(model: ir.Model) -> _Shapes:
    """The main graph's shapes as far as they can be inferred, by name; gradient graphs are made without."""
    inferred = passes.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model.clone()).model
    values = [*inferred.graph.inputs, *(y for node in inferred.graph for y in node.outputs)]
    return {str(value.name): value.shape for value in values if value.shape is not None}


def _read_untransposed(node: ir.Node, shapes: _Shapes, model: ir.Model) -> None:
    """Let ``node`` read the weight W itself if it is a product by Wᵀ."""
    if node.domain != "" or node.op_type not in ("Gemm", "MatMul"):
        return
    x, weight = node.inputs[0], untransposed(node.inputs[1])
    if x is None or weight is None:
        return
    if node.op_type == "Gemm":
        view = _producer(node.inputs[1])
        turned = "transB" in node.attributes and node.attributes["transB"].as_int()
        node.replace_input_with(1, weight)
        node.attributes["transB"] = ir.AttrInt64("transB", 0 if turned else 1)
        remove_unread(view)
        return
    if len(shapes.get(str(x.name), ())) < 2:
        return
    product = ir.node(_FUSED[1], [x, weight], attributes={"transB": 1}, domain=_FUSED[0])
    view = _producer(node.inputs[1])
    replace(node, product)
    remove_unread(view)
    model.opset_imports.setdefault(_FUSED[0], 1)


def _only_of_many_rows(weight: ir.Value, graph: ir.Graph, shapes: _Shapes) -> bool:
    uses = weight.uses()
    return bool(uses) and not weight.is_graph_output() and all(_many_rows(n, i, graph, shapes) for n, i in uses)


def _many_rows(node: ir.Node, index: int, graph: ir.Graph, shapes: _Shapes) -> bool:
    """Whether ``node`` reads its input ``index`` as the matrix of a product with many rows for each example."""
    if index != 1 or node.graph is not graph or (node.domain, node.op_type) not in (("", "MatMul"), _FUSED):
        return False
    x, weight = node.inputs
    shape = shapes.get(str(x.name)) if x is not None else None
    if shape is None or len(shape) < 3 or weight is None or not _is_matrix(weight):
        return False
    rows = list(shape)[1:-1]
    known = [d for d in rows if isinstance(d, int)]
    return len(known) < len(rows) or math.prod(known) >= _MANY_ROWS


def untransposed(matrix: ir.Value | None) -> ir.Value | None:
    """The float32 weight W that ``matrix`` is the transposed of, also by way of a view with an axis more; or None."""
    node, perm = _producer(matrix), [1, 0]
    if node is not None and node.op_type == "Squeeze" and _along_first_axis(node):
        node, perm = _producer(node.inputs[0]), [0, 2, 1]
    if node is None or node.op_type != "Transpose" or _perm(node) != perm:
        return None
    weight = node.inputs[0]
    if len(perm) == 3:
        view = _producer(weight)
        added = view is not None and view.op_type == "Unsqueeze" and _along_first_axis(view)
        weight = view.inputs[0] if view is not None and added else None
    return weight if weight is not None and _is_matrix(weight) and weight.dtype == ir.DataType.FLOAT else None


def _along_first_axis(node: ir.Node) -> bool:
    """Whether a Squeeze or Unsqueeze removes or adds axis 0, and no other."""
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    return axes is not None and axes.const_value is not None and axes.const_value.numpy().tolist() == [0]


def _perm(transpose: ir.Node) -> list[int]:
    """What it does with a matrix's axes, unless it says otherwise, is to exchange them."""
    return list(transpose.attributes["perm"].as_ints()) if "perm" in transpose.attributes else [1, 0]


def _producer(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer()


def _is_matrix(value: ir.Value) -> bool:
    return value.const_value is not None and len(value.const_value.shape) == 2


def _nbytes(values: list[ir.Value]) -> int:
    return sum(value.const_value.nbytes for value in values if value.const_value is not None)
