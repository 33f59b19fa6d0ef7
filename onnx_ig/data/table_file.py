"""CSV and Parquet files as columns by name, each of text or numbers, with what is missing as None or NaN.

The one idea: a CSV file does not say types, so its cells stay text until the model's declared input says what they are;
a postal code for an input of text keeps its zeros.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.data.csv_file import BROKEN, CsvRows, require_different
from onnx_ig.errors import InputError, MissingDependencyError

CSV_SUFFIXES, PARQUET_SUFFIXES = (".csv", ".tsv"), (".parquet",)
TABLE_SUFFIXES = (*CSV_SUFFIXES, *PARQUET_SUFFIXES)
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})  # in cells of numbers, in any case
_SEPARATED = re.compile(r"(?=.*[,'’\s])[+-]?\d[\d.,'’\s]*\d")  # as spreadsheets show numbers
_WHOLE = re.compile(r"[+-]?\d+")
_BOOLEANS = {"true": 1.0, "false": 0.0}
_SHOWN = 5  # rows in a message


class Table:
    """A table in a file, read in pieces, one after the other.

    ``skip``: a row of another length, or that is not UTF-8 or not quoted as it should be, is one without values, of
    which :func:`broken` tells, and refused otherwise.

    Raises:
        InputError: a broken file, rows of different lengths, two columns of one name, no rows.
        MissingDependencyError: Parquet without pyarrow.
    """

    def __init__(self, path: Path, *, skip: bool = False) -> None:
        self._file = ParquetRows(path) if path.suffix.lower() in PARQUET_SUFFIXES else CsvRows(path, skip=skip)
        self.notes = self._file.notes
        self._next = 0
        self._last: tuple[slice | None, dict[str, Array]] = None, {}
        self.count = self._file.count()
        if not self.count:
            raise InputError(f"{path}: the table has no rows")

    def columns(self, rows: slice | None = None) -> dict[str, Array]:
        """Columns [N] by name; ``rows`` that follow those read last are the fastest."""
        rows = slice(0, self.count) if rows is None else rows
        if rows != self._last[0]:
            if rows.start != self._next:
                self._file.begin(rows.start)
            self._last, self._next = (rows, self._file.take(rows.stop - rows.start)), rows.stop
        return dict(self._last[1])


def read_table(path: Path) -> dict[str, Array]:
    """All columns of a table by name; errors as :class:`Table`."""
    return Table(path).columns()


def numbers(column: Array, name: str, path: Path, first: int = 0, broken: Array | None = None) -> Array:
    """The column as float64, NaN where a value is missing, or as int64 where all are whole numbers.

    Args:
        first: the number of its first row, for the message.
        broken: where to mark the rows whose value is no number, instead of refusing it.

    Raises:
        InputError: a value that is no number.
    """
    if column.dtype.kind in "iuf":
        return column
    if column.dtype.kind == "b":
        return column.astype(np.int64)
    if _are_whole(column):
        return np.array([int(cell) for cell in column], np.int64)
    with suppress(ValueError, TypeError):  # a cell that is no plain number
        return column.astype(np.float64)
    found = np.empty(len(column))
    for row, cell in enumerate(column):
        text = "" if cell is None else str(cell).strip().lower()
        try:
            found[row] = np.nan if text in MISSING else _BOOLEANS[text] if text in _BOOLEANS else float(text)
        except ValueError:
            if broken is None:
                mend = (
                    "a comma is taken neither for the decimal point nor for thousands, nor is another sign: "
                    "write 1.5 and 1500"
                    if _SEPARATED.fullmatch(text)
                    else "encode the column as for the model's training"
                )
                raise InputError(
                    f"{path}: column {name!r} holds {cell!r} in row {first + row}, which is no number; {mend}, or "
                    "leave such rows out with --on-error skip"
                ) from None
            found[row], broken[row] = np.nan, True
    return found


def missing(column: Array) -> Array:
    """Where the column has no value, [N] of booleans."""
    if column.dtype.kind == "f":
        return np.asarray(np.isnan(column))
    if column.dtype.kind != "O":
        return np.zeros(len(column), bool)
    return np.array([cell is None or (isinstance(cell, str) and not cell.strip()) for cell in column])


def broken(columns: Mapping[str, Array]) -> Array:
    """Where the rows of a table have another length, [N] of booleans."""
    return np.array([cell is BROKEN for cell in next(iter(columns.values()))], bool)


def rows_named(rows: Array, first: int = 0) -> str:
    """``3, 17, 20`` of the rows where the mask is set, cut after five; ``first`` is the number of the first."""
    return named_places((first + np.flatnonzero(rows)).tolist())


def said_of_left_out(path: Path, rows: Sequence[int], count: int) -> str:
    """The note that ``rows`` of ``count`` were left out."""
    return f"{path}: {len(rows)} of {count} rows were left out, without a value or broken: {named_places(rows)}"


def named_places(places: Sequence[int]) -> str:
    """``3, 17, 20``, cut after five."""
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return ", ".join(str(place) for place in places[:_SHOWN]) + more


def _are_whole(column: Array) -> bool:
    return all(isinstance(cell, str) and _WHOLE.fullmatch(cell.strip()) and len(cell) < 19 for cell in column)


class ParquetRows:
    """A Parquet file, read by record batches."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise MissingDependencyError(
                f"{path}: reading Parquet needs pyarrow: pip install 'onnx-ig[tables]' (or give the table as .csv)"
            ) from error
        self._path, self._arrow, self.notes = path, pyarrow, list[str]()
        with self._reading():
            self._file: Any = parquet.ParquetFile(path)
            names = list(self._file.schema_arrow.names)
        require_different(path, names)
        self.begin(0)

    def count(self) -> int:
        """The rows of the file."""
        return int(self._file.metadata.num_rows)

    def begin(self, row: int) -> None:
        """Go to a row."""
        self._batches = self._file.iter_batches()
        self._left: Any = self._file.schema_arrow.empty_table()
        self._collect(row)

    def take(self, count: int) -> dict[str, Array]:
        """The next rows, by column."""
        with self._reading():
            table = self._collect(count)
            return {name: _of_arrow(table.column(name), self._arrow) for name in table.column_names}

    def _collect(self, count: int) -> Any:
        """Take ``count`` rows off what is left."""
        tables = [self._left]
        with self._reading():
            while sum(table.num_rows for table in tables) < count:
                batch = next(self._batches, None)
                if batch is None:
                    break
                tables.append(self._arrow.Table.from_batches([batch]))
            table = self._arrow.concat_tables(tables)
        self._left = table.slice(count)
        return table.slice(0, count)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (self._arrow.ArrowException, OSError, ValueError) as error:
            raise InputError(
                f"{self._path}: not a readable Parquet file (truncated or of another kind): {error}"
            ) from error


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
