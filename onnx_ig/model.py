"""Load a model from any source and normalise it: one opset, functions inlined, constants lifted, shapes inferred.

The one idea: everything after this file sees a single kind of graph, whatever the model looked like in production.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import google.protobuf.message
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from onnx_ig.errors import ModelError, UsageError
from onnx_ig.opset import to_working_opset

Source: TypeAlias = Any  # str | PathLike | bytes | ModelProto | ir.Model | Model | nn.Module | Callable; see load()

OLDEST_OPSET = 7
_TORCH_SUFFIXES = (".pt2", ".pt", ".pth", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class Model:
    """A normalised model.

    Attributes:
        ir_model: the graph in memory; treat it as read-only and take :meth:`clone_ir` to change it.
        source_sha256: of the bytes of the model file (weights in external files are not hashed).
        name: the file's stem, or the graph's name.
        original_opset: what the source declared for the default domain.
        note: how a PyTorch source was exported; empty for ONNX sources.
    """

    ir_model: ir.Model
    source_sha256: str
    name: str
    original_opset: int
    note: str = ""

    @property
    def inputs(self) -> list[ir.Value]:
        """The model's inputs in declared order."""
        return list(self.ir_model.graph.inputs)

    @property
    def outputs(self) -> list[ir.Value]:
        """The model's outputs in declared order."""
        return list(self.ir_model.graph.outputs)

    def clone_ir(self) -> ir.Model:
        """A copy of the graph that shares the weights' memory."""
        return self.ir_model.clone()


def load(
    source: Source, *, example_inputs: Any = None, additional_forward_args: Any = None, weights: Any = None
) -> Model:
    """Read and normalise a model.

    Args:
        source: path of an .onnx file, its bytes, a ModelProto, an onnx_ir model, a Model (returned as it is); or a PyTorch
            model: an nn.Module or callable on tensors, a ``.pt2`` file, ``package.module:factory``.
        example_inputs, additional_forward_args: what a PyTorch model is called with, examples on axis 0.
        weights: state dict or .safetensors for ``package.module:factory``.

    Raises:
        UsageError: no such file, or no example inputs.
        ModelError: not a model, unsafe to read, an opset before 7, or not convertible to a working opset.
    """
    if isinstance(source, Model):
        return source
    if is_torch_source(source):
        from onnx_ig.torch_export import export_torch

        inputs = () if example_inputs is None else example_inputs
        exported = export_torch(source, inputs, additional_forward_args, weights=weights, dynamic_batch="auto")
        return _loaded(exported.model, "", _torch_name(source), exported.note)
    if isinstance(source, ir.Model):
        return _loaded(source.clone(), "", source.graph.name or "model")
    if isinstance(source, onnx.ModelProto):
        _check_external_data(source, None)
        return _loaded(ir.from_proto(source), _sha256(source.SerializeToString()), source.graph.name or "model")
    if isinstance(source, bytes):
        proto = _parse(source, "the given bytes")
        _check_external_data(proto, None)
        return _loaded(ir.from_proto(proto), _sha256(source), proto.graph.name or "model")
    if isinstance(source, (str, os.PathLike)):
        return _loaded(*_read(Path(source)))
    raise UsageError(
        f"cannot load a model from {type(source).__name__}: give a path, bytes, a ModelProto, an onnx_ir model or a torch module"
    )


def _loaded(model: ir.Model, digest: str, name: str, note: str = "") -> Model:
    opset = model.graph.opset_imports.get("", model.graph.opset_imports.get("ai.onnx", 0))
    return Model(normalise(model), digest, name, opset, note)


def is_torch_source(source: Any) -> bool:
    """Whether ``source`` is a PyTorch model: a module or callable, a .pt2 file, ``package.module:factory``."""
    if isinstance(source, (str, os.PathLike)):
        text = os.fspath(source)
        return not text.endswith(".onnx") and (
            Path(text).suffix in _TORCH_SUFFIXES or (":" in text and not Path(text).exists())
        )
    return callable(source) and not isinstance(source, (ir.Model, onnx.ModelProto, bytes))


def _torch_name(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return Path(os.fspath(source).rpartition(":")[2]).stem
    return str(getattr(source, "__name__", type(source).__name__))


def tensors_of(graph: ir.Graph) -> Iterator[ir.Value]:
    """Every tensor a user can name: the main graph's inputs and its nodes' outputs."""
    yield from graph.inputs
    for node in graph:
        yield from node.outputs


def normalise(model: ir.Model) -> ir.Model:
    """Bring ``model`` (changed in place where possible) to the form every other module expects.

    * one opset of the default domain, 18 or what the source needs (see :mod:`onnx_ig.opset`);
    * functions inlined, Constant nodes and subgraph initialisers lifted to initialisers of the main graph;
    * initialisers removed from the inputs (IR versions before 4 list them there);
    * unused nodes removed, default attributes spelt out, types and shapes inferred as far as they can be.
    """
    try:
        if "ai.onnx" in model.graph.opset_imports:
            model.graph.opset_imports.setdefault("", model.graph.opset_imports.pop("ai.onnx"))
        model = passes.InlinePass()(model).model
        model = passes.RemoveInitializersFromInputsPass()(model).model
        model = passes.NameFixPass()(model).model
        opset = model.graph.opset_imports.get("", 0)
        if opset < OLDEST_OPSET:
            raise ModelError(
                f"opset {opset} is too old: opset {OLDEST_OPSET} and later are read; convert the model with onnx.version_converter"
            )
        model = to_working_opset(model)
        model = passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model).model
        model = passes.LiftSubgraphInitializersToMainGraphPass()(model).model
        model = passes.RemoveUnusedNodesPass()(model).model
        model = passes.AddDefaultAttributesPass()(model).model
        model = passes.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model).model
    except ModelError:
        raise
    except Exception as error:  # the passes raise many kinds for a malformed graph
        cause = error.__cause__ or error
        raise ModelError(f"the model could not be normalised: {type(cause).__name__}: {_first_line(cause)}") from error
    model.functions.clear()
    return model


def _read(path: Path) -> tuple[ir.Model, str, str]:
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    data = path.read_bytes()
    proto = _parse(data, str(path))
    _check_external_data(proto, path.parent)
    model = ir.from_proto(proto)
    ir.external_data.set_base_dir(model.graph, path.parent)
    return model, _sha256(data), path.stem


def _parse(data: bytes, what: str) -> onnx.ModelProto:
    try:
        proto = onnx.ModelProto.FromString(data)
    except google.protobuf.message.DecodeError as error:
        raise ModelError(f"{what} is not an ONNX model, or is cut short: {error}") from error
    if not proto.graph.node and not proto.graph.output:
        raise ModelError(f"{what} is not an ONNX model: it has no graph")
    return proto


def _check_external_data(proto: onnx.ModelProto, folder: Path | None) -> None:
    """Refuse weights stored anywhere but in files inside the model's folder."""
    for tensor in onnx.external_data_helper._get_all_tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        if folder is None:
            raise ModelError(
                f"weight {tensor.name!r} lies in the external file {location!r}: load such a model by its path"
            )
        root, file = folder.resolve(), (folder / location).resolve()
        if os.path.isabs(location) or root not in file.parents:
            raise ModelError(f"weight {tensor.name!r} points outside the model's folder ({location!r}): refused")
        if not file.is_file():
            raise ModelError(f"weight {tensor.name!r} lies in {location!r}, which is not in {root}")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")
