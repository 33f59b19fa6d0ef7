"""A declared model input, and the one place that decides whether an array fits: type, shape, finiteness."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_ig.common.types import Array
from onnx_ig.errors import InputError

_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2}  # a value may move up this ladder, never down
_KIND_NAMES = {"b": "boolean", "u": "integer", "i": "integer", "f": "floating-point"}


@dataclass(frozen=True)
class InputSpec:
    """One input as the model declares it.

    ``shape`` holds a size, a symbol, or None per axis; it is None as a whole when the model states no rank. ``dtype``
    is numpy's object type for text.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...] | None

    def describe_shape(self) -> str:
        """The shape as declared: ``[N, 3, 224, 224]``, with ``?`` for an axis without size or symbol."""
        if self.shape is None:
            return "of any shape"
        return "[" + ", ".join("?" if size is None else str(size) for size in self.shape) + "]"


def spec_of(value: ir.Value) -> InputSpec:
    """A model's input as it is declared.

    Raises:
        InputError: the model does not state its type, or the type is not a tensor's.
    """
    if value.dtype is None:
        raise InputError(f"the model does not declare the element type of input {value.name!r}")
    shape = None if value.shape is None else tuple(d if isinstance(d, int) else d.value for d in value.shape)
    return InputSpec(str(value.name), np.dtype(value.dtype.numpy()), shape)


def type_name(dtype: np.dtype[Any]) -> str:
    """``float32``, or ``string`` for text."""
    return "string" if dtype.kind in "OU" else dtype.name


def fit(array: Array, spec: InputSpec, where: str, *, allow_nonfinite: bool = False) -> tuple[Array, list[str]]:
    """The array as ``spec`` wants it, and notes on what was changed; ``where`` names the source in messages.

    Raises InputError for values that the input's type cannot hold, for another shape, and for NaN or
    infinity.
    """
    cast = cast_to_declared(array, spec, where)
    shaped, notes = _fit_shape(cast, spec, where)
    if not allow_nonfinite:
        require_finite(shaped, spec.name, where)
    return np.asarray(shaped, order="C"), notes


def kind_of(dtype: np.dtype[Any]) -> str:
    """numpy's kind letter, with the floats that numpy does not know (bfloat16, float8) counted as ``f``."""
    return "f" if dtype.kind == "V" and dtype.name.startswith(("bfloat", "float")) else dtype.kind


def of_text(specs: Iterable[InputSpec]) -> list[str]:
    """The names of the inputs that hold text."""
    return [spec.name for spec in specs if spec.dtype.kind == "O"]


def cast_to_declared(array: Array, spec: InputSpec, where: str) -> Array:
    """Cast to the declared type: boolean → integer → floating point only, and only if no value changes; text to text.

    Rounding between floating-point widths is the exception; a value that would overflow to infinity is
    refused. Objects (a column of a table) are what they hold.
    """
    if kind_of(spec.dtype) in "OU":
        return _as_text(array, spec, where)
    if array.dtype.kind == "O":
        array = np.asarray(array.tolist())
    if array.dtype == spec.dtype:
        return array
    source, wanted = kind_of(array.dtype), kind_of(spec.dtype)
    if wanted not in _KINDS:
        raise InputError(f"input {spec.name!r} has type {spec.dtype.name}, for which there are no arrays")
    if source not in _KINDS:
        raise InputError(
            f"{where}: the array has type {array.dtype}, input {spec.name!r} needs {spec.dtype.name}; give numbers"
        )
    if _KINDS[source] > _KINDS[wanted]:
        raise InputError(
            f"{where}: the array is {_KIND_NAMES[source]} ({array.dtype.name}), input {spec.name!r} is "
            f"{_KIND_NAMES[wanted]} ({spec.dtype.name}); convert it with .astype(numpy.{spec.dtype.name}) if "
            "that is meant"
        )
    with np.errstate(over="ignore"):  # judged below, with a message of our own
        cast = array.astype(spec.dtype)
    if source == "f":
        lost = np.isinf(cast) & np.isfinite(array)
    else:
        with np.errstate(invalid="ignore"):
            lost = cast.astype(array.dtype) != array
        if kind_of(spec.dtype) in "iu":
            lost |= (array < 0) != (cast < 0)  # a wrapped sign survives the round trip at equal width
    if lost.any():
        raise InputError(
            f"{where}: the value {array[lost].flat[0]} ({array.dtype.name}) does not fit input {spec.name!r} "
            f"of type {spec.dtype.name}"
        )
    return cast


def _as_text(array: Array, spec: InputSpec, where: str) -> Array:
    """An array of Python strings, which is how ONNX Runtime takes text."""
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    values = array.astype(object)
    for index, value in np.ndenumerate(values):
        if not isinstance(value, str):
            raise InputError(
                f"{where}: input {spec.name!r} takes text, the array ({array.dtype}) holds {value!r} at index "
                f"{list(index)}; convert it with .astype(str) if that is meant"
            )
    return values


def require_finite(array: Array, name: str, where: str) -> None:
    """Raise InputError naming the first NaN or infinity."""
    if kind_of(array.dtype) != "f":
        return
    bad = ~np.isfinite(array)
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{where}: input {name!r} holds {int(bad.sum())} value(s) that are NaN or infinite, the first "
            f"({array[index]}) at index {list(index)}; clean the data, or allow non-finite values explicitly"
        )


def _fit_shape(array: Array, spec: InputSpec, where: str) -> tuple[Array, list[str]]:
    if spec.shape is None or _matches(array.shape, spec.shape):
        return array, []
    batched = (1, *array.shape)
    if array.ndim == len(spec.shape) - 1 and _matches(batched, spec.shape):
        note = (
            f"{where}: one example of shape {list(array.shape)} read as a batch of one, {list(batched)}, "
            f"for input {spec.name!r}"
        )
        return array[np.newaxis], [note]
    raise InputError(
        f"{where}: the array has shape {list(array.shape)}, input {spec.name!r} needs {spec.describe_shape()}"
    )


def _matches(sizes: Iterable[int], declared: tuple[int | str | None, ...]) -> bool:
    sizes = tuple(sizes)
    if len(sizes) != len(declared):
        return False
    symbols: dict[str, int] = {}
    for size, want in zip(sizes, declared, strict=True):
        if isinstance(want, str):
            want = symbols.setdefault(want, size)  # one symbol is one size within a shape
        if want is not None and want != size:
            return False
    return True
