"""Sound files as input arrays: which axis of the declared input is time, at which rate it is sampled.

The one idea: a sound is a matrix [T, channels] with a rate; the declared shape decides how it is laid out, and
nothing is cut, padded or resampled unless it was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.errors import InputError, MissingDependencyError, UsageError
from onnx_ig.graph.declared import InputSpec, kind_of

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
_MOST_CHANNELS = 32  # an axis of at most this size beside an unknown one holds channels, not time


@dataclass(frozen=True)
class SoundOptions:
    """``rate``: samples a second that the model takes, None for the file's own; ``mono``: channels are averaged."""

    rate: int | None = None
    mono: bool = False

    def __post_init__(self) -> None:
        if self.rate is not None and self.rate < 1:
            raise UsageError(f"a rate of {self.rate} samples a second: it must be at least 1")


@dataclass(frozen=True)
class Series:
    """What the axes of a series mean: one of NT, NCT, NTC, T, CT, TC; ``rate`` is samples a second, or None;
    ``channels`` are their names, where they have any.
    """

    axes: str
    rate: int | None = None
    channels: tuple[str, ...] = ()


def read_sound(path: Path, spec: InputSpec, options: SoundOptions) -> tuple[Array, Series, list[str]]:
    """The samples as an array for ``spec`` in [−1, 1], what its axes mean, and notes on what was changed.

    Channels are averaged where the input has room for one only. Resampling is band-limited (libsoxr, high quality).

    Raises: MissingDependencyError without soundfile (or soxr, to resample); InputError for a broken file or an input
    that takes no sound.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: reading sound needs soundfile: pip install 'onnx-ig[audio]' (or give the samples as .npy)"
        ) from error
    if kind_of(spec.dtype) != "f":
        raise InputError(f"{path}: input {spec.name!r} has type {spec.dtype.name}; sound is read as floating point")
    try:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)  # [T, channels]
    except (soundfile.SoundFileError, TypeError, ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable sound file (truncated or of another kind): {error}") from error
    if not len(samples):
        raise InputError(f"{path}: the file holds no samples")
    axes, channels = _axes_of(spec)
    notes = []
    if samples.shape[1] > 1 and (options.mono or channels == 1):
        notes += [] if options.mono else [f"{path}: its {samples.shape[1]} channels were averaged to the input's one"]
        samples = samples.mean(axis=1, keepdims=True)
    if options.rate is not None and options.rate != rate:
        samples = _resampled(path, samples, rate, options.rate)
        notes.append(f"{path}: resampled from {rate} to {options.rate} samples a second")
    elif options.rate is None:
        notes.append(f"{path}: {rate} samples a second, taken as they are; --sample-rate says what the model needs")
    values = samples[:, 0] if "C" not in axes else samples if axes.endswith("TC") else samples.T
    return (
        (values[np.newaxis] if axes.startswith("N") else values).astype(spec.dtype),
        Series(axes, options.rate or rate),
        notes,
    )


def _axes_of(spec: InputSpec) -> tuple[str, int | None]:
    """The meaning of the axes, and the number of channels that the input takes (None: any).

    Of the last two axes of an input of rank 3 the one of a known, small size holds the channels; the first of them if
    neither is known.
    """
    shape = spec.shape
    if shape is None or len(shape) == 2:
        return "NT", 1
    if len(shape) == 1:
        return "T", 1
    if len(shape) != 3:
        raise InputError(
            f"input {spec.name!r} has shape {spec.describe_shape()}, a sound needs rank 2 or 3 ([N, T], [N, channels, "
            "T] or [N, T, channels]); compute the features that the model expects and save them as .npy"
        )
    first, last = (size if isinstance(size, int) else None for size in shape[1:])
    if last is not None and last <= _MOST_CHANNELS and (first is None or first > last):
        return "NTC", last
    if first is not None and first > _MOST_CHANNELS and last is not None and last > _MOST_CHANNELS:
        raise InputError(
            f"input {spec.name!r} has shape {spec.describe_shape()}, which holds features, not samples: compute them "
            "as for the model's training and save them as .npy"
        )
    return "NCT", first


def _resampled(path: Path, samples: Array, rate: int, wanted: int) -> Array:
    try:
        import soxr
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} has {rate} samples a second, {wanted} are asked for: resampling needs soxr, "
            "pip install 'onnx-ig[audio]'"
        ) from error
    return np.asarray(soxr.resample(samples, rate, wanted))
