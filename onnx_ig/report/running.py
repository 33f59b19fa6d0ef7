"""What is said of all examples together, from one piece of them after the other, in memory that does not grow.

The one idea: sums and counts need no rows; what needs some (a median, points in a drawing) takes an even sample, which
is all of them while they are few.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.data.table import Rows
from onnx_ig.data.table_file import said_of_left_out
from onnx_ig.report.columns import Columns, columns_of
from onnx_ig.report.examples import example_of, number
from onnx_ig.report.record import AttributionReport

MOST_EXAMPLES, MOST_TARGETS = 1000, 20  # in report.json
_DELTAS, _ROWS = 50_000, 400  # of which at least as many are kept, and at most twice as many


class EvenSample:
    """Rows at equal distances: between ``least`` and twice as many, or all that there are."""

    def __init__(self, least: int) -> None:
        self._least, self._seen, self._stride = least, 0, 1
        self._kept: list[Array] = []

    def add(self, rows: Array) -> None:
        """Further ``rows`` [n, ...]."""
        first = -self._seen % self._stride
        self._kept.append(rows[first :: self._stride].copy())
        self._seen += len(rows)
        while sum(map(len, self._kept)) > 2 * self._least:
            self._kept, self._stride = [np.concatenate(self._kept)[::2]], 2 * self._stride

    def rows(self) -> Array:
        """What is kept."""
        return np.concatenate(self._kept) if self._kept else np.empty(0)


class _Table:
    """One table of the report: mean |attribution| of each column, and a sample of its rows."""

    def __init__(self, first: Columns) -> None:
        self._first, self._count = first, 0
        self._size = np.zeros(len(first.names))
        self._attributions = EvenSample(_ROWS)
        self._values = [None if values is None else EvenSample(_ROWS) for values in first.values]

    def add(self, columns: Columns) -> None:
        self._size += columns.sizes().sum(axis=0)
        self._count += len(columns.attributions)
        self._attributions.add(columns.attributions)
        for sample, values in zip(self._values, columns.values, strict=True):
            if sample is not None and values is not None:
                sample.add(values)

    def columns(self) -> Columns:
        values = [None if sample is None else sample.rows() for sample in self._values]
        mean = self._size / max(self._count, 1)
        return Columns(self._first.name, self._first.names, self._attributions.rows(), values, mean)


class Running:
    """The summary of a report whose pieces are added in order."""

    def __init__(self) -> None:
        self.examples, self.targets = 0, 1
        self.listed: list[dict[str, Any]] = []
        self.left_out: list[int] = []
        self._files: dict[Path, int] = {}
        self._targets: Counter[int] = Counter()
        self._names: dict[int, str | None] = {}
        self._relative = EvenSample(_DELTAS)
        self._worst: tuple[float, int] | None = None
        self._tensors: dict[str, dict[str, Any]] = {}
        self._sums: Counter[str] = Counter()
        self._tables: dict[str | None, _Table] = {}

    def add(self, piece: AttributionReport) -> None:
        """The next examples."""
        relative = piece.relative_delta()
        self.targets = piece.targets
        room = max(0, MOST_EXAMPLES // piece.targets * piece.targets - len(self.listed))
        self.listed += [example_of(piece, index, relative) for index in range(min(piece.examples, room))]
        if relative is not None:
            self._add_deltas(relative)
        if piece.target is not None and piece.target.ndim == 1:
            for target, count in zip(*np.unique(piece.target, return_counts=True), strict=True):
                self._targets[int(target)] += int(count)
                self._names[int(target)] = piece.class_name(int(target))
        for name, array in piece.attributions.items():
            rows = self._tensors.get(name, {"shape": [0]})["shape"][0] + len(array) if piece.batched else None
            shape = [*array.shape] if rows is None else [rows, *array.shape[1:]]
            self._tensors[name] = {"shape": shape, "dtype": array.dtype.name}
            self._sums[name] += array.sum(dtype=np.float64)
        for columns in columns_of(piece):
            self._tables.setdefault(columns.name, _Table(columns)).add(columns)
        if piece.table is not None:
            self.add_rows(piece.table)
        self.examples += piece.examples // piece.targets

    def add_rows(self, rows: Rows) -> None:
        """Which of a table's next rows are left out; all of them may be."""
        self.left_out += (rows.first + np.flatnonzero(rows.left_out)).tolist()
        self._files[rows.file] = self._files.get(rows.file, 0) + rows.count

    def said_of_left_out(self) -> list[str]:
        """A sentence where rows were left out."""
        (file, count), *_ = [*self._files.items()] or [(Path(), 0)]
        if not self.left_out:
            return []
        return [said_of_left_out(file, self.left_out, count)]

    def _add_deltas(self, relative: Array) -> None:
        known = np.isfinite(relative)
        self._relative.add(relative[known])
        if known.any():
            place = int(np.argmax(np.where(known, relative, -1)))
            if self._worst is None or relative[place] > self._worst[0]:
                self._worst = float(relative[place]), self.examples + place // self.targets

    def summary(self) -> dict[str, Any]:
        """``summary`` of report.json."""
        delta = None
        if self._worst is not None:
            median = number(np.median(self._relative.rows()))
            delta = {"median": median, "largest": self._worst[0], "example": self._worst[1]}
        frequent = sorted(self._targets.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_TARGETS]
        targets = [{"target": t, "target_name": self._names[t], "examples": count} for t, count in frequent]
        return {"examples": self.examples, "targets": targets, "relative_convergence_delta": delta}

    def tensors(self) -> dict[str, Any]:
        """``tensors`` of report.json."""
        sums = {name: value if math.isfinite(value) else None for name, value in self._sums.items()}
        found = {name: {**known, "sum": sums[name]} for name, known in self._tensors.items()}
        if self.targets > 1:
            for known in found.values():
                rows, *rest = known["shape"]
                known["shape"] = [rows // self.targets, self.targets, *rest]
        return found

    def tables(self) -> list[Columns]:
        """The tables of the report, a sample of their rows each."""
        return [table.columns() for table in self._tables.values()]
