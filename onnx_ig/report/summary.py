"""All rows of a table at once: how much each column counts, and in which direction by its value.

The one idea: the mean of |attribution| orders the columns; a point for each row shows whether high or low values push
the score up, which a mean cannot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from onnx_ig.common.types import Array
from onnx_ig.report.columns import Columns
from onnx_ig.report.drawing import FAINT, INK, MARGIN, Sheet, frame, shortened

COLUMNS_SHOWN, POINTS = 15, 400
_ROW, _TOP, _BARS, _SWARM = 34, 84, 260, 460
_GREY = "#9a9a9a"
_COLOURS = ["#2a9d5c", "#d9c25a", "#7b2d8b"]  # not those of signs
_BY_VALUE = LinearSegmentedColormap.from_list("value", _COLOURS).with_extremes(bad=_GREY)
_BINS = 50


def order(columns: Columns) -> Array:
    """The columns by falling mean |attribution|, at most 15."""
    return np.argsort(-columns.mean_sizes(), kind="stable")[:COLUMNS_SHOWN]


def draw_summary(columns: Columns, title: str) -> bytes:
    """PNG: bars of mean |attribution| over all rows, and beside each the attributions of up to 400 rows as points.

    A point's place is its attribution; its colour the rank of the column's value in that row, grey where it has none.
    """
    chosen = order(columns)
    rows = len(columns.attributions)
    picked = np.linspace(0, rows - 1, min(rows, POINTS)).round().astype(int)
    labels = [shortened(columns.names[i], 28) for i in chosen]
    left = MARGIN + 7 * max(len(label) for label in labels) + 12
    height = _ROW * len(chosen)
    sheet = Sheet(left + _BARS + 40 + _SWARM + 90, _TOP + height + 60)
    sheet.text(MARGIN, 16, shortened(title, sheet.width // 9), size=11, weight="bold")
    sheet.text(left, 52, "mean |attribution|", size=9, colour=FAINT)
    sheet.text(left + _BARS + 40, 52, f"attribution in each of {len(picked)} rows", size=9, colour=FAINT)
    places = np.arange(len(chosen))
    size = columns.mean_sizes()[chosen]
    bars = sheet.axes(left, _TOP, _BARS, height)
    bars.barh(places, size, height=0.6, color="#6b7a8f")
    bars.set_yticks(places, labels, fontsize=9, color=INK, parse_math=False)
    bars.set_xlim(0, 1.25 * float(size.max()) or 1.0)
    for place, value in zip(places, size, strict=True):
        bars.annotate(f"{value:.3g}", (value, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    swarm = sheet.axes(left + _BARS + 40, _TOP, _SWARM, height)
    _points(swarm, columns, chosen, picked)
    for axes in (bars, swarm):
        axes.set_ylim(len(chosen) - 0.5, -0.5)
        axes.tick_params(labelsize=8, colors=FAINT, length=0)
        frame(axes)
    bars.set_yticks(places, labels, fontsize=9, color=INK, parse_math=False)
    swarm.set_yticks([])
    _scale(sheet, left + _BARS + 40 + _SWARM + 20, height)
    rest = columns.attributions.shape[1] - len(chosen)
    legend = "right of the line raises the target's score, left lowers it"
    legend += f"; {rest} columns that count less are not shown" if rest else ""
    sheet.text(MARGIN, _TOP + height + 30, legend, size=8, colour=FAINT)
    return sheet.png()


def ranks(values: Array | None) -> Array | None:
    """Each value's rank in [0, 1], equal values alike, NaN for NaN; None where they are not numbers that differ."""
    if values is None or values.dtype.kind not in "iufb":
        return None
    as_floats = values.astype(float)
    there = ~np.isnan(as_floats)
    different, inverse = np.unique(as_floats[there], return_inverse=True)
    if len(different) < 2:
        return None
    found = np.full(len(values), np.nan)
    found[there] = inverse / (len(different) - 1)
    return found


def spread(values: Array) -> Array:
    """Heights in [−0.4, 0.4] that keep points of nearly equal value apart, the fuller a bin the wider."""
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    bins = ((values - low) / ((high - low) or 1.0) * _BINS).astype(int)
    turn = np.empty(len(values))
    counts = np.zeros(_BINS + 1, int)
    for place, chosen in enumerate(bins):
        turn[place] = counts[chosen]
        counts[chosen] += 1
    sides = np.where(turn % 2, (turn + 1) / 2, -turn / 2)
    return np.asarray(0.8 * sides / max(float(counts.max(initial=1)), 8.0))


def _points(axes: Any, columns: Columns, chosen: Array, picked: Array) -> None:
    axes.axvline(0, color=FAINT, linewidth=0.8)
    for place, column in enumerate(chosen):
        along = np.nan_to_num(columns.attributions[picked, column], nan=0.0, posinf=0.0, neginf=0.0)
        by = ranks(columns.values[column])
        colour = _GREY if by is None else _BY_VALUE(by[picked])
        axes.scatter(along, place + spread(along), c=colour, s=9, linewidths=0, alpha=0.9)


def _scale(sheet: Sheet, left: float, height: float) -> None:
    axes = sheet.axes(left, _TOP, 12, height)
    axes.imshow(np.linspace(1, 0, 128)[:, np.newaxis], cmap=_BY_VALUE, aspect="auto", extent=(0, 1, 0, 1))
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.set_yticks([0, 1], ["low", "high"])
    axes.tick_params(labelsize=8, colors=FAINT, length=0)
    frame(axes)
