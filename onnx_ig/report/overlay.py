"""Pictures: input, attribution and both together, side by side on one scale."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.colors import to_rgb

from onnx_ig.common.types import Array
from onnx_ig.data.pictures import Original, Picture, opened
from onnx_ig.report.behind import behind, fed_as_picture
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
_LARGEST, _THUMBNAIL = 1024, 160
_GAP, _LABEL, _SCALE, _FOOT = 22, 24, 72, 40


def draw_overlay(report: AttributionReport, name: str, example: int, picture: Picture) -> bytes:
    """PNG of three panels: input | attribution summed over channels | overlay.

    Red raises the target's score, blue lowers it; the scale is symmetric and ends at a percentile of |attribution|,
    as the report's style says. Pixels stay sharp squares up to 64 a side, larger pictures are drawn smoothly. The
    picture is the file's own where it is known, in its resolution; a tensor inside the graph, such as a convolution's
    map, is laid over it, enlarged.
    """
    by_channel = channels_last(report.rows(report.attributions[name])[example], picture)
    attribution = report.style.shown(by_channel.sum(axis=2, dtype=np.float64))
    limit = colour_limit(attribution, report.style.clip)
    panels: list[tuple[str, Array]] = [("attribution, summed over channels", colours(attribution, limit))]
    shown = None
    if name in report.inputs:
        shown = original(picture, example, as_shown(report, (name, picture), example))
    else:
        shown = picture_behind(report, example)
    if shown is not None:
        panels.insert(0, ("input", shown))
        panels.append(("overlay", blended(shown, enlarged(attribution, shown.shape[0], shown.shape[1]), limit)))
    height, width = attribution.shape if shown is None or name in report.inputs else shown.shape[:2]
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
    sheet.text(MARGIN, top + tall + 12, report.style.legend(*attribution.shape), size=8, colour=FAINT)
    return sheet.png()


def thumbnail(report: AttributionReport, name: str, example: int, picture: Picture) -> bytes:
    """WebP of the overlay alone (of the attributions, where there is no input), 160 pixels on its longer side."""
    from PIL import Image

    by_channel = channels_last(report.rows(report.attributions[name])[example], picture)
    attribution = report.style.shown(by_channel.sum(axis=2, dtype=np.float64))
    limit = colour_limit(attribution, report.style.clip)
    fed = (name, picture) if name in report.inputs else None
    shown = picture_behind(report, example) if fed is None else as_shown(report, fed, example)
    if shown is None:
        pixels = colours(attribution, limit)[..., :3]
    else:
        pixels = blended(shown, enlarged(attribution, shown.shape[0], shown.shape[1]), limit)
    height, width = pixels.shape[:2]
    scale = _THUMBNAIL / max(height, width)
    small = Image.fromarray(np.uint8(np.rint(255 * np.clip(pixels, 0, 1))))
    method = Image.Resampling.NEAREST if max(height, width) <= _TINY else Image.Resampling.BILINEAR
    small = small.resize((max(round(width * scale), 1), max(round(height * scale), 1)), method)
    stream = io.BytesIO()
    small.save(stream, "WEBP", quality=80)
    return stream.getvalue()


def panel_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of a panel in pixels: the long side 320 to 512, a whole multiple for tiny pictures."""
    side = max(height, width)
    scale = float(-(-320 // side)) if side <= _TINY else min(max(side, 360), 512) / side
    return max(round(height * scale), 24), max(round(width * scale), 24)


def original(picture: Picture, example: int, fed: Array) -> Array:
    """(H, W, 3) in [0, 1]: the part of the file that became the input, in its own resolution up to a screen's.

    ``fed``: the input as a picture, which is shown where the file is tiny, smaller, or not there any more.
    """
    if example >= len(picture.originals) or max(fed.shape[:2]) <= _TINY:
        return fed
    part = part_of(picture.originals[example])
    return fed if part is None or part.shape[1] < fed.shape[1] else part


def picture_behind(report: AttributionReport, example: int) -> Array | None:
    """(H, W, 3) in [0, 1]: what a map of a tensor inside the graph is laid over, the file's own picture or the input's.

    None where there is none.
    """
    known, fed = behind(report, example), fed_as_picture(report)
    part = None if known is None else part_of(known)
    return as_shown(report, fed, example) if part is None and fed is not None else part


def as_shown(report: AttributionReport, fed: tuple[str, Picture], example: int) -> Array:
    """(H, W, 3) in [0, 1]: an example of an input that holds pictures."""
    name, picture = fed
    return displayable(channels_last(report.rows(report.inputs[name])[example], picture), picture)


def part_of(known: Original) -> Array | None:
    """(H, W, 3) in [0, 1]: what of a file became the input; None where it is gone, or of 16-bit grey."""
    if not known.file.is_file():
        return None
    from PIL import Image

    whole = opened(known.file, 3)
    if whole.mode == "F":
        return None
    left, top, right, bottom = known.box
    scale = min(1.0, _LARGEST / max(right - left, bottom - top))
    size = max(round((right - left) * scale), 1), max(round((bottom - top) * scale), 1)
    moved = whole.transform(size, Image.Transform.EXTENT, known.box, Image.Resampling.BILINEAR)
    return np.asarray(moved, dtype=np.float64) / 255


def enlarged(attribution: Array, height: int, width: int) -> Array:
    """The map [H, W] at another size, between its values linearly."""
    if attribution.shape == (height, width):
        return attribution
    from PIL import Image

    finite = np.nan_to_num(attribution, nan=0.0).astype(np.float32)
    return np.asarray(Image.fromarray(finite).resize((width, height), Image.Resampling.BILINEAR), dtype=np.float64)


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
    restored = (values * np.asarray(picture.std) + np.asarray(picture.mean)) / picture.scale
    restored = restored[:, :, ::-1] if picture.channels == "BGR" else restored
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
