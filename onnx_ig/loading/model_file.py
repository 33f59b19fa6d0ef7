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

from onnx_ig.common.types import Array
from onnx_ig.errors import ModelError, UsageError
from onnx_ig.loading import wire
from onnx_ig.loading.file_kind import kind_of
from onnx_ig.loading.functions import at_one_opset
from onnx_ig.loading.maps import without_maps
from onnx_ig.loading.sparse import without_sparse_tensors

# Weights in external files are read at once, unless a model that holds them could not be written as one message.
_IN_MEMORY_LIMIT = 1_800_000_000
_LEAST_ON_DISK = 1 << 20  # smaller ones are read even then
_BEGINNING = 1 << 16  # bytes by which a file that is no model is recognised
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
        raise UsageError(_missing(path))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    proto, weights = _parsed(path)
    model = checked(proto, path, weights)
    ir.external_data.set_base_dir(model.graph, path.parent)
    files = weight_files(model) | {path}
    values = [value for graph in model.graphs() for value in graph.initializers.values()]
    external = [value.const_value for value in values if isinstance(value.const_value, ir.ExternalTensor)]
    large = sum(tensor.nbytes for tensor in external) >= _IN_MEMORY_LIMIT
    for value in values:
        if isinstance(value.const_value, ir.ExternalTensor):
            tensor = _where_it_lies(value.const_value)
            stays = large and tensor.nbytes >= _LEAST_ON_DISK
            value.const_value = tensor if stays else ir.Tensor(_in_memory(tensor), dtype=tensor.dtype, name=value.name)
    return model, digest, files


def weight_files(model: ir.Model) -> frozenset[Path]:
    """The files that hold weights of ``model``."""
    tensors = (value.const_value for graph in model.graphs() for value in graph.initializers.values())
    return frozenset(Path(tensor.path) for tensor in tensors if isinstance(tensor, ir.ExternalTensor))


def _missing(path: Path) -> str:
    if path.is_dir():
        inside = sorted(str(file.relative_to(path)) for file in path.rglob("*.onnx"))
        return f"{path} is a folder: give the .onnx file in it ({', '.join(inside[:3]) or 'there is none'})"
    if path.is_symlink():
        return f"{path} is a link to {path.readlink()}, which is not there: download the model again"
    if str(path).startswith(("https:/", "http:/")):
        return f"{path} is an address: download the file, and give its path"
    return f"no such file: {path}"


def _parsed(path: Path) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The message in a file without its larger weights, and these by name, each read once and into its own memory."""
    if not path.stat().st_size:  # which cannot be mapped
        raise _no_model(str(path), b"", path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        try:
            message, spans = wire.without_weights(mapped, _LEAST_APART)
        except ValueError as error:
            raise _no_model(str(path), mapped[:_BEGINNING], path, error) from error
        proto, weights = parse(message, str(path), path), {}
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


def _where_it_lies(tensor: ir.ExternalTensor) -> ir.ExternalTensor:
    """The tensor by the file behind its links, which were checked; onnx_ir follows none that leave the folder."""
    file = Path(tensor.path).resolve()
    if file == Path(tensor.base_dir).resolve() / tensor.location:
        return tensor
    return ir.ExternalTensor(
        file.name, tensor.offset, tensor.length, tensor.dtype, shape=tensor.shape, name=str(tensor.name),
        base_dir=file.parent,
    )  # fmt: skip


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


def parse(data: bytes, what: str, file: Path | None = None) -> onnx.ModelProto:
    """The message in ``data``, from ``file``; ``what`` names it in errors."""
    try:
        proto = onnx.ModelProto.FromString(data)
    except google.protobuf.message.DecodeError as error:
        raise _no_model(what, data, file, error) from error
    if not proto.graph.node and not proto.graph.output:
        raise _no_model(what, data, file)
    return proto


def _no_model(what: str, data: bytes, file: Path | None, error: Exception | None = None) -> ModelError:
    kind = kind_of(data, file)
    if kind:
        return ModelError(f"{what} is not an ONNX model: it is {kind}")
    return ModelError(f"{what} is not an ONNX model, or is cut short: {error or 'it has no graph'}")


def checked(proto: onnx.ModelProto, path: Path | None, weights: Mapping[str, Array] = MappingProxyType({})) -> ir.Model:
    """The model in memory; ``path`` is its file, beside which its external data may lie (None: nowhere).

    ``weights`` are those of its main graph that the message leaves out.

    Raises:
        ModelError: malformed, cut short, or with weights outside the file's folder.
    """
    if not proto.opset_import:
        raise ModelError("the model names no operator set: it is not an ONNX model, or is cut short")
    _check_external_data(proto, path)
    _check_wiring(proto.graph, set())
    _check_forms(proto.graph, {"" if o.domain == "ai.onnx" else o.domain: o.version for o in proto.opset_import})
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


def _check_external_data(proto: onnx.ModelProto, path: Path | None) -> None:
    """Refuse weights stored anywhere but in files inside the model's folder, or not whole.

    A model that is itself a link has a second folder, where the link leads: a hub's cache links the file names of each
    revision to contents that lie together.
    """
    for tensor in onnx.external_data_helper._get_all_tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if path is None:
            raise ModelError(
                f"weight {tensor.name!r} lies in the external file {location!r}: load such a model by its path"
            )
        named = path.parent / location
        file, folders = named.resolve(), {path.parent.resolve(), path.resolve().parent}
        outside = os.path.isabs(location) or os.path.normpath(location).startswith("..")
        if outside or folders.isdisjoint(file.parents):
            raise ModelError(f"weight {tensor.name!r} points outside the model's folder ({location!r}): refused")
        if not file.is_file():
            raise ModelError(f"weight {tensor.name!r} lies in {location!r}, which is not in {path.parent.resolve()}")
        bits = ir.DataType(tensor.data_type).bitwidth
        needed = int(entries.get("offset", 0)) - (-math.prod(tensor.dims) * bits // 8)
        if file.stat().st_size < needed:
            with file.open("rb") as opened:
                kind = kind_of(opened.read(_BEGINNING), file)
            raise ModelError(
                f"weight {tensor.name!r} needs {needed} bytes of {location!r}, which has {file.stat().st_size}: "
                f"{f'it is {kind}' if kind else 'cut short'}"
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


def _check_forms(graph: onnx.GraphProto, opsets: Mapping[str, int]) -> None:
    """Every node of the standard has attributes and a number of inputs that its operator has at the model's opset.

    Tools that only raise the opset of a file leave ReduceMean's axes, say, where a newer one is not looked for.
    """
    opset = opsets.get("", 0)
    for node in graph.node:
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                _check_forms(body, opsets)
        if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type, opset):
            continue
        schema = onnx.defs.get_schema(node.op_type, opset)
        unknown = next((a.name for a in node.attribute if a.name not in schema.attributes), None)
        if unknown is None and schema.min_input <= len(node.input) <= schema.max_input:
            continue
        what = f"{len(node.input)} inputs" if unknown is None else f"an attribute {unknown!r}"
        raise ModelError(
            f"malformed graph: {node.op_type} (node {node.name!r}) has {what}, which the operator does not take at "
            f"opset {opset}: the file names another opset than its nodes were written for. Export it again, or set the "
            "right opset and convert the model with onnx.version_converter"
        )


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
