"""CSV and Parquet files as columns by name, each of text or numbers, with what is missing as None or NaN.

The one idea: a CSV file does not say types, so its cells stay text until the model's declared input says what they are;
a postal code for an input of text keeps its zeros.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.errors import InputError, MissingDependencyError

CSV_SUFFIXES, PARQUET_SUFFIXES = (".csv", ".tsv"), (".parquet",)
TABLE_SUFFIXES = (*CSV_SUFFIXES, *PARQUET_SUFFIXES)
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})  # in cells of numbers, in any case
_WHOLE = re.compile(r"[+-]?\d+")
_BOOLEANS = {"true": 1.0, "false": 0.0}
_SHOWN = 5  # rows in a message


def read_table(path: Path) -> tuple[dict[str, Array], list[str]]:
    """Columns [N] by name, and notes on what was assumed.

    Raises:
        InputError: a broken file, rows of different lengths, two columns of one name, no rows.
        MissingDependencyError: Parquet without pyarrow.
    """
    columns, notes = _read_parquet(path) if path.suffix.lower() in PARQUET_SUFFIXES else _read_csv(path)
    if not columns or not len(next(iter(columns.values()))):
        raise InputError(f"{path}: the table has no rows")
    return columns, notes


def numbers(column: Array, name: str, path: Path) -> Array:
    """The column as float64, NaN where a value is missing, or as int64 where all are whole numbers.

    Raises:
        InputError: a value that is no number.
    """
    if column.dtype.kind in "iuf":
        return column
    if column.dtype.kind == "b":
        return column.astype(np.int64)
    if _are_whole(column):
        return np.array([int(cell) for cell in column], np.int64)
    found = np.empty(len(column))
    for row, cell in enumerate(column):
        text = "" if cell is None else str(cell).strip().lower()
        try:
            found[row] = np.nan if text in MISSING else _BOOLEANS[text] if text in _BOOLEANS else float(text)
        except ValueError:
            raise InputError(
                f"{path}: column {name!r} holds {cell!r} in row {row}, which is no number; encode the column as for "
                "the model's training"
            ) from None
    return found


def missing(column: Array) -> Array:
    """Where the column has no value, [N] of booleans."""
    if column.dtype.kind == "f":
        return np.asarray(np.isnan(column))
    if column.dtype.kind != "O":
        return np.zeros(len(column), bool)
    return np.array([cell is None or (isinstance(cell, str) and not cell.strip()) for cell in column])


def rows_named(rows: Array) -> str:
    """``3, 17, 20`` of the rows where the mask is set, cut after five."""
    places = np.flatnonzero(rows)
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return ", ".join(str(place) for place in places[:_SHOWN]) + more


def _are_whole(column: Array) -> bool:
    return all(isinstance(cell, str) and _WHOLE.fullmatch(cell.strip()) and len(cell) < 19 for cell in column)


def _read_csv(path: Path) -> tuple[dict[str, Array], list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            stream.seek(0)
            rows = _without_blank_lines(list(csv.reader(stream, delimiter=_delimiter(path, first), strict=True)))
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not a readable table (UTF-8, one row a line): {error}") from error
    if not rows:
        raise InputError(f"{path}: the file is empty")
    notes = []
    if all(_is_number(cell) for cell in rows[0]):
        notes.append(f"{path}: the first line holds numbers only, so it is read as the first row, not as column names")
        rows.insert(0, [str(place) for place in range(len(rows[0]))])
    names = [name.strip() for name in rows[0]]
    _require_different(path, names)
    for number, row in enumerate(rows[1:]):
        if len(row) != len(names):
            raise InputError(f"{path}: row {number} has {len(row)} cells, the first line {len(names)}")
    columns = zip(*rows[1:], strict=True) if len(rows) > 1 else ([] for _ in names)
    return {name: np.array(cells, object) for name, cells in zip(names, columns, strict=True)}, notes


def _without_blank_lines(rows: list[list[str]]) -> list[list[str]]:
    """The rows; a blank line amid a single column is a row of it whose value is missing."""
    full = [place for place, row in enumerate(rows) if row]
    if not full or len(rows[full[0]]) > 1:
        return [row for row in rows if row]
    return [row or [""] for row in rows[full[0] : full[-1] + 1]]


def _delimiter(path: Path, line: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    return max(",;\t", key=line.count)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _require_different(path: Path, names: list[str]) -> None:
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise InputError(f"{path}: two columns are called {twice[0]!r}; give them names of their own")


def _read_parquet(path: Path) -> tuple[dict[str, Array], list[str]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: reading Parquet needs pyarrow: pip install 'onnx-ig[tables]' (or give the table as .csv)"
        ) from error
    try:
        table = parquet.read_table(path)
        _require_different(path, list(table.column_names))
        return {name: _of_arrow(table.column(name), pyarrow) for name in table.column_names}, []
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable Parquet file (truncated or of another kind): {error}") from error


def _of_arrow(column: Any, arrow: Any) -> Array:
    """Numbers with NaN for null, booleans without nulls, all else as Python objects."""
    kinds = arrow.types
    if kinds.is_dictionary(column.type):
        column = column.combine_chunks().dictionary_decode()
    if kinds.is_decimal(column.type):
        column = column.cast(arrow.float64())
    if kinds.is_integer(column.type) or kinds.is_floating(column.type) or kinds.is_boolean(column.type):
        if column.null_count:
            column = column.cast(arrow.float64()) if not kinds.is_boolean(column.type) else column.cast(arrow.int8())
            return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
        return np.asarray(column.to_numpy(zero_copy_only=False))
    return np.array(column.to_pylist(), object)
