"""Which drawing fits which tensor, and the sentence that says the same to those who cannot see it."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal, TypeAlias

from onnx_ig.data.pictures import Picture
from onnx_ig.data.series import Series
from onnx_ig.errors import MissingDependencyError, UsageError
from onnx_ig.report.behind import behind, fed_as_picture, likely_picture
from onnx_ig.report.columns import Columns, columns_of
from onnx_ig.report.examples import top_features
from onnx_ig.report.record import AttributionReport

Drawing: TypeAlias = Picture | Series | Literal["features", "positions", "map", "line"]
_MOST_COLUMNS = 256  # columns without names, beyond which their order says more than bars of the largest
_LARGE = 60_000  # bytes
_LONG = 4  # times the other axis: time


@dataclass(frozen=True)
class Illustration:
    """One PNG of one tensor (None: of several) and one example (None: of all); ``alt`` says in words what it shows.

    ``example`` counts the lines of the report: each target of an example is one.
    ``small`` is the same of a picture at a glance, as WebP, with its ``caption``; empty for all other drawings.
    """

    file: str
    tensor: str | None
    example: int | None
    alt: str
    png: bytes
    small: bytes = b""
    caption: str = ""

    def embedded(self) -> tuple[str, bytes]:
        """The kind and bytes for a page: of a photograph WebP, which is a tenth of its PNG."""
        if not self.small or len(self.png) < _LARGE:
            return "png", self.png
        from PIL import Image

        stream = io.BytesIO()
        Image.open(io.BytesIO(self.png)).convert("RGB").save(stream, "WEBP", quality=85)
        return "webp", stream.getvalue()


@dataclass(frozen=True, repr=False)
class Drawings:
    """Drawings that a notebook shows, each with its words for those who cannot see it."""

    drawn: tuple[Illustration, ...]

    def __repr__(self) -> str:
        return f"Drawings({', '.join(one.file for one in self.drawn)})"

    def _repr_html_(self) -> str:
        images = (
            f'<img src="data:image/png;base64,{base64.b64encode(one.png).decode("ascii")}" alt="{escape(one.alt)}" '
            'style="max-width: 100%">'
            for one in self.drawn
        )
        return "\n".join(images)

    def save(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Write the PNGs to an existing folder, over those of their names; the files.

        Raises:
            UsageError: no such folder.
        """
        folder = Path(directory)
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder to save drawings in: make it first")
        for one in self.drawn:
            (folder / one.file).write_bytes(one.png)
        return [folder / one.file for one in self.drawn]


def illustrations(report: AttributionReport, limit: int) -> list[Illustration]:
    """The drawings of the first ``limit`` examples: overlays for pictures, bars for tables, lines and maps for series,
    strips for sequences.

    Tensors of any other rank have none. Raises MissingDependencyError without matplotlib.
    """
    _require_matplotlib()
    shown = range(min(report.examples, limit))
    return [*summaries(report), *(one for example in shown for one in of_example(report, example))]


def of_example(report: AttributionReport, example: int) -> Iterator[Illustration]:
    """The drawings of one example: of each tensor that has one, after those of several tensors together.

    Raises:
        MissingDependencyError: without matplotlib.
    """
    _require_matplotlib()
    from onnx_ig.report.charts import draw_bars
    from onnx_ig.report.overlay import thumbnail

    number = report.targets * report.first + example
    for columns in columns_of(report):
        if columns.name is None:
            alt = f"Bars of the columns' attributions for example {report.describe_example(example)}."
            file = f"columns_{_numbered(report, example)}.png"
            yield Illustration(file, None, number, alt, draw_bars(report, columns, example))
    for name, slug in _slugs(report.attributions).items():
        for kind in kinds_of_drawing(report, name):
            word, png = _drawn(report, name, example, kind)
            alt = _in_words(report, name, example, word)
            file = f"{word}_{slug}_{_numbered(report, example)}.png"
            small = thumbnail(report, name, example, kind) if isinstance(kind, Picture) else b""
            caption = f"{report.describe_example(example)}: {report.describe_target(example)}"
            yield Illustration(file, name, number, alt, png, small, caption)


def summaries(
    report: AttributionReport, tables: Sequence[Columns] | None = None, rows: int | None = None
) -> Iterator[Illustration]:
    """One drawing of all examples for each table that has several rows.

    Args:
        tables: a sample of the ``rows`` of which ``report`` is a piece; None: those of ``report``.

    Raises:
        MissingDependencyError: without matplotlib.
    """
    _require_matplotlib()
    from onnx_ig.report.summary import draw_summary, order

    slugs = _slugs(report.attributions)

    for columns in columns_of(report) if tables is None else tables:
        name = columns.name
        if name is not None and "features" not in kinds_of_drawing(report, name):
            continue
        if len(columns.attributions) > 1:
            largest = ", ".join(columns.names[column] for column in order(columns)[:3])
            alt = f"Mean |attribution| of each column, and each row's. Largest: {largest}."
            title = f"{report.algorithm}  ·  {report.model}  ·  {rows or report.examples} rows"
            file = f"summary_{slugs[name]}.png" if name is not None else "summary.png"
            yield Illustration(file, name, None, alt, draw_summary(columns, title))


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "drawing attributions needs matplotlib: pip install 'onnx-ig[viz]', or write the report without pictures"
        ) from error


