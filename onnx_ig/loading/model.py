"""Load a model from any source and normalise it: one opset, functions inlined, constants lifted, shapes inferred.

The one idea: everything after this file sees a single kind of graph, whatever the model looked like in production.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from onnx_ig.common.arrays import named_arrays
from onnx_ig.common.garbage import without_searches
from onnx_ig.common.suggestions import nearest
from onnx_ig.common.types import Array
from onnx_ig.errors import ModelError, OnnxIgError, UsageError
from onnx_ig.graph.quirks.moved_examples import PartMovedExamplesPass
from onnx_ig.graph.quirks.padding_before_pooling import NameAxesBeforePoolingPass
from onnx_ig.loading import interface, model_file, shape_facts
from onnx_ig.loading.observed_ranks import hold_observed_ranks
from onnx_ig.loading.opset import WORKING_OPSET, to_working_opset
from onnx_ig.loading.packed import packed

Source: TypeAlias = Any  # str | PathLike | bytes | ModelProto | ir.Model | Model | nn.Module | Callable; see load()

Shapes: TypeAlias = Mapping[str, shape_facts.Dims]

OLDEST_OPSET = 7
CONTRACT = "onnx_ig.contract"  # metadata property of an attribution model: what it computes and how it is called
_TORCH_SUFFIXES = (".pt2", ".pt", ".pth", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True, repr=False)
class Model:
    """A normalised model; it can be pickled, and a copy of it shares the weights.

    Attributes:
        ir_model: the graph in memory; treat it as read-only and take :meth:`clone_ir` to change it.
        source_sha256: of the bytes of the model file (weights in external files are not hashed).
        name: the file's stem, or the graph's name.
        original_opset: what the source declared for the default domain.
        note: how a PyTorch source was exported; empty for ONNX sources.
        defaults: values of the inputs that callers may leave out, which are the last of them.
        files: what the model was read from, weights in files beside it included: nothing is ever written onto them.
    """

    ir_model: ir.Model
    source_sha256: str
    name: str
    original_opset: int
    note: str = ""
    defaults: Mapping[str, Array] = field(default_factory=dict)
    files: frozenset[Path] = frozenset()

    def __repr__(self) -> str:
        given, returned = (", ".join(f"{v.name} {v.dtype}{v.shape}" for v in vs) for vs in (self.inputs, self.outputs))
        return f"Model({self.name!r}: {given} → {returned})"

    @property
    def inputs(self) -> list[ir.Value]:
        """The model's inputs in declared order, those with a default behind the others."""
        return list(self.ir_model.graph.inputs)

    @property
    def required_inputs(self) -> list[ir.Value]:
        """The inputs without a default; all of them, if none is without."""
        return [x for x in self.inputs if x.name not in self.defaults] or self.inputs

    @property
    def outputs(self) -> list[ir.Value]:
        """The model's outputs in declared order."""
        return list(self.ir_model.graph.outputs)

    def clone_ir(self) -> ir.Model:
        """A copy of the graph that shares the weights' memory."""
        return self.ir_model.clone()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "ir_model": packed(self.ir_model)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, ir_model=state["ir_model"].unpacked())
        _rewrite_foreign(self.ir_model)  # a message holds no reasons why nodes were refused


