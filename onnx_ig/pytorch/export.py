"""A PyTorch model as an ONNX model, checked against torch before anyone sees it.

The one idea: two exporters (dynamo, then TorchScript) are candidates only; what decides is whether the result
reproduces torch on inputs that neither has seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx_ir as ir

from onnx_ig.errors import MissingDependencyError, ModelError, UsageError, warn

try:
    import torch
except ImportError as error:
    raise MissingDependencyError("a PyTorch model needs PyTorch: pip install 'onnx-ig[torch]'") from error

from torch import Tensor

from onnx_ig.common.types import Array
from onnx_ig.pytorch.advice import advice_for
from onnx_ig.pytorch.candidates import Candidate, candidates
from onnx_ig.pytorch.check import Argument, check_export, run_torch
from onnx_ig.pytorch.exporters import Exporter, reason, run_exporter
from onnx_ig.pytorch.files import load_exported_program, load_factory
from onnx_ig.pytorch.frozen import reads_of, refuse_frozen_decisions
from onnx_ig.pytorch.own_derivative import own_derivatives, warn_of
from onnx_ig.pytorch.quiet import EXPORT_LOCK
from onnx_ig.pytorch.rows import rows_of
from onnx_ig.pytorch.source import ForwardModule, argument_names, call_once, pick_output
from onnx_ig.pytorch.training import call_judged

TorchSource: TypeAlias = torch.nn.Module | Callable[..., Any] | str | os.PathLike[str]


class NotReproducedError(ModelError):
    """Neither of PyTorch's exporters gives a model that computes what the function does."""


@dataclass(frozen=True)
class TorchExport:
    """An exported and checked model.

    Attributes:
        model: opset 18; inputs are the tensors among the arguments in order, one output. Weights are copies.
        exporter: which of torch's exporters made it.
        dynamic_batch: axis 0 of per-example inputs is the symbol ``batch``.
        note: one sentence for the user: what was used, and why not the first choice.
    """

    model: ir.Model
    exporter: Exporter
    dynamic_batch: bool
    note: str


def export_torch(
    source: TorchSource,
    inputs: Tensor | Array | Sequence[Tensor | Array] = (),
    additional_forward_args: Any = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    output: str | int | None = None,
    dynamic_batch: bool | Literal["auto"] = True,
    input_names: Sequence[str] | None = None,
    second_example: tuple[Any, Any] | None = None,
    any_length: bool = False,
    keep_decisions: bool = False,
    per_example: Sequence[bool] | None = None,
) -> TorchExport:
    """Export ``source(*inputs, *additional_forward_args)`` to ONNX and check it against torch.

    Args:
        source: an ``nn.Module``, any callable on tensors, a ``.pt2`` file, ``package.module:factory``.
        inputs: example values of the attributed inputs, examples on axis 0 (a ``.pt2`` file brings its own).
        additional_forward_args: further arguments. Tensors become inputs of the model; anything else is bound as a
            constant.
        weights: state dict or .safetensors for ``package.module:factory``.
        output: which result of a model that returns several: a key, a field or a position; None: the only one that
            is a floating-point tensor.
        dynamic_batch: True: any number of examples, or an error; False: as many as the example has; ``"auto"``:
            any number, else as many as the example has with a warning. A ``.pt2`` file keeps its own.
        input_names: names for the tensor arguments; the parameters' names if None.
        second_example: other ``inputs`` and ``additional_forward_args``: the axes along which these have other lengths
            are dynamic. (not for files)
        any_length: in attributed sequences [N, T, H] T is dynamic too, and with it the axes of that length in other
            arguments, where the dynamo exporter leaves them so. (not for files)
        keep_decisions: accept what holds decisions by data (``if x.mean() > 0``) as the examples take them: the caller
            sees to it that others are never asked.
        per_example: of each tensor among the arguments, whether it has a row per example; None: the first has, and of
            the others :func:`onnx_ig.pytorch.rows.rows_of` tells.

    Raises:
        UsageError: no such file, factory or output; no example inputs.
        InputError: the model itself fails on the examples.
        ModelError: random, changed by training mode, or deciding by its data; an unsafe or unreadable file; neither
            exporter reproduces torch.
    """
    if isinstance(source, (str, os.PathLike)):
        if Path(source).suffix == ".pt2":
            return _export_program(source, output, input_names)
        source = _from_text(os.fspath(source), weights)
    elif weights is not None:
        raise UsageError("weights go with package.module:factory: load them into the module yourself")
    if not callable(source):
        raise UsageError(f"cannot export a {type(source).__name__}: give an nn.Module or a callable on tensors")
    attributed = [_tensor(value) for value in (inputs if isinstance(inputs, (tuple, list)) else (inputs,))]
    if not attributed:
        raise UsageError("exporting a PyTorch model needs example inputs: give inputs=")
    additional = _as_tuple(additional_forward_args)
    positional = [*attributed, *(a.detach() if isinstance(a, Tensor) else a for a in additional)]
    names = input_names or _tensor_names(source, positional)
    tensors = [a for a in positional if isinstance(a, Tensor)]
    if len(names) != len(tensors):
        raise UsageError(f"{len(names)} input_names for {len(tensors)} tensor arguments")
    others: list[Tensor | None] = [None] * len(tensors)
    if second_example is not None:
        others = [_tensor(a) for part in second_example for a in _as_tuple(part) if isinstance(a, (Tensor, np.ndarray))]
    if per_example is None:
        rows = _rows(source, positional, len(attributed), output)
        per_example = [has for a, has in zip(positional, rows, strict=True) if isinstance(a, Tensor)]
    arguments = [
        Argument(name, tensor, i < len(attributed), has, other)
        for i, (name, tensor, has, other) in enumerate(zip(names, tensors, per_example, others, strict=True))
    ]
    tried = candidates(arguments, dynamic_batch, any_length=any_length)
    with EXPORT_LOCK:
        return _first_that_reproduces(source, positional, arguments, output, tried, keep_decisions)


