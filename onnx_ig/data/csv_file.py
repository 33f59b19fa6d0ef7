"""The rows of a CSV file as text, read in pieces.

The one idea: a row that cannot be read is refused, or takes its place among the others as one that is broken.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.data.encoding import encoding_advice
from onnx_ig.errors import InputError

BROKEN = object()  # every cell of a row that has other cells than the first line
_UNREADABLE = ["\udcff"]
_UNDECODED = re.compile("[\udc80-\udcff]")  # what stands for bytes that are not UTF-8


class CsvRows:
    """A CSV file, its rows as text."""

    def __init__(self, path: Path, *, skip: bool = False) -> None:
        self._path, self._skip = path, skip
        self.notes: list[str] = []
        first = next(self._lines(), None)
        if first is None:
            raise InputError(f"{path}: the file is empty")
        self._headed = not all(_is_number(cell) for cell in first)
        if not self._headed:
            self.notes.append(
                f"{path}: the first line holds numbers only, so it is read as the first row, not as column names"
            )
        self._names = [name.strip() for name in first] if self._headed else [str(place) for place in range(len(first))]
        require_different(path, self._names)
        self._rows = self._lines()
        self.begin(0)

    def count(self) -> int:
        """The rows of the file, each of which is looked at."""
        found = -1 if self._headed else 0
        for number, row in enumerate(self._lines(), found):
            if len(row) != len(self._names) and not self._skip:
                raise InputError(
                    f"{self._path}: row {number} has {len(row)} cells, the first line {len(self._names)}; mend it, or "
                    "leave such rows out with --on-error skip"
                )
            found = number + 1
        return found

    def begin(self, row: int) -> None:
        """Go to a row."""
        self._rows.close()
        self._rows = self._lines()
        for _ in itertools.islice(self._rows, row + self._headed):
            pass

    def take(self, count: int) -> dict[str, Array]:
        """The next rows, by column."""
        rows: list[list[Any]] = list(itertools.islice(self._rows, count))
        if self._skip:
            width = len(self._names)
            rows = [row if len(row) == width else [BROKEN] * width for row in rows]
        columns = zip(*rows, strict=True) if rows else ([] for _ in self._names)
        return {name: np.array(cells, object) for name, cells in zip(self._names, columns, strict=True)}

    def _lines(self) -> Generator[list[str]]:
        """The lines that are rows; a blank line amid a single column is a row of it whose value is missing.

        One that cannot be read is refused, or too long, where such are left out; the first never is.
        """
        width, blank = 0, 0
        try:
            errors = "surrogateescape" if self._skip else None
            with self._path.open(newline="", encoding="utf-8-sig", errors=errors) as stream:
                line = stream.readline()
                line.encode("utf-8", "surrogateescape").decode("utf-8")
                delimiter = _delimiter(self._path, line)
                stream.seek(0)
                reader = csv.reader(stream, delimiter=delimiter, strict=True)
                ended = 0
                for row in _readable(reader) if self._skip else reader:
                    begun, ended = ended + 1, reader.line_num
                    if ended > begun and width and len(row) != width:
                        raise csv.Error(
                            f"the row that begins on line {begun} ends on line {ended} with other cells than the first "
                            "line: a quote in it is not closed, and which rows follow is not known; mend it"
                        )
                    if not row:
                        blank += width == 1
                        continue
                    if row is _UNREADABLE:
                        if not width:
                            raise csv.Error("the first line is not quoted as it should be")
                        row = [""] * (width + 1)
                    width = width or len(row)
                    yield from ([""] for _ in range(blank))
                    blank = 0
                    yield row
        except (csv.Error, UnicodeDecodeError, OSError) as error:
            raise InputError(
                f"{self._path}: not a readable table (UTF-8, one row a line): {error}{encoding_advice(error)}"
            ) from error


def _readable(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """The rows of a CSV file; a mark for those that are not quoted as they should be, or hold what is not UTF-8."""
    while True:
        try:
            for row in reader:
                text = "".join(row)
                yield row if text.isascii() or not _UNDECODED.search(text) else _UNREADABLE
            return
        except csv.Error:  # the reader goes on with the next line
            yield _UNREADABLE


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


def require_different(path: Path, names: list[str]) -> None:
    """Raise InputError where two columns have one name."""
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise InputError(f"{path}: two columns are called {twice[0]!r}; give them names of their own")
