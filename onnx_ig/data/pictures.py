"""Pictures as input arrays: the declared shape decides layout, size and channels if it can, options the rest."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.errors import InputError, MissingDependencyError, UsageError
from onnx_ig.graph.declared import InputSpec, fit, kind_of

if TYPE_CHECKING:
    from PIL import Image

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
LAYOUTS = ("NCHW", "NHWC")
FITS = ("stretch", "crop", "pad")
ORDERS = ("RGB", "BGR")
Resampling: TypeAlias = Literal["nearest", "bilinear", "bicubic", "lanczos"]
_CHANNELS = (1, 3)
_ANY = 8  # a height or width where any will do


@dataclass(frozen=True)
class PictureOptions:
    """How to turn a picture into an input: ``(scale · pixel / white − mean) / std``, pixel / white in [0, 1].

    Attributes:
        mean, std: one number, or one per channel in the order of ``channels``.
        layout: NCHW, NHWC, or None to infer it from the declared shape.
        size: (height, width), or None for the declared one, else the picture's own.
        fit: how a picture of other proportions gets to its size: ``stretch``; ``crop``, of which the middle is taken;
            ``pad``, around which black is laid.
        shorter: the shorter side is brought to this many pixels first, then the middle of ``size`` is taken.
        channels: RGB, or BGR for models of OpenCV's and Caffe's order.
        scale: what white is before mean and std: 1, or 255.
        resampling: how pixels between pixels are made.

    Raises:
        UsageError: a value that none of these may have, or ``shorter`` with a ``fit`` that takes no middle.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str | None = None
    size: tuple[int, int] | None = None
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    shorter: int | None = None
    channels: Literal["RGB", "BGR"] = "RGB"
    scale: float = 1.0
    resampling: Resampling = "bilinear"

    def __post_init__(self) -> None:
        allowed = {"layout": (None, *LAYOUTS), "fit": FITS, "channels": ORDERS, "resampling": get_args(Resampling)}
        for word, known in allowed.items():
            if (value := getattr(self, word)) not in known:
                raise UsageError(f"{word} {value!r} is none of {', '.join(name for name in known if name)}")
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise UsageError(f"size {self.size} is not a height and a width of at least 1")
        for word, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in _CHANNELS or not np.isfinite(numbers).all():
                raise UsageError(f"{word} {numbers} is neither one number nor one per channel (1 or 3)")
        if min(self.std) <= 0:
            raise UsageError(f"std {self.std} must be positive: pixels are divided by it")
        if not (self.scale > 0 and np.isfinite(self.scale)):
            raise UsageError(f"scale {self.scale} must be positive: it is what a white pixel becomes")
        if self.shorter is not None and (self.shorter < 1 or self.fit == "pad"):
            raise UsageError(
                f"resize-shorter {self.shorter} takes the middle of what it makes, at least 1 pixel wide: leave fit "
                f"{self.fit} out"
            )

    @property
    def meaning(self) -> str:
        """The formula of a pixel, for reports."""
        return f"({self.scale:g} · pixel − {list(self.mean)}) / {list(self.std)}, {self.channels}, {self.fit}"


@dataclass(frozen=True)
class Original:
    """The file that an example was read from, and the part of it that became the input.

    ``box``: left, top, right and bottom in its pixels, as it is seen; beyond its edges where black was laid around it.
    """

    file: Path
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Picture:
    """What an array's axes mean and how its pixels were normalised: enough to show it as a picture again.

    ``axes`` is one of NCHW, NHWC, CHW, HWC, NHW; ``originals`` are the examples' files where they were read from some.
    """

    axes: str
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1.0
    channels: Literal["RGB", "BGR"] = "RGB"
    originals: tuple[Original, ...] = ()

    def of_examples(self, places: Iterable[int]) -> Picture:
        """What is known of some of the examples."""
        return replace(self, originals=tuple(self.originals[place] for place in places) if self.originals else ())


def read_picture(path: Path, spec: InputSpec, options: PictureOptions) -> tuple[Array, Picture, list[str]]:
    """The picture as an array for ``spec``, what its axes mean, and notes on what was changed.

    EXIF orientation is applied and transparency is composed on white. Integer inputs get the values 0..255 as
    they are.

    Raises: MissingDependencyError without Pillow; InputError for a broken file or an input that takes no
    picture; UsageError for ``mean``/``std`` that contradict the channel count.
    """
    axes = _axes_of(spec, options.layout)
    channels, *size = _declared_sizes(spec, axes, options)
    pixels, box, notes = _pixels(path, channels, size, options)  # -> (H, W, C) in [0, 1]
    values = _arranged(_normalised(pixels, spec, options), axes)
    if max(abs(mean) for mean in options.mean) > options.scale:
        notes.append(
            f"mean {options.mean} is applied to pixels in [0, {options.scale:g}]; give scale 255 (or divide it by 255) "
            "if it is meant for 0..255"
        )
    return values.astype(spec.dtype), _meant(axes, options, (Original(path, box),)), notes


def _meant(axes: str, options: PictureOptions, originals: tuple[Original, ...] = ()) -> Picture:
    return Picture(axes, options.mean, options.std, options.scale, options.channels, originals)


