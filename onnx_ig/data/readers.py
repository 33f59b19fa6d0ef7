"""The kinds of files that hold arrays, and what reads each: arrays by key, "" where the file holds one without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from onnx_ig.common.types import Array
from onnx_ig.data.arrays import npy_shape, read_npy, read_npz
from onnx_ig.data.window import Window

READERS: dict[str, Callable[[Path], dict[str, Array]]] = {
    ".npy": lambda path: {"": read_npy(path)},
    ".npz": read_npz,
}


def read_arrays(path: Path, window: Window | None = None, name: str | None = None) -> dict[str, Array]:
    """The arrays of a file, or the rows in the ``window``; those without a key are of the input ``name``.

    A .npy is read in parts, a .npz, which is compressed, once and kept.
    """
    suffix = path.suffix.lower()
    if window is None:
        return READERS[suffix](path)
    if suffix == ".npy":
        shape, _ = npy_shape(path)
        return {"": read_npy(path, window.within(shape[0], name) if shape else None)}
    arrays: dict[str, Array] = window.opened.get("arrays", path, READERS[suffix])
    return {key: a[window.within(len(a), name or key)] if a.ndim else a for key, a in arrays.items()}