def _drawn(report: AttributionReport, name: str, example: int, kind: Drawing) -> tuple[str, bytes]:
    """The word for a drawing in its file's name, and the PNG."""
    from onnx_ig.report.charts import draw_bars, draw_strip
    from onnx_ig.report.overlay import draw_overlay
    from onnx_ig.report.series import draw_line, draw_map, draw_series

    if isinstance(kind, Picture):
        return "overlay", draw_overlay(report, name, example, kind)
    if isinstance(kind, Series):
        return "series", draw_series(report, name, example, kind)
    if kind == "features":
        (columns,) = (columns for columns in columns_of(report) if columns.name == name)
        return kind, draw_bars(report, columns, example)
    return kind, {"positions": draw_strip, "map": draw_map, "line": draw_line}[kind](report, name, example)


def kinds_of_drawing(report: AttributionReport, name: str) -> list[Drawing]:
    """How a tensor is drawn: as the picture or series that it is known to be, else by its shape; empty for none.

    * [N, C, H, W] and [N, H, W, C] with 1 or 3 channels look like pictures; inside the graph [N, C, H, W] is a map of
      the picture that the model was given, if it has its proportions.
    * [N, F] is a table, drawn together with the others where it is one column of several; a series where more than 256
      columns have no names.
    * [N, A, B] inside the graph, or with names on axis 1, is a sequence of vectors: a strip of their sums, or a
      line where it would be longer than a screen.
    * [N, A, B] of a model's input is a series where one axis is at least 4 times the other, else a map: nothing is
      summed away.
    """
    shape = report.rows(report.attributions[name]).shape
    if 0 in shape:
        return []
    if name in report.pictures:
        return [report.pictures[name]]
    if name in report.series:
        return [report.series[name]]
    named = name in report.feature_names
    if len(shape) == 4:
        if name not in report.inputs and _is_map(report, shape):
            return [Picture("NCHW")]
        likely = likely_picture(shape)
        return [] if likely is None else [likely]
    if len(shape) == 2:
        if all(columns.name != name for columns in columns_of(report)):
            return []
        return [Series("NT")] if shape[1] > _MOST_COLUMNS and not named else ["features"]
    return _of_rank_3(shape[1], shape[2], named, name in report.inputs) if len(shape) == 3 else []


def _is_map(report: AttributionReport, shape: tuple[int, ...]) -> bool:
    """Whether a tensor inside the graph has the proportions of the picture that was given, as a convolution's has.

    Within a pixel of its own: strides and edges round.
    """
    known, fed = behind(report, 0), fed_as_picture(report)
    if known is not None:
        left, top, right, bottom = known.box
        across, down = right - left, bottom - top
    elif fed is not None:
        name, picture = fed
        sizes = dict(zip(picture.axes, report.rows(report.inputs[name]).shape, strict=False))
        across, down = sizes["W"], sizes["H"]
    else:
        return False
    height, width = shape[2:]
    return abs(width * down - height * across) <= max(across, down)


def _of_rank_3(first: int, last: int, named: bool, is_input: bool) -> list[Drawing]:
    over_time: Drawing = "map"
    if last >= _LONG * first:
        over_time = Series("NCT")
    elif first >= _LONG * last:
        over_time = Series("NTC")
    if is_input and not named:
        return [over_time]
    from onnx_ig.report.charts import fits_a_strip

    strip: Drawing = "positions" if fits_a_strip(first, named) else "line"
    return [strip, over_time] if is_input and over_time != "map" else [strip]


def _in_words(report: AttributionReport, name: str, example: int, kind: str) -> str:
    what = {
        "overlay": "The input, its attributions, and both together",
        "features": "Bars of the largest attributions",
        "positions": "A strip of attributions by position",
        "series": "Attributions along the series",
        "line": "Attributions by position, as a line",
        "map": "Input and attributions as maps",
    }[kind]
    features = top_features(report.alone(name), example, 3)
    largest = "; ".join(f"{feature.name or list(feature.index)}: {feature.attribution:+.3g}" for feature in features)
    of = f"{name}, example {report.describe_example(example)}, target {report.describe_target(example)}"
    return f"{what} for {of}. Largest: {largest}."


def _numbered(report: AttributionReport, example: int) -> str:
    """The example in a file's name: its number, its own name where that is one of a file, the target of several."""
    known = [str(report.number(example))]
    if report.example_names:
        known.append(_slug(Path(report.example_names[example]).stem))
    if report.targets > 1:
        known.append(_slug(f"target {report.describe_target(example)}"))
    return "_".join(known)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:60] or "tensor"


def _slugs(names: Iterable[str]) -> dict[str, str]:
    """File-name parts by tensor name, all different."""
    slugs: dict[str, str] = {}
    for name in names:
        slug = _slug(name)
        while slug in slugs.values():
            slug += "-2"
        slugs[name] = slug
    return slugs