def declared_picture(spec: InputSpec, options: PictureOptions) -> tuple[Picture, tuple[int | None, ...]]:
    """How any picture lies in input ``spec``, and the shape of its array: what a reader elsewhere needs to know.

    A height or width of None is the picture's own, where neither the input nor ``options`` states it.

    Raises: InputError where the input takes no picture, or does not state its channels; UsageError for ``mean``/``std``
    that contradict the channel count.
    """
    axes = _axes_of(spec, options.layout)
    channels, height, width = _declared_sizes(spec, axes, options)
    if channels is None:
        raise InputError(f"input {spec.name!r} declares {spec.describe_shape()}: its channels must be stated")
    grey = _normalised(np.full((height or _ANY, width or _ANY, channels), 0.5), spec, options)
    array, _ = fit(_arranged(grey, axes).astype(spec.dtype), spec, "a picture")
    own = {axis for axis, size in (("H", height), ("W", width)) if size is None}
    shape = tuple(None if axis in own else size for axis, size in zip(axes, array.shape, strict=True))
    return _meant(axes, options), shape


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


def _pixels(
    path: Path, channels: int | None, size: Sequence[int | None], options: PictureOptions
) -> tuple[Array, tuple[float, float, float, float], list[str]]:
    """(H, W, C) float64 in [0, 1], the part of the picture that it is, and notes.

    ``size``: a height or width of None is the picture's own.
    """
    picture = opened(path, channels)
    shown, box = _fitted(picture, size, options)
    notes = []
    if shown.size != picture.size:
        height, width = shown.height, shown.width
        stretched = abs(height * picture.width - width * picture.height) > max(height, width)
        how = {"crop": "; the middle was taken", "pad": "; black was laid around it"}.get(options.fit)
        how = "; the middle was taken" if options.shorter is not None else how or "; the proportions changed"
        notes.append(
            f"{path}: resized from {picture.height}x{picture.width} to {height}x{width} (height x width)"
            + (how if stretched or options.shorter is not None else "")
        )
    white = 1.0 if shown.mode == "F" else 255.0
    pixels = np.asarray(shown, dtype=np.float64).reshape(shown.height, shown.width, -1) / white
    if shown.mode == "F" and channels == 3:
        pixels = np.repeat(pixels, 3, axis=2)
    return pixels, box, notes


def opened(path: Path, channels: int | None) -> Image.Image:
    """The picture as it is seen: grey (L), RGB, or F in [0, 1] for 16-bit grey.

    Raises:
        MissingDependencyError: without Pillow; InputError: a broken file.
    """
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
            with Image.open(path, formats=_FORMATS) as file:
                file.load()
                return _flat(ImageOps.exif_transpose(file), channels)
    except broken as error:
        kinds = f"{', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}"
        raise InputError(f"{path}: not a readable {kinds} picture (truncated or of another kind): {error}") from error


def _fitted(
    picture: Image.Image, size: Sequence[int | None], options: PictureOptions
) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """The picture in its size, and which part of it that is."""
    from PIL import Image

    method = Image.Resampling[options.resampling.upper()]
    wide, high = picture.size
    height, width = size[0] or high, size[1] or wide
    if options.shorter is not None:
        scale = options.shorter / min(wide, high)
        picture = picture.resize((round(wide * scale), round(high * scale)), method)
        height, width = size[0] or picture.height, size[1] or picture.width
        if height > picture.height or width > picture.width:
            raise UsageError(
                f"--resize-shorter {options.shorter} (shorter=) makes the picture {picture.height}x{picture.width} "
                f"(height x width), and its middle of {height}x{width} is taken: give {max(height, width)} or more"
            )
        return _middle(picture, height, width), _centred(wide, high, width / scale, height / scale)
    if (height, width) == (high, wide):
        return picture, (0, 0, wide, high)
    if options.fit == "stretch":
        return picture.resize((width, height), method), (0, 0, wide, high)
    scale = (max if options.fit == "crop" else min)(width / wide, height / high)
    resized = picture.resize((max(round(wide * scale), 1), max(round(high * scale), 1)), method)
    return _middle(resized, height, width), _centred(wide, high, width / scale, height / scale)


def _middle(picture: Image.Image, height: int, width: int) -> Image.Image:
    """The middle of the picture; black beyond its edges."""
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _centred(wide: float, high: float, width: float, height: float) -> tuple[float, float, float, float]:
    """A box of that size around the middle of a picture."""
    return (wide - width) / 2, (high - height) / 2, (wide + width) / 2, (high + height) / 2


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
        ordered = pixels[:, :, ::-1] if options.channels == "BGR" else pixels
        normalised: Array = (options.scale * ordered - np.asarray(options.mean)) / np.asarray(options.std)
        return normalised
    if kind not in "iu":
        raise InputError(f"input {spec.name!r} has type {spec.dtype.name}, which takes no picture")
    if any(options.mean) or set(options.std) != {1.0} or options.scale not in (1.0, 255.0):
        raise UsageError(
            f"input {spec.name!r} has type {spec.dtype.name} and takes pixels 0..255: mean, std and scale need a float "
            "input"
        )
    if np.iinfo(spec.dtype).max < 255:
        raise InputError(f"input {spec.name!r} has type {spec.dtype.name}, which does not hold pixels 0..255")
    whole = np.asarray(np.rint(pixels * 255), dtype=np.float64)
    return whole[:, :, ::-1] if options.channels == "BGR" else whole
