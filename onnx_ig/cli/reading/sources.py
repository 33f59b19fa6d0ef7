"""Opening SOURCE: an .onnx file, a .pt2 file, or package.module:factory with the arguments to call it with."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.data import InputSpec, PictureOptions, read_input, split_name
from onnx_ig.data.readers import READERS
from onnx_ig.errors import InputError, UsageError
from onnx_ig.loading.model import Model, is_torch_source, load, load_with_output

_SHAPE = re.compile(r"(\d+(?:x\d+)*)(?::(\w+))?")
_MOST_ARGUMENTS = 64


@dataclass(frozen=True)
class Factory:
    """A PyTorch module made by package.module:factory.

    Attributes:
        arguments: by parameter name, in the parameters' order.
        texts: the texts that gave them, in their own order, each with its NAME= put before.
    """

    module: Any
    arguments: dict[str, Array]
    texts: list[str]


def is_factory(source: str) -> bool:
    """Whether SOURCE is package.module:factory."""
    return is_torch_source(source) and Path(source).suffix not in (
        ".pt2",
        ".pt",
        ".pth",
        ".bin",
        ".ckpt",
        ".safetensors",
    )


def open_model(
    source: str, weights: Path | None, examples: Sequence[str], output: str | None = None
) -> tuple[Model, str | None]:
    """The model behind SOURCE, and the name of the tensor in it that ``output`` means.

    Args:
        examples: ``[NAME=]FILE`` or ``[NAME=]SHAPE`` for each argument of a factory's module; ``[NAME=]FILE`` for each
            input of an .onnx file, to settle ranks that only a run tells.
    """
    if is_factory(source):
        made = open_factory(source, weights, examples)
        return load_with_output(made.module, output, example_inputs=tuple(made.arguments.values()))
    refuse_torch_options(weights=weights)
    model, output = load_with_output(source, output)
    return (load(model, example_inputs=read_arguments(model, examples)) if examples else model), output


def read_arguments(model: Model, examples: Sequence[str]) -> dict[str, Array]:
    """The arrays in ``[NAME=]FILE`` texts by the names of a model's inputs; without NAME in declared order.

    Raises:
        UsageError, InputError: no such input, or a file that does not fit it.
    """
    from onnx_ig.graph.declared import spec_of

    specs = {spec.name: spec for spec in map(spec_of, model.inputs)}
    given: dict[str, Array] = {}
    for text in examples:
        name, rest = split_name(text, specs)
        name = name or next((n for n in specs if n not in given), None)
        if name is None or name in given:
            raise UsageError(f"{text!r}: the model's inputs are {', '.join(specs)}; give each once, as NAME=FILE")
        given[name] = read_input(Path(rest), specs[name]).value
    return given


def files_in(*texts: str | Path | None) -> frozenset[Path]:
    """The files that words of the command line name, as ``FILE``, ``@FILE`` or ``NAME=`` either, and a folder's."""
    found: set[Path] = set()
    for text in texts:
        word = "" if text is None else str(text)
        for name in {word, *(word[i + 1 :] for i, letter in enumerate(word) if letter in "=@")}:
            path = Path(name)
            if name and os.path.isdir(path):
                found.update(path.iterdir())
            elif name and os.path.isfile(path):
                found.add(path)
            elif glob.has_magic(name):
                found.update(Path(match) for match in glob.glob(name, recursive=True))
    return frozenset(found)


def refuse_torch_options(**options: Any) -> None:
    """Raise UsageError for an option that only goes with package.module:factory."""
    for name, value in options.items():
        if value:
            raise UsageError(f"--{name.replace('_', '-')} goes with package.module:factory only")


def open_factory(
    source: str, weights: Path | None, examples: Sequence[str], pictures: PictureOptions | None = None
) -> Factory:
    """Make the module and read what it is called with.

    Raises:
        UsageError: no such factory or file, or nothing to call it with.
        ModelError: the factory or its weights are broken.
    """
    import onnx_ig.pytorch.export  # noqa: F401  (says which extra to install where torch is missing)
    from onnx_ig.pytorch.files import load_factory
    from onnx_ig.pytorch.source import argument_names

    module = load_factory(source, weights)
    if not examples:
        raise UsageError(
            f"{source} needs example inputs to be exported: --example-input [NAME=]FILE or a shape such as 1x3x224x224"
        )
    parameters = argument_names(module, max(_MOST_ARGUMENTS, len(examples)))
    floating = next((p.dtype for p in module.parameters() if p.is_floating_point()), "float32")
    dtype = np.dtype(str(floating).removeprefix("torch.").replace("bfloat16", "float32"))
    given: dict[str, Array] = {}
    named: list[str] = []
    for text in examples:
        name, rest = split_name(text, parameters)
        if name is None and "=" in rest and not Path(rest).exists():
            raise UsageError(f"{text!r}: {source} has no parameter {rest.partition('=')[0]!r}")
        name = name or next(parameter for parameter in parameters if parameter not in given)
        if name in given:
            raise UsageError(f"argument {name!r} is given twice, the second time by {text!r}")
        given[name] = _value(rest, name, dtype, pictures)
        named.append(f"{name}={rest}")
    order = parameters[: len(given)]
    missing = [name for name in order if name not in given]
    if missing:
        raise UsageError(
            f"{source} takes {missing[0]!r} before {', '.join(n for n in given if n not in order)}: give it as well"
        )
    return Factory(module, {name: given[name] for name in order}, named)


def _value(text: str, name: str, dtype: np.dtype[Any], pictures: PictureOptions | None) -> Array:
    """The array in a file, or one of a given shape: standard normal floats, zeros for other types."""
    matched = _SHAPE.fullmatch(text)
    if matched and not Path(text).exists():
        shape = [int(size) for size in matched[1].split("x")]
        wanted = _dtype(matched[2], text) if matched[2] else dtype
        if wanted.kind != "f":
            return np.zeros(shape, wanted)
        return np.random.default_rng(0).standard_normal(shape).astype(wanted)
    path = Path(text)
    wanted = dtype
    if path.is_file() and path.suffix.lower() in READERS:  # no declared type: integers stay integers
        arrays = READERS[path.suffix.lower()](path)
        array = arrays.get(name, next(iter(arrays.values())))
        wanted = array.dtype if array.dtype.kind in "iub" else dtype
    return read_input(path, InputSpec(name, wanted, None), pictures).value


def _dtype(text: str, where: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(text)
    except TypeError:
        raise UsageError(f"{where!r}: {text!r} is not an element type such as float32 or int64") from None
    if dtype.kind not in "fiub":
        raise InputError(f"{where!r}: tensors of type {text!r} cannot be made")
    return dtype
