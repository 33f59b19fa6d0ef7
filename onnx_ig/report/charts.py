"""Tables and sequences: bars for the columns that count most, a strip of cells for positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.report.columns import Columns, of_example, shown
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

BARS = 15
_BAR = 26
_CELL_HEIGHT, _CELLS_WIDTH = 58, 880
_BARE, _LABELLED, _MOST_LINES = 32, 12, 20  # cells in a line, and lines


def draw_bars(report: AttributionReport, columns: Columns, example: int) -> bytes:
    """PNG of the 15 columns with the largest |attribution|, with the input's value beside the name."""
    row, names = columns.attributions[example], of_example(report, columns, example)
    size = np.where(np.isfinite(row), np.abs(row), -1)
    largest = [place for place in np.argsort(-size, kind="stable")[:BARS] if size[place] >= 0]
    labels = []
    for place in largest:
        label, given = shortened(names[place], 32), columns.values[place]
        labels.append(label if given is None else f"{label} = {shortened(shown(given[example]), 18)}")
    label_width = 7 * max([len(label) for label in labels] or [1]) + 16
    width, height = MARGIN + label_width + 460 + MARGIN, max(len(largest), 1) * _BAR
    sheet = Sheet(max(width, 640), HEADING + height + 46)
    sheet.heading(report, columns.name or "columns", example)
    left, values = MARGIN + label_width, row[largest]
    low, high = min(float(values.min(initial=0)), 0.0), max(float(values.max(initial=0)), 0.0)
    room = 0.16 * (high - low or 1.0)  # for the numbers at the ends of the bars
    begin = low - (room if low < 0 else 0)
    scale = (sheet.width - left - MARGIN) / (high + room - begin)
    zero = left - begin * scale
    for place, (label, value) in enumerate(zip(labels, values.tolist(), strict=True)):
        end, middle = zero + value * scale, HEADING + (place + 0.5) * _BAR
        colour = POSITIVE if value > 0 else NEGATIVE
        sheet.box(min(zero, end), middle - 0.35 * _BAR, abs(end - zero), 0.7 * _BAR, colour)
        sheet.text(left - 5, middle, label, va="center", ha="right")
        number, side = f"{value:+.3g}" if value else "0", "left" if value >= 0 else "right"
        sheet.text(end + (6 if value >= 0 else -6), middle, number, size=8, va="center", ha=side)
    sheet.box(zero - 0.5, HEADING, 1, height, FAINT)
    legend = "red raises the target's score, blue lowers it"
    if len(row) > len(largest):
        rest = row.sum(dtype=np.float64) - values.sum()
        legend += f"; the other {len(row) - len(largest)} columns together: {rest:+.3g}"
    sheet.text(MARGIN, HEADING + height + 14, legend, size=8, colour=FAINT)
    return sheet.png()


def fits_a_strip(positions: int, named: bool) -> bool:
    """Whether a strip of so many positions stays within 20 lines."""
    return positions <= _MOST_LINES * (_LABELLED if named else _BARE)


def draw_strip(report: AttributionReport, name: str, example: int) -> bytes:
    """PNG of one cell per position of a sequence [T, H], coloured by the attribution summed over H.

    Padding at the end, positions of one name without an attribution, is counted instead of drawn.
    """
    sums = report.rows(report.attributions[name])[example].sum(axis=-1, dtype=np.float64)
    names = report.names_of(name, example)
    padding = 0 if names is None else _padding(sums, names)
    sums = sums[: len(sums) - padding]
    per_line = min(len(sums), _BARE if names is None else _LABELLED)
    lines = -(-len(sums) // per_line) if per_line else 0
    limit = colour_limit(sums)
    cell = _CELLS_WIDTH // max(per_line, 8)
    area = lines * (_CELL_HEIGHT + 8)
    sheet = Sheet(2 * MARGIN + _CELLS_WIDTH + 90, HEADING + max(area, 100) + 40)
    sheet.heading(report, name, example)
    for line in range(lines):
        part = sums[line * per_line : (line + 1) * per_line]
        axes = sheet.axes(MARGIN, HEADING + line * (_CELL_HEIGHT + 8), cell * len(part), _CELL_HEIGHT)
        shades = colours(part, limit)
        axes.imshow(shades[np.newaxis], interpolation="nearest", aspect="auto")
        for place, value in enumerate(part):
            dark = float(shades[place, :3] @ np.array([0.299, 0.587, 0.114])) < 0.55
            colour = "#ffffff" if dark else INK
            position = line * per_line + place
            label = str(position) if names is None else shortened(names[position], cell // 7)
            axes.text(place, -0.14, label, ha="center", va="center", fontsize=9, color=colour, parse_math=False)
            if cell >= 50:
                axes.text(place, 0.2, f"{value:+.2g}", ha="center", va="center", fontsize=7.5, color=colour)
        axes.set_xticks(np.arange(len(part) - 1) + 0.5, [])
        axes.grid(True, axis="x", color="#ffffff", linewidth=1.5)
        axes.tick_params(length=0)
        axes.set_yticks([])
        frame(axes)
    sheet.colour_bar(MARGIN + _CELLS_WIDTH + 20, HEADING, max(area - 8, 92), limit)
    legend = "each cell sums a position's attributions; red raises the target's score, blue lowers it"
    if names is not None and padding:
        legend += f"; {padding} positions {shortened(names[-1], 12)} behind them have 0"
    sheet.text(MARGIN, HEADING + max(area, 100) + 8, legend, size=8, colour=FAINT)
    return sheet.png()


def _padding(sums: Array, names: Sequence[str]) -> int:
    """How many positions at the end, at least two, have the last one's name and an attribution of zero."""
    bare = [value == 0 and name == names[-1] for value, name in zip(sums, names, strict=True)]
    count = next((index for index, is_bare in enumerate(reversed(bare)) if not is_bare), len(bare))
    return count if 2 <= count < len(bare) else 0
