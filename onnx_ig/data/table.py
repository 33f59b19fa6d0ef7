"""A table's columns as a model's inputs: an input for each column, or all of them side by side in one.

The one idea: names decide where there are any (the inputs' own, the names of the features); the order of the columns is
the last resort, and a note says that it was taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from onnx_ig.common.suggestions import nearest
from onnx_ig.common.types import Array
from onnx_ig.data.options import class_index
from onnx_ig.data.table_file import (
    MISSING,
    TABLE_SUFFIXES,
    Table,
    broken,
    missing,
    numbers,
    rows_named,
    said_of_left_out,
)
from onnx_ig.data.window import OpenFiles, Window
from onnx_ig.errors import InputError, UsageError
from onnx_ig.graph.declared import InputSpec, kind_of

_METADATA = {"features": ("feature_names", "features", "columns"), "classes": ("class_names", "classes", "labels")}


@dataclass(frozen=True)
class TableOptions:
    """How a table is read.

    Attributes:
        features: the names of an input's features in the model's order; empty where they are not known.
        target: the column that holds each row's target, None for none.
        classes: the names of the targets, by which such a column may call them.
        skip: rows with missing or broken values are left out, not refused.
        keep_missing: they are passed on as NaN or empty text, for models that fill them in themselves.
    """

    features: Sequence[str] = ()
    target: str | None = None
    classes: Sequence[str] = ()
    skip: bool = False
    keep_missing: bool = False


@dataclass(frozen=True)
class Rows:
    """Of a file with a row for each example: which of ``count`` rows from the ``first`` on are taken, their targets.

    ``named``: each example is called by its row, where rows may be left out and examples are counted without them.
    """

    file: Path
    count: int
    taken: Array
    target: Array | None = None
    first: int = 0
    named: bool = False

    @property
    def of_a_table(self) -> bool:
        """Whether the file is a table, not an array."""
        return self.file.suffix.lower() in TABLE_SUFFIXES

    @property
    def numbers(self) -> Array:
        """Which rows of the file are taken."""
        return self.first + self.taken

    def head(self, examples: int) -> Rows:
        """The first rows, as many as hold so many ``examples``."""
        taken = self.taken[:examples]
        count = self.count if len(taken) == len(self.taken) else int(taken[-1]) + 1
        return replace(self, count=count, taken=taken, target=None if self.target is None else self.target[:examples])

    def of(self, taken: Array) -> Rows:
        """Those of the rows that are among ``taken``."""
        own = np.isin(self.taken, taken)
        return replace(self, taken=self.taken[own], target=None if self.target is None else self.target[own])

    @property
    def left_out(self) -> Array:
        """Where a row is not taken, [count] of booleans."""
        return np.isin(np.arange(self.count), self.taken, invert=True)

    def require_one_example(self) -> None:
        """Whether they can be one example together.

        Raises:
            UsageError: each has a target; InputError: some were left out.
        """
        if self.target is not None:
            raise UsageError(
                f"--target column:NAME: all of {self.file} is one example, and a column has a target for each row; "
                "give one as an index"
            )
        if self.left_out.any():
            raise InputError(
                f"all of {self.file} is one example, of which no row can be left out: fill in what is missing in row "
                f"{rows_named(self.left_out)}"
            )


@dataclass(frozen=True)
class TableRead:
    """Input values by name, the names of the columns of those that have several, and notes.

    ``rows``: which rows the examples are; None where all of the table is one.
    """

    values: dict[str, Array]
    features: dict[str, tuple[str, ...]]
    rows: Rows | None
    notes: list[str] = field(default_factory=list)


def names_in_metadata(properties: Mapping[str, str]) -> dict[str, list[str]]:
    """``features`` and ``classes`` as far as a model's metadata tell them: JSON lists of text under the usual keys."""
    found = {}
    for what, keys in _METADATA.items():
        for key in keys:
            try:
                names = json.loads(properties.get(key, ""))
            except ValueError:
                continue
            if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
                found[what] = names
                break
    return found


