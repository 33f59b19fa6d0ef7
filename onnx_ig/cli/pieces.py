"""Into which pieces the examples of a call are cut, so that memory does not grow with their number.

The one idea: a piece is as large as the work of starting it asks for and no larger, and what cannot be cut is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from onnx_ig.cli.request import AttributeOptions, Explainer
from onnx_ig.data import (
    TABLE_SUFFIXES,
    InputSpec,
    OpenFiles,
    Window,
    examples_in,
    npy_shape,
    read_input,
    split_name,
)
from onnx_ig.errors import InputError

_BYTES, _MOST_ROWS = 64 << 20, 8192  # of a piece's inputs and attributions; of its examples
_UNKNOWN = 128  # what an axis of unknown size is taken for
_TEXT_BYTES = 32


def pieces(
    explainer: Explainer, specs: Sequence[InputSpec], options: AttributeOptions, rows: int | None
) -> list[Window | None]:
    """The pieces in order; a single None where all examples are read at once.

    Args:
        specs: the inputs that can be fed.
        rows: the examples of a piece; None: as many as memory suggests.

    Raises:
        UsageError, InputError: a missing or broken file.
    """
    by_row = explainer.cut()
    if by_row is None:
        return [None]
    names, opened = {spec.name: spec for spec in specs}, OpenFiles()
    given = [split_name(text, names) for text in options.inputs]
    if any(_is_one_example(Path(file), [names[name]] if name else specs) for name, file in given):
        return [None]
    paths = [Path(file) for _, file in given if Path(file).exists()]
    if len(paths) < len(given):
        return [None]  # reading them says what is missing
    examples = max(examples_in(path, options.files, opened) for path in paths)
    size = rows or max(1, min(_MOST_ROWS, _BYTES // max(1, explainer.row_bytes())))
    if examples <= size:
        return [None]
    whole = Window(slice(0, examples), examples, frozenset(by_row), opened)
    return [whole.piece(number, size) for number in range(-(-examples // size))]


def bytes_of_a_row(specs: Sequence[InputSpec], options: AttributeOptions) -> int:
    """About how many bytes the tensors of an example take, by their declared shapes or, of inputs, by the files."""
    by_name = {spec.name: spec for spec in specs}
    sizes = {spec.name: _declared_bytes(spec) for spec in specs}
    for text in options.inputs:
        name, file = split_name(text, by_name)
        name, path = name or next(iter(by_name)), Path(file)
        if path.is_file() and path.suffix.lower() == ".npy":
            shape, dtype = npy_shape(path)
            sizes[name] = math.prod(shape[1:]) * dtype.itemsize
        elif path.is_dir() and not _is_known(by_name[name]):
            first = min((one for one in path.iterdir() if one.is_file()), default=None)
            if first is not None:
                sizes[name] = max(sizes[name], _bytes_of_file(first, by_name[name], options))
    return 2 * sum(sizes.values())


def _bytes_of_file(path: Path, spec: InputSpec, options: AttributeOptions) -> int:
    try:
        return read_input(path, spec, options.pictures, files=replace(options.files, window=None)).value.nbytes
    except InputError:
        return 0  # said where it is read as data


def _is_known(spec: InputSpec) -> bool:
    return spec.shape is not None and all(isinstance(size, int) for size in spec.shape[1:])


def _declared_bytes(spec: InputSpec) -> int:
    each = _TEXT_BYTES if spec.dtype.kind == "O" else spec.dtype.itemsize
    return each * math.prod(size if isinstance(size, int) else _UNKNOWN for size in (spec.shape or (None, None))[1:])


def _is_one_example(path: Path, specs: Sequence[InputSpec]) -> bool:
    """Whether all rows of a table are one example: a series."""
    return path.suffix.lower() in TABLE_SUFFIXES and any(len(spec.shape or ()) == 3 for spec in specs)
