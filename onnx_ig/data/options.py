"""Option values of the command line as data: pure functions on text; only ``read_target`` opens a file."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.data.readers import READERS
from onnx_ig.data.table_file import TABLE_SUFFIXES, numbers, read_table
from onnx_ig.errors import InputError, UsageError

MADE_BASELINES = ("black", "white", "mean", "median", "blur")  # from the data: what they are, see named_baseline
Target = int | tuple[int, ...] | Path | Literal["input", "predicted"]


@dataclass(frozen=True)
class Baseline:
    """One ``--baseline``: a number, the word ``input``, one of MADE_BASELINES, or a file; for an input of text a text.

    ``name`` is None when not given.
    """

    name: str | None
    value: float | Path | str


def split_name(text: str, declared: Iterable[str]) -> tuple[str | None, str]:
    """``NAME=VALUE`` → (NAME, VALUE), ``VALUE`` → (None, VALUE).

    A name is what the model declares, so names and values may hold ``=``: the longest declared name that
    stands before a ``=`` at the start of ``text`` wins. Write ``./x=1.npy`` for a file that begins like a
    name.
    """
    for name in sorted(declared, key=len, reverse=True):
        if text.startswith(f"{name}="):
            return name, text[len(name) + 1 :]
    return None, text


def parse_baseline(text: str, declared: Iterable[str] = (), of_text: Collection[str] = ()) -> Baseline:
    """``0``, ``0.5``, ``input``, ``blur``, ``@FILE``, each also as ``NAME=...``; anything for a NAME in ``of_text``.

    Raises UsageError for anything else, InputError for NaN and infinity.
    """
    declared = tuple(declared)
    name, value = split_name(text, declared)
    if value == "input":
        return Baseline(name, "input")
    if value.startswith("@"):
        return Baseline(name, _file(value, "--baseline"))
    if name in of_text:
        return Baseline(name, value)
    if value in MADE_BASELINES:
        return Baseline(name, value)
    try:
        number = 0.0 if value == "zero" else float(value)
    except ValueError:
        names = f"; the inputs are {', '.join(map(repr, declared))}" if declared else ""
        names += "".join(f"; for text write {name}=TEXT" for name in list(of_text)[:1])
        raise UsageError(
            f"--baseline {text!r} is not a number, input, zero, {', '.join(MADE_BASELINES)}, or @FILE (each also as "
            f"NAME=...){names}"
        ) from None
    if not math.isfinite(number):
        raise InputError(f"--baseline {text!r} is not finite; a baseline needs finite numbers")
    return Baseline(name, number)


def parse_target(text: str) -> Target:
    """``3`` → 3, ``3,4`` → (3, 4), ``@FILE`` → its path, and the words ``input`` and ``predicted``.

    Whether an index is in range is judged where the output's shape is known. Raises UsageError for anything
    else.
    """
    if text in ("input", "predicted"):
        return "input" if text == "input" else "predicted"
    if text.startswith("@"):
        return _file(text, "--target")
    try:
        indices = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--target {text!r} is not an index (3), one index per axis (3,4), predicted, the name of a class in the "
            "model's metadata, input (of export), or @FILE or the name of a class in --names (of attribute)"
        ) from None
    return indices[0] if len(indices) == 1 else indices


def class_index(text: str, classes: Sequence[str]) -> int | None:
    """The index of the class called ``text``; None: there is none.

    Raises:
        InputError: ``text`` is a number too, and as an index it is another class.
    """
    if text not in classes:
        return None
    index = list(classes).index(text)
    if text.isdecimal() and int(text) != index:
        raise InputError(
            f"{text!r} is the name of the class with index {index}, and as an index another class: give the classes "
            'other names, --names FILE with {"classes": [...]}'
        )
    return index


def read_target(path: Path) -> Array:
    """Targets from a .npy, a .npz of one array or a table of one column: integers [N], or [N, axes] for rank > 2."""
    if not path.is_file():
        raise UsageError(f"--target @{path}: no such file")
    suffix = path.suffix.lower()
    if suffix not in (*READERS, *TABLE_SUFFIXES):
        kinds = " or ".join((*READERS, *TABLE_SUFFIXES))
        raise InputError(f"{path}: targets are read from {kinds}, not {suffix or 'a file without suffix'}")
    if suffix in TABLE_SUFFIXES:
        arrays = {name: numbers(column, name, path) for name, column in read_table(path).items()}
    else:
        arrays = READERS[suffix](path)
    if len(arrays) != 1:
        raise InputError(f"{path}: targets need one array, the file holds {', '.join(map(repr, arrays))}")
    (target,) = arrays.values()
    if target.dtype.kind not in "iu" or target.ndim > 2:
        raise InputError(
            f"{path}: targets are integers of shape [N] or [N, axes]; the file holds {target.dtype} "
            f"of shape {list(target.shape)}"
        )
    if target.dtype == np.uint64 and (target > np.iinfo(np.int64).max).any():
        raise InputError(f"{path}: a target exceeds the range of int64")
    return target.astype(np.int64)


def parse_numbers(text: str, option: str) -> tuple[float, ...]:
    """``0.5`` → (0.5,), ``0.485,0.456,0.406`` → one number per channel."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text!r} is not a number, or numbers separated by commas") from None


def parse_size(text: str) -> tuple[int, int]:
    """``224x160`` → (224, 160), height before width."""
    parts: Sequence[str] = text.lower().split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"--size {text!r} is not HxW, height and width in pixels, such as 224x224")
    return int(parts[0]), int(parts[1])


def _file(text: str, option: str) -> Path:
    if text == "@":
        raise UsageError(f"{option} '@' names no file: write @FILE")
    return Path(text[1:])