def read_columns(
    path: Path, specs: Sequence[InputSpec], options: TableOptions, window: Window | None = None
) -> TableRead:
    """The values of ``specs`` from a table, of all its rows or of those in the ``window``.

    * Columns called like inputs: each is one, [N] or [N, 1] as declared; text stays text.
    * Else the only input [N, F] takes them side by side: those with the features' names, or all in their order.
    * An input [N, T, C] or [N, C, T] takes the whole table as one example, a row for each time.

    Raises:
        InputError: columns that are missing, too many, or hold what the input cannot take; rows without a value.
        UsageError: a column for the target that is not there, or beside one example.
    """
    table = Table(path, skip=options.skip) if window is None else open_table(path, options, window.opened)
    alone = specs[0].name if len(specs) == 1 else None
    chosen_rows = slice(0, table.count) if window is None else window.within(table.count, alone)
    columns, notes, first = table.columns(chosen_rows), list(table.notes), chosen_rows.start
    if options.target is not None and options.target not in columns:
        raise UsageError(
            f"--target column:{options.target}: {path} has no such column{nearest(options.target, columns)}; it has "
            f"{_listed(columns)}"
        )
    bad = broken(columns) if options.skip else None
    label = None if options.target is None else _labels(columns.pop(options.target), options)
    by_input = {spec.name: spec for spec in specs if spec.name in columns and _may_be_a_column(spec)}
    features: dict[str, tuple[str, ...]] = {}
    if by_input and not (len(specs) == 1 and _width(specs[0]) not in (1, None)):
        used = {name: _typed(columns[name], spec, name, path, first, bad) for name, spec in by_input.items()}
        ignored = [name for name in columns if name not in used]
        if ignored:
            are = "is called" if len(ignored) == 1 else "are called"
            notes.append(f"{path}: {_listed(ignored)} {are} like no input of the model: left out")
    else:
        spec = _only(specs, columns, path)
        chosen = _features(columns, spec, options, path, notes)
        used = {name: _typed(columns[name], spec, name, path, first, bad) for name in chosen}
    needed = {**used, **({} if label is None else {str(options.target): label})}
    taken = _complete_rows(needed, bad, options, path, first, whole=chosen_rows == slice(0, table.count))
    target = None if label is None else _targets(label[taken], options, path)
    if by_input and not features and set(used) == set(by_input):
        values = {name: _as_declared(column[taken], by_input[name]) for name, column in used.items()}
    else:
        values = {spec.name: _side_by_side({name: column[taken] for name, column in used.items()}, spec)}
        features = {spec.name: tuple(used)}
    rows = Rows(path, len(taken), np.flatnonzero(taken), target, first, named=options.skip)
    if window is None and rows.left_out.any():
        notes.append(said_of_left_out(path, np.flatnonzero(rows.left_out).tolist(), rows.count))
    if any(value.ndim == 3 for value in values.values()):
        rows.require_one_example()
        return TableRead(values, features, None, notes)
    return TableRead(values, features, rows, notes)


def open_table(path: Path, options: TableOptions, opened: OpenFiles) -> Table:
    """The table in a file that is read in pieces."""
    table: Table = opened.get("table", path, lambda path: Table(path, skip=options.skip))
    return table


def _may_be_a_column(spec: InputSpec) -> bool:
    return spec.shape is None or len(spec.shape) <= 2


def _width(spec: InputSpec) -> int | str | None:
    """How many features an input [N, F] has: F, its symbol or None; None also for [N]."""
    return spec.shape[1] if spec.shape is not None and len(spec.shape) == 2 else None


def _only(specs: Sequence[InputSpec], columns: Mapping[str, Array], path: Path) -> InputSpec:
    if len(specs) != 1:
        raise InputError(
            f"{path}: no column is called like an input of the model ({_listed([s.name for s in specs])}); the columns "
            f"are {_listed(columns)}. Rename them, or say NAME={path} for the input that takes them side by side"
        )
    spec = specs[0]
    if spec.shape is not None and len(spec.shape) not in (2, 3):
        raise InputError(f"{path}: input {spec.name!r} has shape {spec.describe_shape()}, a table needs rank 2 or 3")
    return spec


def _features(
    columns: Mapping[str, Array], spec: InputSpec, options: TableOptions, path: Path, notes: list[str]
) -> list[str]:
    """The columns that are the features, in the model's order."""
    width = _width(spec)
    if options.features and set(options.features) & set(columns):
        absent = [name for name in options.features if name not in columns]
        if absent:
            raise InputError(
                f"{path}: no column {absent[0]!r}{nearest(absent[0], columns)}; the features of {spec.name!r} are "
                f"{_listed(options.features)}, the columns {_listed(columns)}"
            )
        ignored = [name for name in columns if name not in options.features]
        if ignored:
            are = "is no feature" if len(ignored) == 1 else "are no features"
            notes.append(f"{path}: {_listed(ignored)} {are} of {spec.name!r}: left out")
        return list(options.features)
    made_up = list(columns) == [str(place) for place in range(len(columns))]  # of a table without a line of names
    if options.features and not made_up and isinstance(width, int | str):
        raise InputError(
            f"{path}: no column is called like a feature of {spec.name!r}, which are {_listed(options.features)}"
            f"{nearest(next(iter(columns)), options.features)}; the columns are {_listed(columns)}"
        )
    if isinstance(width, int) and width != len(columns):
        raise InputError(
            f"{path}: {len(columns)} columns ({_listed(columns)}) for input {spec.name!r}, which has {width} features; "
            'name the features in the model\'s order, --names FILE with {"features": [...]}, or remove the others'
        )
    if len(columns) > 1:
        notes.append(
            f"{path}: the columns were taken as the features of {spec.name!r} in their order, {_listed(columns)}: "
            + ("they have no names" if made_up else "the model does not name its features (--names can)")
        )
    return list(columns)


def _typed(column: Array, spec: InputSpec, name: str, path: Path, first: int, bad: Array | None) -> Array:
    """Text for an input of text, numbers for any other; rows that hold none are marked in ``bad`` where it is given."""
    if spec.dtype.kind != "O":
        return numbers(column, name, path, first, bad)
    return np.array([cell if cell is None else str(cell) for cell in column], object)


