"""What all drawings share: exact pixels, one pair of colours for sign, text that is never read as formulas."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from onnx_ig.common.types import Array
from onnx_ig.report.record import AttributionReport

DPI = 100
MARGIN = 24
HEADING = 62
_COMPRESSION = 3  # of drawings more would take twice the time, for files of the same size
INK, FAINT, PAPER = "#1a1a1a", "#6b6b6b", "#ffffff"
POSITIVE, NEGATIVE = "#c9242f", "#1f6fc4"  # red and blue: told apart by every common kind of colour vision
_SIGNED = LinearSegmentedColormap.from_list("signed", ["#0b3c7d", NEGATIVE, "#f7f7f7", POSITIVE, "#7d0b17"])
SIGNED = _SIGNED.with_extremes(bad="#bdbdbd")


class Sheet:
    """A white sheet of ``width`` × ``height`` pixels; places are given in pixels from the top left."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
        self._canvas = FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Any:
        """Axes that fill exactly this rectangle."""
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def text(self, left: float, top: float, text: str, *, size: float = 9, colour: str = INK, **more: Any) -> Any:
        """Plain text, its upper edge at ``top``."""
        more = {"ha": "left", "va": "top", "parse_math": False, **more}
        x, y = left / self.width, 1 - top / self.height
        return self.figure.text(x, y, text, fontsize=size, color=colour, **more)

    def box(self, left: float, top: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle: without axes, which cost more to make and to draw than all that is in them."""
        corner = left / self.width, 1 - (top + height) / self.height
        size = width / self.width, height / self.height
        self.figure.add_artist(Rectangle(corner, *size, facecolor=colour, linewidth=0), clip=False)

    def heading(self, report: AttributionReport, name: str, example: int) -> None:
        """Two lines: what was explained, and the numbers that say how well."""
        room = (self.width - 2 * MARGIN) // 9  # characters at this size
        first = f"{report.algorithm}  ·  {report.model}"
        if report.target is not None:
            first = f"target {report.describe_target(example)}  ·  {first}"
        if report.examples > 1 or report.example_names:
            first += f"  ·  example {report.describe_example(example)}"
        if len(report.attributions) > 1 or name not in report.inputs:
            first += f"  ·  {name}"
        numbers = [f"score {report.score[example]:.4g}"]
        if report.baseline_score is not None:
            numbers.append(f"baseline score {report.baseline_score[example]:.4g}")
        if report.convergence_delta is not None:
            numbers.append(f"convergence delta {report.convergence_delta[example]:.2g}")
        self.text(MARGIN, 16, shortened(first, room), size=11, weight="bold")
        self.text(MARGIN, 38, "  ·  ".join(numbers), size=9, colour=FAINT)

    def colour_bar(self, left: float, top: float, height: float, limit: float, scale: Any = SIGNED) -> None:
        """A vertical scale from −limit to +limit."""
        axes = self.axes(left, top, 14, height)
        axes.imshow(np.linspace(1, -1, 256)[:, np.newaxis], cmap=scale, aspect="auto", extent=(0, 1, -1, 1))
        axes.set_xticks([])
        axes.yaxis.tick_right()
        parts = [-1.0, -0.5, 0.0, 0.5, 1.0] if height >= 100 else [-1.0, 0.0, 1.0]
        axes.set_yticks(parts, [f"{part * limit:+.2g}" if part else "0" for part in parts])
        axes.tick_params(labelsize=8, colors=FAINT, length=3, width=0.6)
        frame(axes)

    def png(self) -> bytes:
        """The sheet as PNG, without date or version, so that equal results give equal files."""
        stream = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # drawn as a box; the page has the character
            self._canvas.draw()
        sheet = Image.fromarray(np.asarray(self._canvas.buffer_rgba())[..., :3])
        sheet.save(stream, "PNG", dpi=(DPI, DPI), compress_level=_COMPRESSION)
        return stream.getvalue()


def frame(axes: Any, colour: str = "#c4c4c4") -> None:
    """A thin frame around axes."""
    for side in axes.spines.values():
        side.set_color(colour)
        side.set_linewidth(0.8)


def colour_limit(attribution: Array, percentile: float = 99) -> float:
    """That percentile of |attribution|, its maximum if that is zero, 1 if nothing is left."""
    size = np.abs(attribution[np.isfinite(attribution)])
    if not size.size:
        return 1.0
    return float(np.percentile(size, percentile)) or float(size.max()) or 1.0


def colours(attribution: Array, limit: float) -> Array:
    """RGBA [..., 4]: red positive, blue negative, white at zero, grey where not finite."""
    masked = np.ma.masked_invalid(attribution)
    return np.asarray(SIGNED(Normalize(-limit, limit, clip=True)(masked)))


def shortened(text: str, length: int) -> str:
    """At most ``length`` characters, cut in the end with an ellipsis."""
    return text if len(text) <= length else text[: max(length - 1, 1)] + "…"
