"""What a runtime is given to open: a model in memory, or in a file beside which its large weights lie.

The one idea: a runtime copies what it is handed in memory, and maps what it finds in a file.
"""

from __future__ import annotations

import os
import tempfile
from typing import TypeAlias

import onnx
import onnx_ir as ir

from onnx_ig.errors import ModelError

ModelLike: TypeAlias = str | os.PathLike[str] | bytes | onnx.ModelProto | ir.Model

# Protocol buffers cannot hold 2 GiB; the margin is for the graph beside the weights.
_SERIALISED_LIMIT = 1_800_000_000
_MAPPED_FROM = 16 << 20  # bytes of weights; fewer are opened faster from memory
_SMALLEST_APART = 4096  # bytes of a weight in a file beside; smaller ones may be shapes that a runtime wants to see


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for :func:`openable`; some systems keep a file that is still mapped."""
    return tempfile.TemporaryDirectory(prefix="onnx_ig_", ignore_cleanup_errors=True)


def openable(model: ModelLike, scratch: str) -> str | bytes:
    """A path or bytes that a runtime opens.

    Of an onnx_ir model with large weights, or a ModelProto over 2 GB, the path of a file in the folder ``scratch``: its
    weights lie beside it, and a runtime maps what it would otherwise copy.
    """
    if isinstance(model, bytes):
        return model
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model)
    if isinstance(model, onnx.ModelProto):
        if model.ByteSize() < _SERIALISED_LIMIT:
            return bytes(model.SerializeToString())
        model = ir.from_proto(model)  # onnx's own function would take the weights out of the caller's
    tensors = [value.const_value for value in model.graph.initializers.values() if value.const_value is not None]
    on_disk = any(isinstance(tensor, ir.ExternalTensor) for tensor in tensors)
    size = sum(tensor.nbytes for tensor in tensors)
    if not on_disk and size < _MAPPED_FROM:
        return bytes(ir.to_proto(model).SerializeToString())
    path = os.path.join(scratch, "model.onnx")
    try:
        save_weights_apart(model, path, "model.data")
    except OSError as error:
        raise ModelError(
            f"the model's weights ({size / 2**20:.0f} MB) could not be written to {scratch}, from where a runtime maps "
            f"them: {error.strerror}; let TMPDIR name a folder with more room"
        ) from error
    return path


def as_ir_model(model: ModelLike) -> ir.Model:
    """The model as onnx_ir's, which is the model itself if it is one; the weights of a file stay there."""
    if isinstance(model, ir.Model):
        return model
    if isinstance(model, (str, os.PathLike)):
        return ir.load(model)
    return ir.from_proto(onnx.load_from_string(model) if isinstance(model, bytes) else model)


def save_weights_apart(model: ir.Model, path: str | os.PathLike[str], data: str) -> None:
    """Write ``model`` at ``path`` and its large weights into the file ``data`` beside it, where text cannot lie."""
    initializers = [value for graph in model.graphs() for value in graph.initializers.values()]
    weights = [
        (value, tensor)
        for value in initializers
        if (tensor := value.const_value) is not None
        and tensor.dtype != ir.DataType.STRING
        and (tensor.nbytes >= _SMALLEST_APART or isinstance(tensor, ir.ExternalTensor))
    ]
    folder = os.path.dirname(os.fspath(path))
    apart = ir.external_data.convert_tensors_to_external([tensor for _, tensor in weights], folder, data)
    try:
        for (value, _), tensor in zip(weights, apart, strict=True):
            value.const_value = tensor
        ir.save(model, path)
    finally:
        for value, tensor in weights:
            value.const_value = tensor
