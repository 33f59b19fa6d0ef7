"""Read a model and check that it is whole: no weights from elsewhere, every tensor defined exactly once."""

from __future__ import annotations

import hashlib
import math
import mmap
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import google.protobuf.message
import numpy as np
import onnx
import onnx_ir as ir

from onnx_ig.errors import ModelError, UsageError
from onnx_ig.loading import wire
from onnx_ig.loading.functions import at_one_opset
from onnx_ig.loading.maps import without_maps
from onnx_ig.loading.sparse import without_sparse_tensors
from onnx_ig.types import Array

# Weights in external files are read at once, unless a model that holds them could not be written as one message.
_IN_MEMORY_LIMIT = 1_800_000_000
_LEAST_ON_DISK = 1 << 20  # smaller ones are read even then
_LEAST_APART = 1 << 12  # bytes of a weight that is read by itself
# Types that a file holds as numpy does; weights of others are read with the message.
_TYPES = {int(dtype): dtype for dtype in map(ir.DataType.from_numpy, map(np.dtype, "?bBhHiIqQefd"))}


def read(path: Path) -> tuple[ir.Model, str, frozenset[Path]]:
    """The model in a file, the SHA-256 of the file's bytes, and the files read: it and those of external weights.

    Raises:
        UsageError: no such file.
        ModelError: not a model, malformed, or weights outside its folder.
    """
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    proto, weights = _parsed(path)
    model = checked(proto, path.parent, weights)
    ir.external_data.set_base_dir(model.graph, path.parent)
    files = weight_files(model) | {path}
    values = [value for graph in model.graphs() for value in graph.initializers.values()]
    external = [value.const_value for value in values if isinstance(value.const_value, ir.ExternalTensor)]
    large = sum(tensor.nbytes for tensor in external) >= _IN_MEMORY_LIMIT
    for value in values:
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and not (large and tensor.nbytes >= _LEAST_ON_DISK):
            value.const_value = ir.Tensor(_in_memory(tensor), dtype=tensor.dtype, name=value.name)
    return model, digest, files


def weight_files(model: ir.Model) -> frozenset[Path]:
    """The files that hold weights of ``model``."""
    tensors = (value.const_value for graph in model.graphs() for value in graph.initializers.values())
    return frozenset(Path(tensor.path) for tensor in tensors if isinstance(tensor, ir.ExternalTensor))


def _parsed(path: Path) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The message in a file without its larger weights, and these by name, each read once and into its own memory."""
    if not path.stat().st_size:  # which cannot be mapped
        return parse(b"", str(path)), {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        try:
            message, spans = wire.without_weights(mapped, _LEAST_APART)
        except ValueError as error:
            raise ModelError(f"{path} is not an ONNX model, or is cut short: {error}") from error
        proto, weights = parse(message, str(path)), {}
        for place, span in spans.items():
            tensor = proto.graph.initializer[place]
            if tensor.data_type not in _TYPES or tensor.data_location == onnx.TensorProto.EXTERNAL:
                tensor.raw_data = mapped[span.offset : span.offset + span.size]
                continue
            dtype = _TYPES[tensor.data_type]
            if span.size != math.prod(tensor.dims) * dtype.itemsize:
                raise ModelError(
                    f"the model is malformed: weight {tensor.name!r} of {dtype.name}{list(tensor.dims)} has "
                    f"{span.size} bytes"
                )
            weights[tensor.name] = _from_file(path, span.offset, dtype, tuple(tensor.dims))
    return proto, weights


def _in_memory(tensor: ir.ExternalTensor) -> Array:
    """The numbers of a tensor in a file beside the model."""
    if int(tensor.dtype) not in _TYPES:
        return np.array(tensor.numpy())
    return _from_file(Path(tensor.path), tensor.offset or 0, tensor.dtype, tuple(tensor.shape.numpy()))


def _from_file(path: Path, offset: int, dtype: ir.DataType, shape: tuple[int, ...]) -> Array:
    """The array in a file, read and not mapped: the file may change later."""
    elements = np.fromfile(path, dtype.numpy().newbyteorder("<"), count=math.prod(shape), offset=offset)
    return elements.astype(dtype.numpy(), copy=False).reshape(shape)


def sha256(data: bytes) -> str:
    """The digest in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def parse(data: bytes, what: str) -> onnx.ModelProto:
    """The message in ``data``; ``what`` names it in errors."""
    try:
        proto = onnx.ModelProto.FromString(data)
    except google.protobuf.message.DecodeError as error:
        raise ModelError(f"{what} is not an ONNX model, or is cut short: {error}") from error
    if not proto.graph.node and not proto.graph.output:
        raise ModelError(f"{what} is not an ONNX model: it has no graph")
    return proto


