"""PNG and JPEG pictures as input arrays: the declared shape decides layout, size and channels if it can."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.errors import InputError, MissingDependencyError, UsageError
from onnx_ig.graph.declared import InputSpec, fit, kind_of

if TYPE_CHECKING:
    from PIL import Image

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
LAYOUTS = ("NCHW", "NHWC")
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class PictureOptions:
    """How to turn a picture into an input: ``(pixel / white − mean) / std``, pixel / white in [0, 1].

    ``mean`` and ``std`` hold one number, or one per channel. ``layout`` is NCHW, NHWC, or None to infer it
    from the declared shape. ``size`` is (height, width), or None for the declared one, else the picture's
    own.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.layout not in (None, *LAYOUTS):
            raise UsageError(f"layout {self.layout!r} is none of {', '.join(LAYOUTS)}")
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise UsageError(f"size {self.size} is not a height and a width of at least 1")
        for word, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in _CHANNELS or not np.isfinite(numbers).all():
                raise UsageError(f"{word} {numbers} is neither one number nor one per channel (1 or 3)")
        if min(self.std) <= 0:
            raise UsageError(f"std {self.std} must be positive: pixels are divided by it")


@dataclass(frozen=True)
class Picture:
    """What an array's axes mean and how its pixels were normalised: enough to show it as a picture again.

    ``axes`` is one of NCHW, NHWC, CHW, HWC, NHW.
    """

    axes: str
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


def read_picture(path: Path, spec: InputSpec, options: PictureOptions) -> tuple[Array, Picture, list[str]]:
    """The picture as an array for ``spec``, what its axes mean, and notes on what was changed.

    EXIF orientation is applied and transparency is composed on white. Integer inputs get the values 0..255 as
    they are.

    Raises: MissingDependencyError without Pillow; InputError for a broken file or an input that takes no
    picture; UsageError for ``mean``/``std`` that contradict the channel count.
    """
    axes = _axes_of(spec, options.layout)
    channels, *size = _declared_sizes(spec, axes, options)
    pixels, notes = _pixels(path, channels, size)  # -> (H, W, C) in [0, 1]
    values = _arranged(_normalised(pixels, spec, options), axes)
    if max(abs(mean) for mean in options.mean) > 1:
        notes.append(f"mean {options.mean} is applied to pixels in [0, 1]; divide by 255 if it is meant for 0..255")
    return values.astype(spec.dtype), Picture(axes, options.mean, options.std), notes


def declared_picture(spec: InputSpec, options: PictureOptions) -> tuple[Picture, tuple[int, ...]]:
    """How any picture lies in input ``spec``, and the shape of its array: what a reader elsewhere needs to know.

    Raises: InputError where the input takes no picture, or neither it nor ``options`` state the sizes; UsageError for
    ``mean``/``std`` that contradict the channel count.
    """
    axes = _axes_of(spec, options.layout)
    channels, height, width = _declared_sizes(spec, axes, options)
    if channels is None or height is None or width is None:
        raise InputError(
            f"input {spec.name!r} declares {spec.describe_shape()}: its channels must be stated, and its height and "
            "width, or --size HxW given"
        )
    grey = _normalised(np.full((height, width, channels), 0.5), spec, options)
    array, _ = fit(_arranged(grey, axes).astype(spec.dtype), spec, "a picture")
    return Picture(axes, options.mean, options.std), array.shape


def _axes_of(spec: InputSpec, layout: str | None) -> str:
    """NCHW or NHWC as given, else by where the 1 or 3 channels stand; without N for an input of rank 3."""
    shape = spec.shape
    if shape is None:
        if layout is None:
            raise InputError(f"input {spec.name!r} declares no shape: give --layout NCHW or NHWC")
        return layout
    if len(shape) not in (3, 4):
        raise InputError(
            f"input {spec.name!r} has shape {spec.describe_shape()}, a picture needs rank 4 (or 3); "
            "save the values the model expects as .npy"
        )
    axes = shape[-3:]
    if layout is None:
        first, last = axes[0] in _CHANNELS, axes[2] in _CHANNELS
        if first != last:
            layout = "NCHW" if first else "NHWC"
        elif len(shape) == 3 and [isinstance(size, int) for size in axes] == [False, True, True]:
            return "NHW"
        else:
            raise InputError(
                f"input {spec.name!r} has shape {spec.describe_shape()}: which axis holds the 1 or 3 "
                "channels cannot be told; give --layout NCHW or NHWC"
            )
    return layout if len(shape) == 4 else layout.removeprefix("N")


