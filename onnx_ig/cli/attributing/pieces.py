"""Into which pieces the examples of a call are cut, so that memory does not grow with their number.

The one idea: a piece is as large as the work of starting it asks for and no larger, and what cannot be cut is one:
nor can files of which one has other rows than the examples; reading all of them says what does not fit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from onnx_ig.cli.attributing.request import AttributeOptions, Explainer
from onnx_ig.cli.reading.baselines import averaged_over
from onnx_ig.data import (
    SUFFIXES_OF_ONE_EXAMPLE,
    TABLE_SUFFIXES,
    FileOptions,
    InputSpec,
    OpenFiles,
    Window,
    npy_shape,
    parse_baseline,
    read_input,
    rows_in,
    split_name,
)
from onnx_ig.errors import InputError
from onnx_ig.graph.declared import of_text

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
    attributed = _rows(given, names, by_row, options.files, opened)
    beside = _rows([split_name(text, names) for text in options.extra], names, by_row, options.files, opened)
    if not attributed or beside is None:
        return [None]
    examples = max(count for _, count in attributed)
    size = rows or max(1, min(_MOST_ROWS, _BYTES // max(1, explainer.row_bytes())))
    if examples <= size:
        return [None]
    named = {name for name, _ in given}
    if any(count != examples and (count != 1 or name in named) for name, count in (*attributed, *beside)):
        return [None]
    if any(count not in (1, examples) for count in _told_of_each(options)):
        return [None]
    _require_rows_of_baselines(examples, names, by_row, options, opened)
    whole = Window(slice(0, examples), examples, frozenset(by_row), opened)
    return [whole.piece(number, size) for number in range(-(-examples // size))]


def _rows(
    given: Sequence[tuple[str | None, str]],
    specs: Mapping[str, InputSpec],
    by_row: Collection[str],
    files: FileOptions,
    opened: OpenFiles,
) -> list[tuple[str, int]] | None:
    """The rows of files that may have one for each example, with the input's name, "" where reading tells it.

    None where no row can be read alone: a file is missing, or a pattern, or several are of one input.
    """
    found: list[tuple[str, int]] = []
    single = [name for name, file in given if Path(file).suffix.lower() in SUFFIXES_OF_ONE_EXAMPLE]
    if len({*single}) < len(single) or not all(Path(file).exists() for _, file in given):
        return None
    for name, file in given:
        rows = rows_in(Path(file), files, opened)
        name = next(iter(specs)) if name is None and len(specs) == 1 else name
        if name is not None:
            rows = {name: rows.get(name, max(rows.values()))}
        found += [(key, count) for key, count in rows.items() if not key or key in by_row]
    return found


def _told_of_each(options: AttributeOptions) -> list[int]:
    """Of how many examples the targets and the names of features tell, each where it tells of every one."""
    given = (options.target, options.targets)
    targets = [target for target in given if isinstance(target, np.ndarray) and target.ndim]
    return [*map(len, targets), *map(len, options.names.of_each_example())]


def _require_rows_of_baselines(
    examples: int, specs: Mapping[str, InputSpec], by_row: Collection[str], options: AttributeOptions, opened: OpenFiles
) -> None:
    """Whether each file of baselines has one for every example, or one for all.

    Raises:
        UsageError: a missing file; InputError: other rows, which would be taken for those of a piece that has as many.
    """
    parsed = [parse_baseline(text, specs, of_text([*specs.values()])) for text in options.baselines]
    given = [(one.name, str(one.value)) for one in parsed if isinstance(one.value, Path)]
    rows = _rows(given, specs, by_row, options.files, opened) or ()
    many = [name for name, count in rows if count not in (1, examples)]
    if many:
        raise averaged_over(many, examples)


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
