"""Write a model as one file, its weights one by one, or beside it where one file cannot hold them."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import onnx
import onnx_ir as ir

from onnx_ig.common.destination import writing
from onnx_ig.loading import wire
from onnx_ig.runtime.serialised import save_weights_apart

# A protocol buffer holds less than 2 GiB; larger models keep their weights in a file beside.
_SINGLE_FILE_LIMIT = 1_900_000_000
_LEAST_APART = 1 << 16  # bytes of a weight that is written by itself


def write_model(model: ir.Model, path: Path) -> None:
    """Save ``model`` at ``path``, weights over 2 GB beside it.

    Raises:
        UsageError: no room.
    """
    with writing(path):
        if weight_bytes(model) < _SINGLE_FILE_LIMIT:
            with path.open("wb") as stream:
                _write_message(model, stream)
        else:
            save_weights_apart(model, path, f"{path.name}.data")


def weight_bytes(model: ir.Model) -> int:
    """What the weights take."""
    return sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)


def _write_message(model: ir.Model, file: BinaryIO) -> None:
    """Write the model as one protocol buffer, the weights one by one: as a whole it would be in memory thrice more."""
    graph, weights = model.graph, []
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        if tensor is not None and tensor.dtype != ir.DataType.STRING and tensor.nbytes >= _LEAST_APART:
            weights.append((value, tensor))
            value.const_value = None
            del graph.initializers[str(value.name)]
    try:
        proto = ir.to_proto(model)
    finally:
        for value, tensor in weights:
            value.const_value = tensor
            graph.register_initializer(value)
    body = proto.graph.SerializeToString()
    proto.ClearField("graph")
    file.write(proto.SerializeToString())
    heads = [_head(value, tensor) for value, tensor in weights]
    total = sum(len(head) + tensor.nbytes for head, (_, tensor) in zip(heads, weights, strict=True))
    file.write(wire.head(wire.GRAPH, len(body) + total))
    file.write(body)
    for head, (_, tensor) in zip(heads, weights, strict=True):
        file.write(head)
        if hasattr(tensor, "tofile"):
            tensor.tofile(file)
        else:
            file.write(tensor.tobytes())


def _head(value: ir.Value, tensor: ir.TensorProtocol) -> bytes:
    """An initialiser's field up to its numbers."""
    message = onnx.TensorProto(name=value.name, data_type=int(tensor.dtype), dims=tensor.shape.numpy())
    before = message.SerializeToString() + wire.head(wire.RAW_DATA, tensor.nbytes)
    return wire.head(wire.INITIALIZER, len(before) + tensor.nbytes) + before