def _first_that_reproduces(
    function: Callable[..., Any],
    positional: Sequence[Any],
    arguments: Sequence[Argument],
    output: str | int | None,
    tried: Sequence[Candidate],
    keep_decisions: bool = False,
) -> TorchExport:
    """The first candidate that reproduces torch; the caller holds EXPORT_LOCK, for one export at a time."""
    output_name = pick_output(call_judged(function, positional, output), output)[0]
    while output_name in {argument.name for argument in arguments}:
        output_name += "_out"
    module = ForwardModule(function, positional, output)
    reads = reads_of(module, arguments)
    warn_of(own_derivatives(module, [argument.example for argument in arguments]))
    failures: list[str] = []
    for candidate in tried:
        exporter, dynamic = candidate.exporter, candidate.dynamic
        try:
            model = run_exporter(exporter, module, candidate.arguments, output_name, dynamic)
            check_export(model, module, candidate.arguments, dynamic)
        except MissingDependencyError:
            raise
        except Exception as error:  # torch's exporters raise anything
            failures.append(f"{exporter} exporter, {candidate.what}: {reason(error)}")
            continue
        if exporter == "torchscript" and not keep_decisions:  # dynamo holds none: it cannot follow them
            refuse_frozen_decisions(model, module, arguments, reads)
        if exporter == "dynamo" and (place := next((r.place for r in reads if isinstance(r.value, float)), None)):
            warn(
                f"the model reads its data as a number ({place}), through which torch has no gradient and ONNX has "
                "one: attributions may differ from torch's"
            )
        note = f"exported by torch's {exporter} exporter" + ("" if dynamic else ", batch size fixed")
        note += "".join(f"; {failure}" for failure in failures)
        if not dynamic and any(other.dynamic for other in tried):
            warn(f"the batch size is fixed to the example's: {note}")
        return TorchExport(model, exporter, dynamic, note)
    advice = "\nA fixed batch size may work: dynamic_batch='auto' or False" if all(c.dynamic for c in tried) else ""
    advice += advice_for(module, [argument.example for argument in arguments])
    listed = "\n  ".join(failures)
    raise NotReproducedError(f"PyTorch's exporters cannot export this model:\n  {listed}{advice}")


def _export_program(
    path: str | os.PathLike[str], output: str | int | None, input_names: Sequence[str] | None
) -> TorchExport:
    """A ``.pt2`` file through the same door: its graph as a module, its own examples and dynamic axes."""
    program = load_exported_program(path)
    values, keywords = program.example_inputs or ((), {})
    if keywords or not values or not all(isinstance(value, Tensor) for value in values):
        raise ModelError(
            f"{path} was not saved with plain tensors as positional arguments: "
            "call torch.export.export with those alone"
        )
    module = program.module(check_guards=False)
    for submodule in module.modules():
        submodule.training = False  # ours alone, and .eval() is not allowed on a program's module
    placeholders = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    user_inputs = list(program.graph_signature.user_inputs)
    arguments = [
        Argument(name, value, value.is_floating_point(), _is_symbolic(placeholders[user_input]))
        for name, value, user_input in zip(input_names or user_inputs, values, user_inputs, strict=True)
    ]
    dynamic = any(argument.per_example for argument in arguments)
    with EXPORT_LOCK:
        result = _first_that_reproduces(module, values, arguments, output, candidates(arguments, dynamic))
    if not dynamic:
        return TorchExport(result.model, result.exporter, False, f"{result.note} in {path}")
    return result


def _is_symbolic(placeholder: Any) -> bool:
    return bool(placeholder.dim()) and not isinstance(placeholder.shape[0], int)


def _rows(
    function: Callable[..., Any], positional: Sequence[Any], attributed: int, output: str | int | None
) -> list[bool]:
    def evaluate(arguments: Sequence[Any]) -> Tensor:
        fresh = [a.clone() if isinstance(a, Tensor) else a for a in arguments]  # the function may write into them
        return run_torch(lambda: pick_output(call_once(function, fresh), output)[1], ())

    with EXPORT_LOCK:
        return rows_of(positional, attributed, evaluate, certain=1)


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    raise UsageError(f"an example input is a {type(value).__name__}: give tensors or arrays")


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return () if value is None else value if isinstance(value, tuple) else (value,)


def _tensor_names(function: Callable[..., Any], positional: Sequence[Any]) -> list[str]:
    names = argument_names(function, len(positional))
    return [name for name, value in zip(names, positional, strict=True) if isinstance(value, Tensor)]


def _from_text(text: str, weights: str | os.PathLike[str] | None) -> torch.nn.Module:
    if Path(text).suffix in (".pt", ".pth", ".bin", ".ckpt", ".safetensors"):
        raise ModelError(
            f"{text} holds weights, or a pickled module that could run code when loaded, but no graph: give the "
            "model as package.module:factory and this file (a state dict) as weights, or save the model with "
            "torch.export.save as .pt2"
        )
    if ":" not in text:
        raise UsageError(f"{text!r} is neither a .pt2 file nor package.module:factory")
    return load_factory(text, weights)
