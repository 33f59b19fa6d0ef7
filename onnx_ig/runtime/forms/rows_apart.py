"""Products that OpenVINO gives to a kernel whose rows do not meet in the cache.

It gives a product that stands alone, or with a bias, to a kernel that reads several rows side by side. Where they lie a
multiple of 4 KiB apart they meet in the same few lines of the cache, and the kernel takes half as long again. One with
an activation behind it goes to another kernel; LeakyRelu of slope 1 is an activation that does nothing.

Put behind each MatMul and Gemm by a constant matrix, either way around, that sums over a multiple of 4 KiB.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.runtime.in_place import untransposed

_ROWS_THAT_MEET = 1024  # floats: 4 KiB


class KeepRowsApartPass(ir.passes.InPlacePass):
    """Put LeakyRelu of slope 1 behind each product by a weight that sums over a multiple of 4 KiB, in bodies too."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
        return ir.passes.PassResult(model, sum(_put_behind(node) for node in nodes) > 0)


def _put_behind(node: ir.Node) -> bool:
    summed = _summed_over(node)
    if not summed or summed % _ROWS_THAT_MEET or node.graph is None:
        return False
    y = node.outputs[0]
    same = ir.node("LeakyRelu", [y], attributes={"alpha": 1.0})
    new = same.outputs[0]
    new.name, new.type, new.shape = y.name, y.type, y.shape
    y.name = f"{y.name}_product"
    ir.convenience.replace_all_uses_with(y, new, replace_graph_outputs=True)
    same.replace_input_with(0, y)
    node.graph.insert_after(node, same)
    return True


def _summed_over(node: ir.Node) -> int:
    """The columns of the left factor if ``node`` is a product by a weight, else 0."""
    if node.domain != "" or node.op_type not in ("MatMul", "Gemm"):
        return 0
    matrix = node.inputs[1]
    turned = "transB" in node.attributes and bool(node.attributes["transB"].as_int())
    weight = untransposed(matrix)
    if weight is not None:
        matrix, turned = weight, not turned
    if matrix is None or matrix.const_value is None or len(matrix.const_value.shape) != 2:
        return 0
    return int(matrix.const_value.shape.numpy()[1 if turned else 0])
