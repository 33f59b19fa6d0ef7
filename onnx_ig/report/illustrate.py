"""Which drawing fits which tensor, and the sentence that says the same to those who cannot see it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from onnx_ig.data.pictures import Picture
from onnx_ig.errors import MissingDependencyError
from onnx_ig.report.document import top_features
from onnx_ig.report.record import AttributionReport


@dataclass(frozen=True)
class Illustration:
    """One PNG of one tensor and example; ``alt`` says in words what it shows."""

    file: str
    tensor: str
    example: int
    alt: str
    png: bytes


def illustrations(report: AttributionReport, limit: int) -> list[Illustration]:
    """The drawings of the first ``limit`` examples: overlays for pictures, bars for tables, strips for
    sequences.

    Tensors of any other rank have none. Raises MissingDependencyError without matplotlib.
    """
    try:
        from onnx_ig.report.charts import draw_bars, draw_strip
        from onnx_ig.report.overlay import draw_overlay
    except ImportError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        raise MissingDependencyError(
            "drawing attributions needs matplotlib: pip install 'onnx-ig[viz]', or write the report without pictures"
        ) from error
    drawn: list[Illustration] = []
    for name, slug in zip(report.attributions, _slugs(report.attributions), strict=True):
        kind = kind_of_drawing(report, name)
        if kind is None:
            continue
        for example in range(min(report.examples, limit)):
            if isinstance(kind, Picture):
                word, png = "overlay", draw_overlay(report, name, example, kind)
            else:
                word, png = kind, (draw_bars if kind == "features" else draw_strip)(report, name, example)
            alt = _in_words(report, name, example, word)
            drawn.append(Illustration(f"{word}_{slug}_{example}.png", name, example, alt, png))
    return drawn


def kind_of_drawing(report: AttributionReport, name: str) -> Picture | Literal["features", "positions"] | None:
    """As the picture a tensor is known or looks to be, else by its rank, or None.

    [N, C, H, W] and [N, H, W, C] with 1 or 3 channels look like pictures. A tensor without elements has no
    drawing.
    """
    shape = report.rows(report.attributions[name]).shape
    if 0 in shape:
        return None
    if name in report.pictures:
        return report.pictures[name]
    if len(shape) == 4:
        layouts = [layout for layout in ("NCHW", "NHWC") if shape[layout.index("C")] in (1, 3)]
        return Picture(layouts[0]) if layouts else None
    if len(shape) == 2:
        return "features"
    return "positions" if len(shape) == 3 else None


def _in_words(report: AttributionReport, name: str, example: int, kind: str) -> str:
    what = {
        "overlay": "The input, its attributions, and both together",
        "features": "Bars of the largest attributions",
        "positions": "A strip of attributions by position",
    }[kind]
    features = top_features(report.alone(name), example, 3)
    largest = "; ".join(f"{feature.name or list(feature.index)}: {feature.attribution:+.3g}" for feature in features)
    of = f"{name}, example {report.describe_example(example)}, target {report.describe_target(example)}"
    return f"{what} for {of}. Largest: {largest}."


def _slugs(names: Iterable[str]) -> list[str]:
    """File-name parts for tensor names, all different."""
    slugs: list[str] = []
    for name in names:
        slug = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:60] or "tensor"
        while slug in slugs:
            slug += "-2"
        slugs.append(slug)
    return slugs
