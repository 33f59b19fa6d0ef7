"""Writing a report: attributions.npz, report.json, report.html and PNGs appear together or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.common.atomic import Manifest, require_free, staged
from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError
from onnx_ig.report.document import FORMAT, document
from onnx_ig.report.illustrate import Illustration, illustrations
from onnx_ig.report.page import page
from onnx_ig.report.record import AttributionReport
from onnx_ig.report.table_file import NAMES, write_table

ARRAYS, PAGE = "attributions.npz", "report.html"
_MANIFEST = Manifest(
    "report.json",
    FORMAT,
    re.compile(
        r"attributions\.(npz|csv|parquet)|report\.(json|html)|summary\.png"
        r"|(summary|columns|overlay|features|positions|series|map|line)_[A-Za-z0-9_-]+\.png"
    ),
)


def write_report(
    directory: str | Path,
    result: AttributionReport,
    *,
    overwrite: bool = False,
    pictures: bool | None = None,
    max_pictures: int = 16,
    sources: Collection[Path] = (),
) -> list[Path]:
    """Write ``result`` to ``directory`` and return the files, in order of name.

    * ``attributions.npz``: ``attribution_<tensor>`` as computed, ``score``, and where they exist
    ``baseline_score``,
      ``convergence_delta``, ``error_estimate``, ``steps_used``, ``target``.
    * ``attributions.csv`` or ``.parquet`` where the examples are rows of such a table: ``row``, ``target``, scores, and
      the attributions in columns of the table's own names.
    * ``report.json``: see ``onnx_ig.report.document.document``.
    * ``report.html``: the same to read, with the drawings in it.
    * Drawings, such as ``overlay_*.png`` of pictures, ``features_*.png`` of tables and ``series_*.png``, for the first
      ``max_pictures`` examples.

    ``pictures``: True requires matplotlib, False draws none, None draws if matplotlib is installed and says
    in the report's warnings when it is not. An earlier report in ``directory`` is replaced; other files are
    never, unless ``overwrite``, and ``sources``, the files that the result was made from, not even then. Raises
    UsageError if they are in the way or the place cannot be written; MissingDependencyError.
    """
    drawn, notes = drawings(result, pictures, max_pictures)
    result = replace(result, warnings=(*result.warnings, *notes))
    table = [] if result.table is None else [NAMES[result.table.file.suffix.lower()]]
    names = [ARRAYS, *table, _MANIFEST.name, PAGE, *(one.file for one in drawn)]
    content = document(result, names)
    directory = Path(directory)
    with staged(directory, _MANIFEST, overwrite=overwrite, sources=sources) as stage:
        arrays: dict[str, Any] = dict(_arrays(result))
        np.savez_compressed(stage / ARRAYS, **arrays)  # of numbers: numpy 2.0 would write allow_pickle as one of them
        for name in table:
            write_table(stage / name, result)
        for one in drawn:
            (stage / one.file).write_bytes(one.png)
        (stage / PAGE).write_text(page(content, drawn), "utf-8")
        (stage / _MANIFEST.name).write_text(
            json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8"
        )
    return [directory / name for name in sorted(names)]


def require_place_for_report(directory: Path, sources: Collection[Path] = (), *, overwrite: bool = False) -> None:
    """Raise UsageError if :func:`write_report` could not write to ``directory``, before there is anything to write."""
    require_free(directory, _MANIFEST, [ARRAYS, _MANIFEST.name, PAGE], sources, overwrite=overwrite)


def drawings(result: AttributionReport, pictures: bool | None, limit: int) -> tuple[list[Illustration], list[str]]:
    """The drawings of the first ``limit`` examples, and what is to be said of those that there are not.

    ``pictures``: see :func:`write_report`.
    """
    if pictures is False:
        return [], []
    try:
        drawn = illustrations(result, limit)
    except MissingDependencyError as error:
        if pictures:
            raise
        return [], [f"no pictures were drawn: {error}"]
    notes = [f"pictures were drawn of the first {limit} of {result.examples} examples"]
    return drawn, notes if drawn and result.examples > limit else []


def _arrays(result: AttributionReport) -> dict[str, Array]:
    arrays = {f"attribution_{name}": array for name, array in result.attributions.items()}
    arrays["score"] = result.score
    rest = ("baseline_score", "convergence_delta", "error_estimate", "steps_used", "target")
    return arrays | {name: array for name in rest if (array := getattr(result, name)) is not None}