def load(
    source: Source,
    *,
    example_inputs: Any = None,
    additional_forward_args: Any = None,
    weights: Any = None,
    shapes: Shapes | None = None,
    output: str | int | None = None,
) -> Model:
    """Read and normalise a model.

    Args:
        source: path of an .onnx file, its bytes, a ModelProto, an onnx_ir model, a Model (returned as it is); or
            a PyTorch model: an nn.Module or callable on tensors, a ``.pt2`` file, ``package.module:factory``.
        example_inputs, additional_forward_args: what a PyTorch model is called with, examples on axis 0; of an ONNX
            model, values for all its inputs (arrays in declared order, or by name), which settle ranks that only a
            run tells: see :func:`with_observed_ranks`.
        weights: state dict or .safetensors for ``package.module:factory``.
        shapes: dimensions of an ONNX model's inputs by name, in place of those it declares: numbers, names
            (equal names are equal dimensions), None for unknown.
        output: of a PyTorch model that returns several results, the one to keep: a key, a field or a position;
            default: the only floating-point tensor.

    Raises:
        UsageError: no such file, no example inputs, or ``shapes`` that do not fit the inputs.
        ModelError: not a model, unsafe to read, an opset before 7, or not convertible to a working opset; of a PyTorch
            model see :func:`onnx_ig.pytorch.export.export_torch`.

    >>> import numpy as np, onnx.parser, onnx_ig
    >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
    ...     square (float[n, 2] x) => (float[n, 2] y) { y = Mul(x, x) }''')
    >>> onnx_ig.load(model)
    Model('square': x FLOAT[n,2] → y FLOAT[n,2])
    """
    if is_torch_source(source):
        return load_torch(source, example_inputs, additional_forward_args, weights=weights, output=output)
    model = source if isinstance(source, Model) else _onnx(source, shapes)
    if example_inputs is None:
        return model
    names = [str(x.name) for x in model.inputs]
    feeds = named_arrays(example_inputs, names, "example_inputs")
    rest = [name for name in names if name not in feeds]
    return with_observed_ranks(model, feeds | named_arrays(additional_forward_args, rest, "additional_forward_args"))


@without_searches()
def load_torch(source: Source, example_inputs: Any, additional_forward_args: Any, **options: Any) -> Model:
    """The model of a PyTorch source; ``options``: those of :func:`onnx_ig.pytorch.export.export_torch`."""
    from onnx_ig.pytorch.export import export_torch

    inputs = () if example_inputs is None else example_inputs
    batch: Any = "auto" if options.get("second_example") is None else True
    exported = export_torch(source, inputs, additional_forward_args, dynamic_batch=batch, **options)
    return _loaded(exported.model, "", _torch_name(source), exported.note)


def load_with_output(source: Source, output: str | int | None, **keywords: Any) -> tuple[Model, str | None]:
    """``load(source, **keywords)``, and the name of the tensor in it that ``output`` means or None.

    Of a PyTorch source's results the model holds that one alone; of an ONNX model a position is that among its outputs.

    Raises:
        UsageError: no such output; see also :func:`load`.
    """
    if is_torch_source(source):
        return load(source, output=output, **keywords), None
    model = load(source, **keywords)
    if not isinstance(output, int):
        return model, output
    names = [str(y.name) for y in model.outputs]
    if not -len(names) <= output < len(names):
        raise UsageError(f"output {output}: the model has {len(names)} outputs, {', '.join(names)}")
    return model, names[output]


def refuse_attribution_model(model: Model) -> None:
    """Raise UsageError if ``model`` is one that :func:`onnx_ig.export` wrote: it explains another model."""
    if CONTRACT in model.ir_model.metadata_props:
        raise UsageError(
            f"{model.name} is already an attribution model: run it (`onnx-ig attribute`, or any ONNX runtime; `onnx-ig "
            "inspect` shows how it is called), or give the model that it was made of"
        )


def with_observed_ranks(model: Model, feeds: Mapping[str, Array]) -> Model:
    """The model, its tensors of unknown rank (only a run tells) held to the ranks that they have at ``feeds``.

    At data with other ranks its Run fails. A model whose ranks are all known is returned as it is; nothing is run.
    """
    held = model.clone_ir()
    if not hold_observed_ranks(held, {**model.defaults, **feeds}):
        return model
    _rewrite_foreign(held)
    return replace(model, ir_model=held)


def _onnx(source: Source, shapes: Shapes | None) -> Model:
    """The model in an .onnx file, its bytes, a ModelProto or an onnx_ir model."""
    if isinstance(source, ir.Model):
        loaded = _loaded(source.clone(), "", source.graph.name or "model", shapes=shapes)
        return replace(loaded, files=model_file.weight_files(source))
    if isinstance(source, onnx.ModelProto):
        model = model_file.checked(source, None)
        return _loaded(
            model, model_file.sha256(source.SerializeToString()), source.graph.name or "model", shapes=shapes
        )
    if isinstance(source, bytes):
        proto = model_file.parse(source, "the given bytes")
        return _loaded(
            model_file.checked(proto, None), model_file.sha256(source), proto.graph.name or "model", shapes=shapes
        )
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        model, digest, files = model_file.read(path)
        return replace(_loaded(model, digest, path.stem, shapes=shapes), files=files)
    raise UsageError(
        f"cannot load a model from {type(source).__name__}: give a path, bytes, a ModelProto, an onnx_ir model "
        f"or a torch module"
    )


