"""An onnx_ir model as pickle and copy take it: the graph as one message, the large weights as arrays beside.

The one idea: a protocol buffer holds less than 2 GiB, and arrays are pickled without another copy of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from onnx_ig.common.types import Array

_LEAST_APART = 1 << 16  # bytes of a weight that lies beside


@dataclass(frozen=True)
class PackedModel:
    """What :func:`packed` makes of a model.

    Attributes:
        message: the model, the weights that lie beside being the last inputs of its graph.
        weights: their types and numbers, in that order.
    """

    message: bytes
    weights: tuple[tuple[ir.DataType, Array], ...]

    def __deepcopy__(self, memo: Any) -> PackedModel:
        return self  # as a clone of the model would, the copy shares the weights' memory

    def sha256(self) -> str:
        """Of the graph and all weights: two models that differ in either have another."""
        digest = hashlib.sha256(self.message)
        for dtype, numbers in self.weights:
            digest.update(f"{dtype.name} {numbers.shape}".encode())
            digest.update(np.ascontiguousarray(numbers).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def unpacked(self) -> ir.Model:
        """The model."""
        model = ir.from_proto(onnx.ModelProto.FromString(self.message))
        graph = model.graph
        first = len(graph.inputs) - len(self.weights)
        for value, (dtype, numbers) in zip(list(graph.inputs[first:]), self.weights, strict=True):
            value.const_value = ir.Tensor(numbers, dtype=dtype, name=value.name)
            graph.inputs.remove(value)
            graph.register_initializer(value)
        return model


def packed(model: ir.Model) -> PackedModel:
    """``model``, which stays as it is."""
    model, weights = model.clone(), []
    graph = model.graph
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        apart = tensor is not None and tensor.dtype != ir.DataType.STRING and tensor.nbytes >= _LEAST_APART
        if apart and not value.is_graph_input():
            assert tensor is not None
            weights.append((tensor.dtype, tensor.numpy()))
            value.const_value, value.dtype, value.shape = None, tensor.dtype, ir.Shape(tensor.shape.numpy())
            del graph.initializers[str(value.name)]
            graph.inputs.append(value)
    return PackedModel(ir.to_proto(model).SerializeToString(), tuple(weights))
