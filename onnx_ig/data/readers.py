"""The kinds of files that hold arrays, and what reads each: arrays by key, "" where the file holds one without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from onnx_ig.common.types import Array
from onnx_ig.data.arrays import read_npy, read_npz

READERS: dict[str, Callable[[Path], dict[str, Array]]] = {
    ".npy": lambda path: {"": read_npy(path)},
    ".npz": read_npz,
}
