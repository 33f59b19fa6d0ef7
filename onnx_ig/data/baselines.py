"""Baselines by name: made from the data that they are the baselines of.

The one idea: a baseline is a value of the input that says nothing, and what that is depends on the data: no light, no
detail, the usual value of a column.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnx_ig.common.smoothing import smoothed
from onnx_ig.common.types import Array
from onnx_ig.data.files import InputValue
from onnx_ig.data.pictures import Picture
from onnx_ig.errors import InputError
from onnx_ig.graph.declared import kind_of

_BLUR = 0.1  # the standard deviation, of the shorter side: shapes are gone, colours stay where they were


def _black(given: InputValue, name: str, _batched: bool) -> Array:
    return _plain(given, name, 0.0)


def _white(given: InputValue, name: str, _batched: bool) -> Array:
    return _plain(given, name, 1.0)


def _mean(given: InputValue, name: str, batched: bool) -> Array:
    return _usual(given, name, batched, "mean", np.nanmean)


def _median(given: InputValue, name: str, batched: bool) -> Array:
    return _usual(given, name, batched, "median", np.nanmedian)


def _blur(given: InputValue, name: str, _batched: bool) -> Array:
    """Each picture under a Gaussian filter; beyond its edge nothing is counted."""
    picture = _picture(given, name, "blur")
    axes = [picture.axes.index(axis) for axis in "HW"]
    deviation = _BLUR * min(given.value.shape[axis] for axis in axes)
    return _of_type(smoothed(given.value, axes, deviation), given)


_MADE: dict[str, Callable[[InputValue, str, bool], Array]] = {
    "black": _black,
    "white": _white,
    "mean": _mean,
    "median": _median,
    "blur": _blur,
}


def named_baseline(word: str, given: InputValue, name: str, *, batched: bool = True) -> Array:
    """The baseline called ``word`` for the data ``given`` of input ``name``.

    ``batched``: axis 0 holds examples; else all of ``given`` is one.

    ======  ==========================================================================================
    black   the darkest picture, (0 − mean) / std in each channel
    white   the brightest one, (scale − mean) / std; 255 for inputs of whole numbers
    mean    of each picture its mean colour; of other data the mean example; missing values (NaN) do not count
    median  likewise
    blur    each picture without detail: a Gaussian filter, a tenth of the shorter side wide
    ======  ==========================================================================================

    Returns:
        An array of the type of the data, of their shape or with one row for all.

    Raises:
        InputError: ``given`` is not a picture, is text, is one example, which is its own mean, or lacks a value in
            every example.
    """
    if kind_of(given.value.dtype) not in "fiu":
        raise InputError(f"--baseline {word}: input {name!r} is of type {given.value.dtype}, which has no such value")
    return _MADE[word](given, name, batched)


def _picture(given: InputValue, name: str, word: str) -> Picture:
    if given.picture is None:
        raise InputError(
            f"--baseline {word}: the data of input {name!r} are not read from pictures, so which values mean {word} is "
            "not known; give a number or @FILE"
        )
    return given.picture


def _plain(given: InputValue, name: str, light: float) -> Array:
    """The picture whose every pixel is ``light``, in [0, 1]."""
    picture = _picture(given, name, "black" if light == 0 else "white")
    if kind_of(given.value.dtype) != "f":
        return np.full_like(given.value, round(255 * light))
    colour = (picture.scale * light - np.asarray(picture.mean)) / np.asarray(picture.std)
    if "C" in picture.axes and len(colour) > 1:
        shape = [1] * given.value.ndim
        shape[picture.axes.index("C")] = -1
        colour = colour.reshape(shape)
    return np.broadcast_to(colour, given.value.shape).astype(given.value.dtype)


def _usual(given: InputValue, name: str, batched: bool, word: str, average: Callable[..., Array]) -> Array:
    values = given.value.astype(np.float64)
    if given.picture is not None:
        axes = tuple(given.picture.axes.index(axis) for axis in "HW")
        return _of_type(np.broadcast_to(average(values, axis=axes, keepdims=True), values.shape), given)
    if not batched or not values.ndim or len(values) < 2:
        raise InputError(
            f"--baseline {word}: input {name!r} holds one example, which is its own {word}; give several examples, a "
            "number, or @FILE"
        )
    if np.isnan(values).all(axis=0).any():
        raise InputError(
            f"--baseline {word}: input {name!r} lacks a value in every example, so there is no {word} of it; give @FILE"
        )
    return _of_type(average(values, axis=0, keepdims=True), given)


def _of_type(value: Array, given: InputValue) -> Array:
    if kind_of(given.value.dtype) != "f":
        value = np.rint(value)
    return np.ascontiguousarray(value, dtype=given.value.dtype)
