"""Read sparse tensors as the dense ones they stand for, before the model is taken in.

The one idea: the graph representation has no sparse tensors, and no rule could do anything else with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper

from onnx_ig.common.types import Array
from onnx_ig.errors import ModelError

_Nodes: TypeAlias = onnx.GraphProto | onnx.FunctionProto


def without_sparse_tensors(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with sparse initialisers and Constants made dense; itself, untouched, if it has none.

    Raises:
        ModelError: indices outside the tensor, or values whose type NumPy has no zeros of.
    """
    if not any(_is_sparse(part) for part in _parts(model)):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for part in _parts(result):
        if isinstance(part, onnx.GraphProto):
            part.initializer.extend(_dense(tensor, tensor.values.name) for tensor in part.sparse_initializer)
            del part.sparse_initializer[:]
        for node in part.node:
            for attribute in node.attribute:
                if attribute.HasField("sparse_tensor"):
                    dense = _dense(attribute.sparse_tensor, node.output[0])
                    attribute.CopyFrom(onnx.helper.make_attribute("value", dense))
    return result


def _parts(model: onnx.ModelProto) -> Iterator[_Nodes]:
    """The main graph, the functions, and every graph inside them."""
    waiting: list[_Nodes] = [model.graph, *model.functions]
    while waiting:
        part = waiting.pop()
        yield part
        for node in part.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else attribute.graphs


def _is_sparse(part: _Nodes) -> bool:
    if isinstance(part, onnx.GraphProto) and part.sparse_initializer:
        return True
    return any(attribute.HasField("sparse_tensor") for node in part.node for attribute in node.attribute)


def _dense(tensor: onnx.SparseTensorProto, name: str) -> onnx.TensorProto:
    """Zeros with the values at their places: flat ones, int64 [n], or one row of coordinates each, [n, rank]."""
    values, places = numpy_helper.to_array(tensor.values), numpy_helper.to_array(tensor.indices)
    try:
        if places.ndim == 2:
            places = np.ravel_multi_index(tuple(places.T), tuple(tensor.dims))
        dense: Array = np.zeros(int(np.prod(tensor.dims)), values.dtype)
        dense[places] = values
    except (ValueError, IndexError) as error:
        raise ModelError(f"the sparse tensor {name!r} has an element outside its shape {list(tensor.dims)}") from error
    return numpy_helper.from_array(dense.reshape(tensor.dims), name)
