"""Pictures: input, attribution and both together, side by side on one scale."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgb

from onnx_ig.common.types import Array
from onnx_ig.data.pictures import Picture
from onnx_ig.report.drawing import (
    FAINT,
    HEADING,
    MARGIN,
    NEGATIVE,
    POSITIVE,
    Sheet,
    colour_limit,
    colours,
    frame,
)
from onnx_ig.report.record import AttributionReport

_TINY = 64  # up to this many pixels a side every pixel is shown as a square
_GAP, _LABEL, _SCALE, _FOOT = 22, 24, 72, 40


def draw_overlay(report: AttributionReport, name: str, example: int, picture: Picture) -> bytes:
    """PNG of three panels: input | attribution summed over channels | overlay.

    Red raises the target's score, blue lowers it; the scale is symmetric and ends at the 99th percentile of
    |attribution|. Pixels stay sharp squares up to 64 a side, larger pictures are drawn smoothly. The input
    panels are left out for a tensor that is no model input.
    """
    attribution = channels_last(report.rows(report.attributions[name])[example], picture).sum(axis=2, dtype=np.float64)
    limit = colour_limit(attribution)
    panels: list[tuple[str, Array]] = [("attribution, summed over channels", colours(attribution, limit))]
    if name in report.inputs:
        shown = displayable(channels_last(report.rows(report.inputs[name])[example], picture), picture)
        panels.insert(0, ("input", shown))
        panels.append(("overlay", blended(shown, attribution, limit)))
    height, width = attribution.shape
    shown_height, shown_width = panel_size(height, width)
    tall = max(shown_height, 56)  # room for the scale beside a flat panel
    scale_left = MARGIN + len(panels) * (shown_width + _GAP)
    sheet = Sheet(max(scale_left + _SCALE + MARGIN, 560), HEADING + _LABEL + tall + _FOOT)
    top = HEADING + _LABEL
    for place, (label, pixels) in enumerate(panels):
        left = MARGIN + place * (shown_width + _GAP)
        sheet.text(left, top - 8, label, size=9, va="baseline")
        axes = sheet.axes(left, top, shown_width, shown_height)
        smooth = "nearest" if max(height, width) <= _TINY else "bilinear"
        axes.imshow(pixels, interpolation=smooth, aspect="auto", vmin=0, vmax=1)
        axes.set_xticks([])
        axes.set_yticks([])
        frame(axes)
    sheet.heading(report, name, example)
    sheet.colour_bar(scale_left, top, tall, limit)
    legend = "red raises the target's score, blue lowers it; the scale ends at the 99th percentile"
    sheet.text(MARGIN, top + tall + 12, legend, size=8, colour=FAINT)
    return sheet.png()


def panel_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of a panel in pixels: the long side 320 to 512, a whole multiple for tiny pictures."""
    side = max(height, width)
    scale = float(-(-320 // side)) if side <= _TINY else min(max(side, 360), 512) / side
    return max(round(height * scale), 24), max(round(width * scale), 24)


def channels_last(array: Array, picture: Picture) -> Array:
    """One example as (H, W, C)."""
    axes = picture.axes.removeprefix("N")
    if "C" not in axes:
        return array[:, :, np.newaxis]
    return array.transpose([axes.index(axis) for axis in "HWC"])


def displayable(pixels: Array, picture: Picture) -> Array:
    """(H, W, 3) in [0, 1]: the normalisation undone if that gives a picture, else its range stretched."""
    values = pixels.astype(np.float64)
    if values.shape[2] not in (1, 3):
        values = values.mean(axis=2, keepdims=True)
    restored = values * np.asarray(picture.std) + np.asarray(picture.mean)
    finite = restored[np.isfinite(restored)]
    if finite.size and (finite.min() < -0.01 or finite.max() > 1.01):
        low, high = finite.min(), finite.max()
        restored = (restored - low) / ((high - low) or 1.0)
    return np.repeat(np.nan_to_num(restored.clip(0, 1), nan=0.5), 3 // restored.shape[2], axis=2)


def blended(shown: Array, attribution: Array, limit: float) -> Array:
    """The picture in pale grey under the sign's colour, the more opaque the larger the attribution."""
    grey = 0.3 + 0.6 * (shown @ np.array([0.299, 0.587, 0.114]))[..., np.newaxis]  # pale: both colours stay visible
    colour = np.where(attribution[..., np.newaxis] > 0, to_rgb(POSITIVE), to_rgb(NEGATIVE))
    opacity = np.sqrt(np.clip(np.abs(np.nan_to_num(attribution, nan=0.0)) / limit, 0, 1))[..., np.newaxis] * 0.9
    return np.asarray(grey * (1 - opacity) + colour * opacity)
