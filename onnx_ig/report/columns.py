"""Attributions as the columns of a table, for bars, summaries and tables in files.

The one idea: one input of F features and F inputs of one feature each are the same table, so both are read here once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.report.labels import is_per_example
from onnx_ig.report.record import AttributionReport


@dataclass(frozen=True)
class Columns:
    """F columns of N rows: names, ``attributions`` [N, F], and the inputs' values [N] or None by column.

    ``name`` is the tensor's, or None for the inputs of a table with one each. ``mean`` is the mean |attribution| of
    each column [F] where the rows are a sample of those that it is the mean of.
    """

    name: str | None
    names: Sequence[str]
    attributions: Array
    values: Sequence[Array | None]
    mean: Array | None = None

    def sizes(self) -> Array:
        """|attributions|, [N, F]; values that are not finite count as zero."""
        return np.abs(np.nan_to_num(self.attributions, nan=0.0, posinf=0.0, neginf=0.0))

    def mean_sizes(self) -> Array:
        """The mean |attribution| of each column, [F]."""
        return self.sizes().mean(axis=0) if self.mean is None else self.mean

    def label(self, column: int, row: int | None = None) -> str:
        """``age``, or ``age = 37`` in one row."""
        values = self.values[column]
        return self.names[column] if row is None or values is None else f"{self.names[column]} = {shown(values[row])}"


def shown(value: object) -> str:
    """A cell as text: numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, (float, int, np.number)) else str(value)


def columns_of(report: AttributionReport) -> list[Columns]:
    """The tables in a report: all inputs of a table with one each as one, then each tensor that is not in it.

    Those are [N, F], and [N], one column that is called like its tensor.
    """
    flat = {name: report.rows(array) for name, array in report.attributions.items() if report.rows(array).ndim <= 2}
    single = {name: array for name, array in flat.items() if array.size == len(array)}
    tables = []
    if len(single) > 1:  # the wider ones are categories that were made numbers: the column's is their sum
        sums = np.stack([array.reshape(len(array), -1).sum(axis=1, dtype=np.float64) for array in flat.values()], 1)
        tables.append(Columns(None, list(flat), sums, [_single(report, name) for name in flat]))
    for name, array in flat.items():
        matrix = _matrix(array)
        if matrix.shape[1] and (len(single) < 2 or name not in single):
            given = report.inputs.get(name)
            values = None if given is None else _matrix(report.rows(given))
            names = report.feature_names.get(name, ())
            unnamed = [name] if name in single else [f"[{i}]" for i in range(matrix.shape[1])]
            labels = unnamed if not names or is_per_example(names) else list(names)
            tables.append(
                Columns(name, [str(label) for label in labels], matrix.astype(np.float64),
                        [None if values is None else values[:, i] for i in range(matrix.shape[1])])
            )  # fmt: skip
    return tables


def _matrix(rows: Array) -> Array:
    return rows[:, np.newaxis] if rows.ndim == 1 else rows


def of_example(report: AttributionReport, columns: Columns, example: int) -> Sequence[str]:
    """The names of the columns in one example, which may have its own."""
    own = None if columns.name is None else report.names_of(columns.name, example)
    return columns.names if own is None else own


def _single(report: AttributionReport, name: str) -> Array | None:
    given = report.inputs.get(name)
    values = None if given is None else report.rows(given)
    return values.reshape(len(values)) if values is not None and values.size == len(values) else None
