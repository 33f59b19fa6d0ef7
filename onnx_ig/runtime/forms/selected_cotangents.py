"""A cotangent that passes where a mask is true, as a selection, in ONNX Runtime on CUDA.

dy · Cast(mask) is two kernels there, and reads the mask's float32 from memory; Where(mask, dy, 0) is one, and reads its
bytes. It is 0 where the product of 0 with ∞ is NaN, and never −0.

A mask whose numbers anything else reads stays: it would be computed all the same.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.runtime.substitution import remove_unread, replace


class SelectByMasksPass(ir.passes.InPlacePass):
    """Replace dy · Cast(mask) by Where(mask, dy, 0) wherever products alone read the cast mask, in bodies too."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        return ir.passes.PassResult(model, _select(model))


def _select(model: ir.Model) -> bool:
    zeros: dict[ir.DataType, ir.Value] = {}
    for cast in list(ir.traversal.RecursiveGraphIterator(model.graph)):
        mask = cast.inputs[0] if cast.op_type == "Cast" else None
        if mask is None or mask.dtype != ir.DataType.BOOL or cast.outputs[0].is_graph_output():
            continue
        number = cast.outputs[0]
        readers = {reader for reader, _ in number.uses()}
        if any(reader.op_type != "Mul" or list(reader.inputs).count(number) != 1 for reader in readers):
            continue
        if number.dtype is None or not number.dtype.is_floating_point():
            continue
        for product in readers:
            (dy,) = (x for x in product.inputs if x is not number)
            replace(product, ir.node("Where", [mask, dy, _zero(model, number.dtype, zeros)]))
        remove_unread(cast)
    return bool(zeros)


def _zero(model: ir.Model, dtype: ir.DataType, zeros: dict[ir.DataType, ir.Value]) -> ir.Value:
    """The number 0, once per type, where every graph can read it."""
    if dtype not in zeros:
        name = f"onnx_ig_zero_{dtype.name.lower()}"
        tensor = ir.tensor(np.zeros([], dtype.numpy()), dtype=dtype, name=name)
        zeros[dtype] = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape([]), const_value=tensor)
        model.graph.register_initializer(zeros[dtype])
    return zeros[dtype]
