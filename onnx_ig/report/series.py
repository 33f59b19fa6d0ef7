"""Series: the line coloured by its attribution, or channels × time as a map, never larger than a screen.

The one idea: a drawing has so many pixels, so a longer series is cut into as many pieces; a piece shows the lowest and
highest value in it and the sum of its attributions, so that no peak is lost and the sums stay those of the whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import LinearSegmentedColormap

from onnx_ig.common.types import Array
from onnx_ig.data.series import Series
from onnx_ig.report.drawing import (
    FAINT,
    HEADING,
    INK,
    MARGIN,
    NEGATIVE,
    POSITIVE,
    Sheet,
    colour_limit,
    colours,
    frame,
    shortened,
)
from onnx_ig.report.record import AttributionReport

LONGEST = 2000  # positions that are drawn one by one
LANES = 8  # channels that are drawn as lines
_PIECES = 900  # of a longer series
_WIDTH, _LEFT, _SCALE = 860, 96, 112
_ON_WHITE = LinearSegmentedColormap.from_list("line", [NEGATIVE, "#bdbdbd", POSITIVE])
_LEGEND = "red raises the target's score, blue lowers it"


def draw_series(report: AttributionReport, name: str, example: int, series: Series) -> bytes:
    """PNG of a series [T] or [C, T] and of its attributions over time.

    Up to 8 channels are lines coloured by attribution, above a panel of the sums over channels; more are two maps.
    Beyond 2,000 positions each of 900 pieces shows the range of its values and the sum of its attributions. Where the
    attributions were summed over the channels, every line has the colours of the sum.
    """
    attribution = _channels_first(report.rows(report.attributions[name])[example], series)
    values = report.inputs.get(name)
    shown = None if values is None else _channels_first(report.rows(values)[example], series)
    if shown is not None and len(shown) > max(LANES, len(attribution)):
        shown = None
    labels = _labels(report, name, example, series, len(attribution if shown is None else shown))
    if len(attribution) > LANES:
        across = "time (seconds)" if series.rate else f"position (axis {series.axes.index('T')})"
        return _maps(report, name, example, shown, attribution, labels, across, series.rate)
    return _lanes(report, name, example, shown, attribution, labels, series)


def draw_line(report: AttributionReport, name: str, example: int) -> bytes:
    """PNG of the attributions of a sequence [T, H], summed over H, over its positions."""
    sums = report.rows(report.attributions[name])[example].sum(axis=-1, dtype=np.float64)
    return _lanes(report, name, example, None, sums[np.newaxis], [], Series("NT"))


def draw_map(report: AttributionReport, name: str, example: int) -> bytes:
    """PNG of a matrix of an example as it lies: axis 1 downwards, axis 2 to the right."""
    attribution = report.rows(report.attributions[name])[example].astype(np.float64)
    values = report.inputs.get(name)
    shown = None if values is None else report.rows(values)[example].astype(np.float64)
    labels = _labels(report, name, example, Series("NCT"), len(attribution))
    return _maps(report, name, example, shown, attribution, labels, "axis 2", None)


def pieces(length: int, most: int) -> Array:
    """Where each of at most ``most`` pieces of nearly equal length begins."""
    count = min(length, most)
    return np.arange(count) * length // max(count, 1)


def _channels_first(row: Array, series: Series) -> Array:
    """One example as [C, T] in float64."""
    axes = series.axes.removeprefix("N")
    matrix = row[np.newaxis] if axes == "T" else row if axes == "CT" else row.T
    return np.asarray(matrix, np.float64)


def _labels(report: AttributionReport, name: str, example: int, series: Series, channels: int) -> list[str]:
    names = report.names_of(name, example) if series.axes.endswith("CT") else None
    names = names or series.channels or None
    return [f"[{i}]" for i in range(channels)] if names is None else list(names)


def _lanes(
    report: AttributionReport,
    name: str,
    example: int,
    values: Array | None,
    attribution: Array,
    labels: list[str],
    series: Series,
) -> bytes:
    channels, length = attribution.shape
    starts = pieces(length, length if length <= LONGEST else _PIECES)
    sums = np.add.reduceat(attribution, starts, axis=1)
    middles = (starts + np.append(starts[1:], length) - 1) / 2 / (series.rate or 1)
    limit, lane = colour_limit(sums), 240 if channels == 1 and (values is None or len(values) == 1) else 100
    shown = 0 if values is None else len(values)
    sheet = Sheet(_LEFT + _WIDTH + _SCALE, HEADING + shown * (lane + 10) + 140 + 70)
    sheet.heading(report, name, example)
    for channel in range(shown):
        assert values is not None
        axes = sheet.axes(_LEFT, HEADING + channel * (lane + 10), _WIDTH, lane)
        _line(axes, values[channel], starts, middles, sums[min(channel, channels - 1)], limit)
        axes.set_xlim(*_reach(middles))
        axes.set_xticklabels([])
        if shown > 1:
            axes.set_ylabel(shortened(labels[channel], 12), fontsize=8, color=INK, parse_math=False)
    top = HEADING + shown * (lane + 10)
    total = sums.sum(axis=0)
    axes = sheet.axes(_LEFT, top, _WIDTH, 140)
    _bars(axes, middles, total)
    axes.axhline(0, color=FAINT, linewidth=0.6)
    axes.set_xlim(*_reach(middles))
    axes.set_ylabel("attribution", fontsize=8, color=INK)
    axes.set_xlabel("time (seconds)" if series.rate else "position", fontsize=8, color=FAINT)
    _small(axes)
    if shown:
        sheet.colour_bar(_LEFT + _WIDTH + 16, HEADING, shown * (lane + 10) - 10, limit, _ON_WHITE)
    of_values = "the range of its values and " if shown else ""
    per_piece = (
        "" if len(starts) == length else f"; each of {len(starts)} pieces has {of_values}the sum of its attributions"
    )
    over = "" if channels == 1 else "; below, the sum over all lines"
    sheet.text(MARGIN, top + 140 + 44, _LEGEND + over + per_piece, size=8, colour=FAINT)
    return sheet.png()


def _bars(axes: Any, middles: Array, total: Array) -> None:
    """A bar for each piece in one collection: drawing 900 artists of their own takes seconds."""
    half = (float(middles[1] - middles[0]) if len(middles) > 1 else 1.0) / 2
    heights = np.nan_to_num(total)
    left, right, zero = middles - half, middles + half, np.zeros_like(heights)
    corners = np.stack([left, zero, left, heights, right, heights, right, zero], 1).reshape(-1, 4, 2)
    axes.add_collection(
        PolyCollection(list(corners), facecolors=np.where(heights > 0, POSITIVE, NEGATIVE), linewidths=0)
    )
    reach = 1.08 * float(np.abs(heights).max(initial=0)) or 1.0
    axes.set_ylim(-reach if (heights < 0).any() else 0, reach if (heights > 0).any() else 0.02 * reach)


def _line(axes: Any, values: Array, starts: Array, middles: Array, sums: Array, limit: float) -> None:
    """Values over time; each piece has the colour of its attribution."""
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    shades = _ON_WHITE((np.clip(np.nan_to_num(sums) / limit, -1, 1) + 1) / 2)
    if len(starts) == len(values):  # from the middle to each neighbour to the middle to the next
        ends = np.append(np.append(middles[:1], (middles[1:] + middles[:-1]) / 2), middles[-1:])
        heights = np.interp(ends, middles, values)
        parts = np.stack(
            [
                np.stack([ends[:-1], heights[:-1]], 1),
                np.stack([middles, values], 1),
                np.stack([ends[1:], heights[1:]], 1),
            ],
            axis=1,
        )
    else:
        parts = np.stack([np.stack([middles, low], 1), np.stack([middles, high], 1)], axis=1)
    axes.add_collection(LineCollection(list(parts), colors=shades, linewidths=1.6, capstyle="round"))
    finite = values[np.isfinite(values)]
    bottom, top = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    room = 0.06 * (top - bottom) or 0.5
    axes.set_ylim(bottom - room, top + room)
    _small(axes)


def _maps(
    report: AttributionReport,
    name: str,
    example: int,
    values: Array | None,
    attribution: Array,
    labels: list[str],
    across: str,
    rate: int | None,
) -> bytes:
    rows, length = attribution.shape
    height = int(np.clip(18 * rows, 90, 440))
    down, right = pieces(rows, height), pieces(length, _WIDTH)
    sums = np.add.reduceat(np.add.reduceat(attribution, down, axis=0), right, axis=1)
    limit = colour_limit(sums)
    panels: list[tuple[str, Array]] = [("attribution", colours(sums, limit))]
    if values is not None:
        panels.insert(0, ("input", _grey(values, down, right)))
    top = HEADING + 18
    sheet = Sheet(_LEFT + _WIDTH + _SCALE, top + len(panels) * (height + 44) + 40)
    sheet.heading(report, name, example)
    for place, (label, pixels) in enumerate(panels):
        upper = top + place * (height + 44)
        sheet.text(_LEFT, upper - 6, label, size=9, va="baseline")
        axes = sheet.axes(_LEFT, upper, _WIDTH, height)
        reach = length / (rate or 1)
        axes.imshow(pixels, interpolation="nearest", aspect="auto", extent=(0, reach, rows, 0))
        if rows * 12 <= height:
            shown = [shortened(label, 12) for label in labels]
            axes.set_yticks(np.arange(rows) + 0.5, shown, parse_math=False)
        if place == len(panels) - 1:
            axes.set_xlabel(across, fontsize=8, color=FAINT)
        _small(axes)
        if label == "attribution":
            sheet.colour_bar(_LEFT + _WIDTH + 16, upper, height, limit)
    legend = _LEGEND + ("" if sums.shape == attribution.shape else "; a pixel sums the attributions of what lies in it")
    sheet.text(MARGIN, sheet.height - 24, legend, size=8, colour=FAINT)
    return sheet.png()


def _grey(values: Array, down: Array, right: Array) -> Array:
    """RGB of the means of the pieces, black at the lowest."""
    sums = np.add.reduceat(np.add.reduceat(values, down, axis=0), right, axis=1)
    sizes = np.diff(np.append(down, values.shape[0]))[:, np.newaxis] * np.diff(np.append(right, values.shape[1]))
    means = sums / sizes
    finite = means[np.isfinite(means)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    shades = np.nan_to_num(np.clip((means - low) / ((high - low) or 1.0), 0, 1), nan=0.5)
    return np.repeat(shades[..., np.newaxis], 3, axis=2)


def _reach(middles: Array) -> tuple[float, float]:
    """The ends of the time axis, wider than nothing."""
    half = float(middles[1] - middles[0]) / 2 if len(middles) > 1 else 0.5
    return float(middles[0]) - half, float(middles[-1]) + half


def _small(axes: Any) -> None:
    axes.tick_params(labelsize=8, colors=FAINT, length=3, width=0.6)
    frame(axes)
