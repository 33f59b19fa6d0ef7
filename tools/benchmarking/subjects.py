"""What the benchmark measures: an architecture of full_size.MODELS by its name, or any .onnx file by its path."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

import onnx_ig
from tools.full_size import MODELS

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Subject:
    """A model and its data.

    Attributes:
        inputs: the tensors of all inputs, in the model's order, for a number of examples; the first is attributed.
        module: makes the torch module that Captum explains; None for a file.
        file: the .onnx file; None for an architecture, which is exported first.
        target: the first element of each example's output.
        free: whether the number of examples may be chosen.
        size: of an architecture's input, where it is not the usual one.
    """

    name: str
    inputs: Callable[[int], Tensors]
    module: Callable[[], nn.Module] | None = None
    file: Path | None = None
    target: int | tuple[int, ...] | None = 0
    free: bool = True
    size: int | None = None


def subject(name: str, data: Path | None = None, size: int | None = None) -> Subject:
    """The model called ``name``, or in the file ``name``.

    Args:
        data: .npz with one example's values by input name, for a file whose shapes say too little.
        size: pixels per side, or tokens, of an architecture's input.

    Raises:
        SystemExit: no such model; an input whose shape or kind is not known from the file.
    """
    if name in MODELS:
        model = MODELS[name] if size is None else MODELS[name].resized(size)
        return Subject(name, model.inputs, model.module, size=size)
    if not Path(name).is_file():
        raise SystemExit(f"{name!r} is neither a file nor one of {', '.join(MODELS)}")
    loaded = onnx_ig.load(name)
    inputs, axes = loaded.inputs, len(loaded.outputs[0].shape or ()) - 1
    if inputs[0].dtype is None or not inputs[0].dtype.is_floating_point():
        raise SystemExit(f"{name}: the first input, {inputs[0].name!r}, is attributed and must be of floats")
    given = dict(np.load(data)) if data else {}
    drawn = functools.partial(_drawn, inputs, given)
    target = None if axes < 1 else 0 if axes == 1 else (0,) * axes
    return Subject(Path(name).stem, drawn, None, Path(name).resolve(), target, _first_dimension_free(inputs[0]))


def _drawn(inputs: Sequence[ir.Value], given: Mapping[str, np.ndarray], examples: int) -> Tensors:
    generator = torch.Generator().manual_seed(0)
    return tuple(_tensor(value, given.get(str(value.name)), examples, generator) for value in inputs)


def _tensor(value: ir.Value, given: np.ndarray | None, examples: int, generator: torch.Generator) -> Tensor:
    """What is given, its first example for all; else standard normal floats, or ones (masks) of other types."""
    if given is not None:
        return torch.from_numpy(np.repeat(given[:1], examples, axis=0) if _first_dimension_free(value) else given)
    dims = [examples, *value.shape[1:]] if _first_dimension_free(value) and value.shape else value.shape
    if dims is None or value.dtype is None or not all(isinstance(d, int) for d in dims):
        raise SystemExit(f"input {value.name!r} has shape {value.shape}: give one example of it by --data FILE.npz")
    shape = [int(d) for d in dims]  # type: ignore[arg-type]
    dtype = torch.from_numpy(np.empty(0, value.dtype.numpy())).dtype
    return torch.randn(shape, generator=generator).to(dtype) if dtype.is_floating_point else torch.ones(shape).to(dtype)


def _first_dimension_free(value: ir.Value) -> bool:
    return value.shape is not None and len(value.shape) > 0 and not isinstance(value.shape[0], int)