def _complete_rows(
    columns: Mapping[str, Array], bad: Array | None, options: TableOptions, path: Path, first: int, *, whole: bool
) -> Array:
    """Which rows are taken [N], of those from the ``first`` on, or of the ``whole`` table.

    ``bad``: those that are broken and left out; None where nothing is.
    """
    lacking = {name: where for name, column in columns.items() if (where := missing(column)).any()}
    holes = lacking if not options.keep_missing or options.target in lacking else {}
    if bad is None:
        if not holes:
            return np.ones(len(next(iter(columns.values()))), bool)
        name, where = next(iter(holes.items()))
        also = f" (also {_listed(list(holes)[1:])})" if len(holes) > 1 else ""
        raise InputError(
            f"{path}: column {name!r} has no value in row {rows_named(where, first)}{also}; fill them in, leave such "
            "rows out with --on-error skip (where each is an example), or pass them on with --allow-nonfinite to a "
            "model that fills them in itself"
        )
    if not options.keep_missing:
        infinite = [np.isinf(column) for column in columns.values() if column.dtype.kind == "f"]
        bad = np.logical_or.reduce([bad, *infinite])
    found = np.logical_or.reduce([bad, *holes.values()])
    if found.all() and whole:
        raise InputError(f"{path}: every row lacks a value in {_listed(holes or columns)}, or is broken")
    return np.asarray(~found)


def _as_declared(column: Array, spec: InputSpec) -> Array:
    """[N] or [N, 1], and numbers without a fraction as integers where the input takes those."""
    if spec.dtype.kind == "O":
        column = np.array(["" if cell is None else cell for cell in column], object)
    column = _whole(column, spec)
    return column.reshape(-1, 1) if spec.shape is None or len(spec.shape) == 2 else column


def _side_by_side(columns: Mapping[str, Array], spec: InputSpec) -> Array:
    """[N, F]; for an input of rank 3 one example [1, T, C], or [1, C, T] where only that fits."""
    if spec.dtype.kind == "O":
        return np.stack([_as_declared(column, spec).reshape(-1) for column in columns.values()], 1)
    matrix = _whole(np.stack([column.astype(np.float64) for column in columns.values()], 1), spec)
    if spec.shape is None or len(spec.shape) == 2:
        return matrix
    declared = spec.shape[1:]
    turned = _fits(matrix.T.shape, declared) and not _fits(matrix.shape, declared)
    return (matrix.T if turned else matrix)[np.newaxis]


def _whole(values: Array, spec: InputSpec) -> Array:
    if kind_of(spec.dtype) == "b" and np.isin(values, (0, 1)).all():
        return values.astype(bool)
    is_whole = kind_of(spec.dtype) in "iu" and values.dtype.kind == "f" and np.isfinite(values).all()
    return values.astype(np.int64) if is_whole and (values == np.rint(values)).all() else values


def _fits(sizes: tuple[int, ...], declared: Sequence[int | str | None]) -> bool:
    return all(not isinstance(want, int) or want == size for size, want in zip(sizes, declared, strict=True))


def _labels(column: Array, options: TableOptions) -> Array:
    """The cells of the targets' column, None where one says that it has no value and no class is called so.

    Where broken rows are left out, None too for what is no class and no index, unless no row has either.
    """
    if column.dtype.kind != "O":
        return column
    none = MISSING - {name.lower() for name in options.classes}
    cells = [None if isinstance(cell, str) and cell.strip().lower() in none else cell for cell in column]
    if options.skip:
        texts = {cell: _as_text(cell) for cell in dict.fromkeys(cells) if cell is not None}
        classes = [cell for cell, text in texts.items() if class_index(text, options.classes) is not None]
        known = {*(classes or [cell for cell, text in texts.items() if text.lstrip("+-").isdecimal()])}
        cells = [cell if not known or cell in known else None for cell in cells]
    return np.array(cells, object)


def _targets(column: Array, options: TableOptions, path: Path) -> Array:
    """A target for each row: indices, or names of classes.

    Raises:
        InputError: neither.
    """
    texts = [_as_text(cell) for cell in column]
    by_name = {text: class_index(text, options.classes) for text in dict.fromkeys(texts)}
    if all(index is not None for index in by_name.values()):
        return np.array([by_name[text] for text in texts], np.int64)
    try:
        values = numbers(column, str(options.target), path)
    except InputError:
        unknown = next((text for text in texts if by_name[text] is None), "")
        known = (
            f"the classes are {_listed(options.classes)}"
            if options.classes
            else 'name the classes, --names with {"classes": [...]}'
        )
        raise InputError(
            f"{path}: column {options.target!r} holds {unknown!r}, which is no index and no class: {known}"
        ) from None
    if values.dtype.kind == "f" and not (values == np.rint(values)).all():
        raise InputError(f"{path}: column {options.target!r} holds numbers with fractions; targets are indices")
    return values.astype(np.int64)


def _as_text(cell: object) -> str:
    """As a table of text would hold it."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _listed(names: Sequence[str] | Mapping[str, object]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join(shown if len(shown) <= 12 else [*shown[:11], f"... ({len(shown)} in all)"])
