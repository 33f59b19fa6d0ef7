"""Attributions as a table in a file, a row for each example, for whoever gave a table.

The one idea: the columns keep the names that they came with; what is known of a row besides stands before them.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError
from onnx_ig.report.columns import columns_of
from onnx_ig.report.record import AttributionReport


def table_suffix(report: AttributionReport) -> str:
    """How the file's name ends: as that of the table that was given."""
    return ".parquet" if report.table is not None and report.table.file.suffix.lower() == ".parquet" else ".csv"


def table_of(report: AttributionReport) -> dict[str, Array]:
    """The columns of the file: row, target, scores and delta as far as they exist, then the attributions by name.

    A column that would have the name of an attributed one begins with ``onnx_ig_``.
    """
    attributed: dict[str, Array] = {}
    for table in columns_of(report):
        for place, name in enumerate(table.names):
            unique = f"{table.name}{name}" if name in attributed or name.startswith("[") else name
            attributed[unique] = table.attributions[:, place]
    facts: dict[str, Array | None] = {
        "row": report.first + np.arange(report.examples) // report.targets
        if report.table is None
        else report.table.numbers
    }
    if report.target is not None and report.target.ndim == 1:
        facts["target"] = report.target
    facts |= {"score": report.score, "baseline_score": report.baseline_score,
              "convergence_delta": report.convergence_delta, "error_estimate": report.error_estimate,
              "steps_used": report.steps_used}  # fmt: skip
    known = {name: value for name, value in facts.items() if value is not None}
    return {f"onnx_ig_{name}" if name in attributed else name: value for name, value in known.items()} | attributed


def write_table(path: Path, report: AttributionReport) -> None:
    """CSV or Parquet by the suffix of ``path``.

    Raises:
        MissingDependencyError: Parquet without pyarrow.
    """
    columns = table_of(report)
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerow(columns)
            line = ",".join(map(_format, columns.values())) + "\r\n"
            stream.writelines(map(line.__mod__, zip(*(column.tolist() for column in columns.values()), strict=True)))
        return
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(f"{path}: writing Parquet needs pyarrow: pip install 'onnx-ig[tables]'") from error
    arrays: Any = {name: pyarrow.array(np.ascontiguousarray(column)) for name, column in columns.items()}
    parquet.write_table(pyarrow.table(arrays), path)


def _format(column: Array) -> str:
    """How a number of the column is written, so that reading gives it again: 9 digits are enough for float32.

    One format for a whole line is written four times as fast as cell by cell.
    """
    return "%.9g" if column.dtype in (np.float16, np.float32) else "%r"