def _loaded(model: ir.Model, digest: str, name: str, note: str = "", shapes: Shapes | None = None) -> Model:
    opset = model.graph.opset_imports.get("", model.graph.opset_imports.get("ai.onnx", 0))
    defaults = interface.take_defaults(model)
    return Model(normalise(model, shapes), digest, name, opset, note, defaults)


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


def tensor_called(model: Model, name: str) -> ir.Value:
    """The tensor of that name.

    Raises:
        UsageError: there is none; names like it are told.
    """
    tensors = {str(value.name): value for value in tensors_of(model.ir_model.graph)}
    if name not in tensors:
        raise UsageError(f"the model has no tensor {name!r}{nearest(name, tensors)}; `onnx-ig inspect` lists them")
    return tensors[name]


@without_searches()
def normalise(model: ir.Model, shapes: Shapes | None = None) -> ir.Model:
    """Bring ``model`` (changed in place where possible) to the form every other module expects.

    * one opset of the default domain, 18 or what the source needs (see :mod:`onnx_ig.loading.opset`);
    * functions inlined, Constant nodes and subgraph initialisers lifted to initialisers of the main graph;
    * initialisers removed from the inputs (but see :func:`onnx_ig.loading.interface.take_defaults`);
    * nodes in an order in which they can run, each output listed once and made by a node or an input;
    * unused nodes removed, default attributes spelt out, types and shapes inferred as far as they can be.
    """
    try:
        if "ai.onnx" in model.graph.opset_imports:
            model.graph.opset_imports.setdefault("", model.graph.opset_imports.pop("ai.onnx"))
        _sort(model)
        model = passes.InlinePass()(model).model
        model = passes.RemoveInitializersFromInputsPass()(model).model
        model = passes.NameFixPass()(model).model
        if all(node.domain != "" for node in ir.traversal.RecursiveGraphIterator(model.graph)):
            model.graph.opset_imports.setdefault("", WORKING_OPSET)  # for what other domains are rewritten into
        opset = model.graph.opset_imports.get("", 0)
        if opset < OLDEST_OPSET:
            raise ModelError(
                f"opset {opset} is too old: opset {OLDEST_OPSET} and later are read; convert the model with "
                f"onnx.version_converter"
            )
        shape_facts.infer(model, shapes)
        model = to_working_opset(model)
        NameAxesBeforePoolingPass()(model)
        PartMovedExamplesPass()(model)
        model = passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model).model
        model = passes.LiftSubgraphInitializersToMainGraphPass()(model).model
        interface.settle_outputs(model.graph)
        model = passes.RemoveUnusedNodesPass()(model).model
        _to_standard_operators(model)
        model = passes.AddDefaultAttributesPass()(model).model
        shape_facts.infer(model)
        _rewrite_foreign(model)  # what has a known shape only now
    except OnnxIgError:
        raise
    except Exception as error:  # the passes raise many kinds for a malformed graph
        cause = error.__cause__ or error
        raise ModelError(f"the model could not be normalised: {type(cause).__name__}: {_first_line(cause)}") from error
    model.functions.clear()
    return model


def _rewrite_foreign(model: ir.Model) -> None:
    """Rewrite operators outside the standard, in place, until nothing that this tells of shapes allows more."""
    while _to_standard_operators(model):
        passes.AddDefaultAttributesPass()(model)
        shape_facts.infer(model)


def _to_standard_operators(model: ir.Model) -> bool:
    from onnx_ig.loading.foreign.rewriting import to_standard_operators  # rules take a while to import

    return to_standard_operators(model)


def _sort(model: ir.Model) -> None:
    """Put every node behind those whose outputs it reads."""
    graphs: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    try:
        for graph in graphs:
            graph.sort()
    except ValueError as error:
        raise ModelError("malformed graph: its nodes read each other's outputs in a circle") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")