def _declared_sizes(spec: InputSpec, axes: str, options: PictureOptions) -> tuple[int | None, int | None, int | None]:
    """(channels, height, width) as far as the options or the model state them."""
    sizes = dict(zip(axes, spec.shape or (None,) * len(axes), strict=True))
    channels, height, width = (size if isinstance(size := sizes.get(axis), int) else None for axis in "CHW")
    if "C" not in axes:
        channels = 1
    if channels not in (None, *_CHANNELS):
        raise InputError(
            f"input {spec.name!r} has {channels} channels ({spec.describe_shape()} read as {axes}), a "
            "picture has 1 or 3; check --layout, or save the values as .npy"
        )
    return channels, *(options.size or (height, width))


def _arranged(pixels: Array, axes: str) -> Array:
    """(H, W, C) with the axes in the order of ``axes``."""
    if "C" in axes:
        pixels = pixels.transpose(["HWC".index(axis) for axis in axes.removeprefix("N")])
    else:  # one grey channel, without an axis of its own
        pixels = pixels[:, :, 0]
    return pixels[np.newaxis] if axes.startswith("N") else pixels


def _pixels(path: Path, channels: int | None, size: Sequence[int | None]) -> tuple[Array, list[str]]:
    """(H, W, C) float64 in [0, 1]; a height or width of None is the picture's own."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: reading pictures needs Pillow: pip install 'onnx-ig[viz]' (or give a .npy file)"
        ) from error
    broken = (
        UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error,
        Image.DecompressionBombError, Image.DecompressionBombWarning,
    )  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG")) as opened:
                opened.load()
                picture = _flat(ImageOps.exif_transpose(opened), channels)
    except broken as error:
        raise InputError(
            f"{path}: not a readable PNG or JPEG picture (truncated or of another kind): {error}"
        ) from error
    notes = []
    height, width = size[0] or picture.height, size[1] or picture.width
    if (height, width) != (picture.height, picture.width):
        stretched = abs(height * picture.width - width * picture.height) > max(height, width)
        notes.append(
            f"{path}: resized from {picture.height}x{picture.width} to {height}x{width} (height x width)"
            + ("; the proportions changed" if stretched else "")
        )
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    white = 1.0 if picture.mode == "F" else 255.0
    pixels = np.asarray(picture, dtype=np.float64).reshape(height, width, -1) / white
    if picture.mode == "F" and channels == 3:
        pixels = np.repeat(pixels, 3, axis=2)
    return pixels, notes


def _flat(picture: Image.Image, channels: int | None) -> Image.Image:
    """Grey (L), RGB, or F in [0, 1] for 16-bit grey: palettes resolved, transparency composed on white."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16-bit grey: L would cut every value above 255 off
        wide = np.asarray(picture, dtype=np.float32) / np.float32(65535)
        return Image.fromarray(np.clip(wide, 0, 1))
    if picture.has_transparency_data:
        grey = picture.mode in ("L", "LA", "1")
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, picture).convert("L" if grey else "RGB")
    own = "L" if picture.mode in ("1", "L") else "RGB"
    return picture.convert({None: own, 1: "L", 3: "RGB"}[channels])


def _normalised(pixels: Array, spec: InputSpec, options: PictureOptions) -> Array:
    channels = pixels.shape[2]
    for word, numbers in (("mean", options.mean), ("std", options.std)):
        if len(numbers) not in (1, channels):
            raise UsageError(
                f"{word} has {len(numbers)} numbers, the picture for input {spec.name!r} has {channels} "
                "channel(s): give one number, or one per channel"
            )
    kind = kind_of(spec.dtype)
    if kind == "f":
        normalised: Array = (pixels - np.asarray(options.mean)) / np.asarray(options.std)
        return normalised
    if kind not in "iu":
        raise InputError(f"input {spec.name!r} has type {spec.dtype.name}, which takes no picture")
    if any(options.mean) or set(options.std) != {1.0}:
        raise UsageError(
            f"input {spec.name!r} has type {spec.dtype.name} and takes pixels 0..255: mean and std need a float input"
        )
    if np.iinfo(spec.dtype).max < 255:
        raise InputError(f"input {spec.name!r} has type {spec.dtype.name}, which does not hold pixels 0..255")
    return np.asarray(np.rint(pixels * 255), dtype=np.float64)