def checked(
    proto: onnx.ModelProto, folder: Path | None, weights: Mapping[str, Array] = MappingProxyType({})
) -> ir.Model:
    """The model in memory; ``folder`` is where its external data may lie (None: nowhere).

    ``weights`` are those of its main graph that the message leaves out.

    Raises:
        ModelError: malformed, cut short, or with weights outside ``folder``.
    """
    if not proto.opset_import:
        raise ModelError("the model names no operator set: it is not an ONNX model, or is cut short")
    _check_external_data(proto, folder)
    _check_wiring(proto.graph, set())
    proto = at_one_opset(without_sparse_tensors(without_maps(proto)))
    try:
        model = ir.from_proto(proto)
        for name, array in weights.items():
            model.graph.initializers[name].const_value = ir.Tensor(array, name=name)
        _let_go_of_source(model)
        return model
    except Exception as error:  # the reader raises many kinds for what the format does not allow
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        line = next(iter(str(cause).strip().splitlines()), "")
        raise ModelError(f"the model is malformed: {type(cause).__name__}: {line}") from error


def _let_go_of_source(model: ir.Model) -> None:
    """Give the weights tensors of their own: onnx_ir's write a changed name into the message they were read from."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.serde.TensorProtoTensor):
                value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=value.name)


def _check_external_data(proto: onnx.ModelProto, folder: Path | None) -> None:
    """Refuse weights stored anywhere but in files inside the model's folder, or not whole."""
    for tensor in onnx.external_data_helper._get_all_tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if folder is None:
            raise ModelError(
                f"weight {tensor.name!r} lies in the external file {location!r}: load such a model by its path"
            )
        root, file = folder.resolve(), (folder / location).resolve()
        if os.path.isabs(location) or root not in file.parents:
            raise ModelError(f"weight {tensor.name!r} points outside the model's folder ({location!r}): refused")
        if not file.is_file():
            raise ModelError(f"weight {tensor.name!r} lies in {location!r}, which is not in {root}")
        bits = ir.DataType(tensor.data_type).bitwidth
        needed = int(entries.get("offset", 0)) - (-math.prod(tensor.dims) * bits // 8)
        if file.stat().st_size < needed:
            raise ModelError(
                f"weight {tensor.name!r} needs {needed} bytes of {location!r}, which has {file.stat().st_size}: "
                f"cut short"
            )


def _check_wiring(graph: onnx.GraphProto, outer: set[str]) -> None:
    """Every tensor is defined exactly once, whatever the order of nodes, and nothing else is read."""
    made = [y for node in graph.node for y in node.output if y]
    given = {x.name for x in graph.input} | {t.name for t in graph.initializer}
    given |= {t.values.name for t in graph.sparse_initializer}
    twice = _first_repeated([*made, *given])
    if twice is not None:
        raise ModelError(f"malformed graph: tensor {twice!r} is defined twice")
    known = outer | given | set(made)
    for node in graph.node:
        for x in node.input:
            if x and x not in known:
                raise ModelError(
                    f"malformed graph: {node.op_type} (node {node.name!r}) reads {x!r}, which nothing defines"
                )
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                _check_wiring(body, known)
    for y in graph.output:
        if y.name not in known:
            raise ModelError(f"malformed graph: nothing defines output {y.name!r}")


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
