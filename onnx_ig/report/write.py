"""Writing a report piece by piece: data files as they are finished, then drawings, report.json and report.html.

The one idea: a report of one piece is written as one of many is; all of it appears together or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from onnx_ig.common.atomic import Manifest, require_free, staged
from onnx_ig.common.destination import writing
from onnx_ig.data.table import Rows
from onnx_ig.errors import MissingDependencyError
from onnx_ig.report.document import FORMAT, as_text, document
from onnx_ig.report.illustrate import Illustration, of_example, summaries
from onnx_ig.report.page import page
from onnx_ig.report.record import AttributionReport
from onnx_ig.report.running import Running
from onnx_ig.report.shards import DATA, Shards

PAGE, HEAD = "report.html", 8  # examples that are kept as they are
MANIFEST = Manifest(
    "report.json",
    FORMAT,
    re.compile(
        rf"{DATA.pattern}|report\.(json|html)|summary\.png"
        r"|(summary|columns|overlay|features|positions|series|map|line)_[A-Za-z0-9_-]+\.png"
    ),
)


class ReportWriter:
    """A report of pieces that are added in order to ``folder``, and drawn as far as ``max_pictures`` examples.

    ``pictures``: as :func:`write_report` takes it.
    """

    def __init__(self, folder: Path, shards: Shards, *, pictures: bool | None = None, max_pictures: int = 16) -> None:
        self._folder, self.shards = folder, shards
        self._pictures, self._limit = pictures, max_pictures
        self._running = Running()
        self._drawn: list[Illustration] = []
        self._notes: list[str] = []
        self._head: AttributionReport | None = None

    def add(self, piece: AttributionReport) -> None:
        """What is said and drawn of the next examples, whose data files are written."""
        self._running.add(piece)
        if self._head is None:
            self._head = piece.head(HEAD * piece.targets)
        if piece.first >= self._limit or self._notes:
            return
        shown = range(min(piece.examples, (self._limit - piece.first) * piece.targets))
        drawn, self._notes = drawn_if_possible(
            self._pictures, lambda: [one for example in shown for one in of_example(piece, example)]
        )
        self._drawn += drawn

    def skip(self, rows: Rows | None, *, is_new: bool) -> None:
        """The next piece of the data holds no example: all its ``rows`` are left out."""
        if rows is not None:
            self._running.add_rows(rows)
        if is_new:
            self.shards.skip(self._running.examples)

    @property
    def head(self) -> AttributionReport:
        """The first examples."""
        assert self._head is not None
        return self._head

    @property
    def running(self) -> Running:
        """What is said of all examples so far."""
        return self._running

    def finish(self, warnings: Sequence[str], seconds: Mapping[str, float], missed: str | None = None) -> list[str]:
        """Write what stands beside the data; the names of all files.

        ``missed``: a sentence where it is less exact than was asked for.
        """
        examples = self._running.examples
        piece = replace(self.head, warnings=(*warnings, *self._notes), seconds=seconds)
        if self._drawn:
            if examples > self._limit:
                note = f"pictures were drawn of the first {self._limit} of {examples} examples"
                piece = replace(piece, warnings=(*piece.warnings, note))
            self._drawn = [*summaries(piece, self._running.tables(), examples), *self._drawn]
        names = [*self.shards.names(), MANIFEST.name, PAGE, *(one.file for one in self._drawn)]
        content = document(piece, self._running, names, self.shards.listed(), self.shards.record, missed)
        with writing(self._folder.parent):
            for one in self._drawn:
                (self._folder / one.file).write_bytes(one.png)
            (self._folder / PAGE).write_text(page(content, self._drawn), "utf-8")
            (self._folder / MANIFEST.name).write_text(as_text(content), "utf-8")
        return sorted(names)


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

    * ``attributions.npz``: ``attribution_<tensor>`` as computed, ``score``, and where they exist ``baseline_score``,
      ``convergence_delta``, ``error_estimate``, ``steps_used``, ``target``; where each example has several targets,
      they are on axis 1 of all.
    * ``attributions.csv`` or ``.parquet`` where the examples are rows of such a table: ``row``, ``target``, scores, and
      the attributions in columns of the table's own names.
    * Of a job in several pieces ``attributions-00000.npz`` and so on, each of some examples.
    * ``report.json``: see ``onnx_ig.report.document.document``.
    * ``report.html``: the same to read, with the drawings in it.
    * Drawings, such as ``overlay_*.png`` of pictures, ``features_*.png`` of tables and ``series_*.png``, for the first
      ``max_pictures`` examples.

    ``pictures``: True requires matplotlib, False draws none, None draws if matplotlib is installed and says
    in the report's warnings when it is not. An earlier report in ``directory`` is replaced; other files are
    never, unless ``overwrite``, and ``sources``, the files that the result was made from, not even then. Raises
    UsageError if they are in the way or the place cannot be written; MissingDependencyError.
    """
    directory = Path(directory)
    with staged(directory, MANIFEST, overwrite=overwrite, sources=sources) as stage:
        writer = ReportWriter(stage, Shards(stage, {}, 1), pictures=pictures, max_pictures=max_pictures)
        writer.shards.add(result, {})
        writer.add(result)
        names = writer.finish(result.warnings, result.seconds)
    return [directory / name for name in names]


def require_place_for_report(
    directory: Path, sources: Collection[Path] = (), *, overwrite: bool = False, form: str = "npz"
) -> None:
    """Raise UsageError if a report could not be written to ``directory``, before there is anything to write.

    ``form``: of its files of arrays.
    """
    names = [f"attributions.{form}", MANIFEST.name, PAGE]
    require_free(directory, MANIFEST, names, sources, overwrite=overwrite)


def drawn_if_possible(
    pictures: bool | None, draw: Callable[[], list[Illustration]]
) -> tuple[list[Illustration], list[str]]:
    """What ``draw`` draws, and what is to be said where it cannot; ``pictures``: see :func:`write_report`."""
    if pictures is False:
        return [], []
    try:
        return draw(), []
    except MissingDependencyError as error:
        if pictures:
            raise
        return [], [f"no pictures were drawn: {error}"]
