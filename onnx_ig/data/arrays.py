""".npy and .npz files, never unpickled: the header is checked against the file's size before allocation."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from onnx_ig.common.types import Array
from onnx_ig.errors import InputError

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_BROKEN = (ValueError, TypeError, EOFError, OSError, SyntaxError, RecursionError, tokenize.TokenError)
_BROKEN_ZIP = (
    *_BROKEN,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    KeyError,
    RuntimeError,
    MemoryError,
)


def read_npy(path: Path, rows: slice | None = None) -> Array:
    """The array in a .npy file, or some of its ``rows``; InputError for a truncated, foreign or pickled file."""
    try:
        with path.open("rb") as stream:
            return _read_stream(stream, path.stat().st_size, str(path), rows)
    except OSError as error:
        raise _unreadable(str(path), error) from error


def npy_shape(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and type in the header of a .npy file; errors as :func:`read_npy`."""
    try:
        with path.open("rb") as stream:
            shape, _, dtype = _header(stream, path.stat().st_size, str(path))
            return shape, dtype
    except OSError as error:
        raise _unreadable(str(path), error) from error


def read_npz(path: Path) -> dict[str, Array]:
    """The arrays of a .npz file by key; InputError for a truncated, foreign, pickled or empty file."""
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {}
            for member in archive.infolist():
                if not member.filename.endswith(".npy"):
                    raise InputError(f"{path}: {member.filename!r} is not an array; a .npz holds .npy members only")
                with archive.open(member) as stream:
                    key = member.filename.removesuffix(".npy")
                    arrays[key] = _read_stream(stream, member.file_size, f"{path}[{key!r}]")
    except InputError:
        raise
    except _BROKEN_ZIP as error:
        raise InputError(f"{path}: not a readable .npz file (truncated or of another kind): {error}") from error
    if not arrays:
        raise InputError(f"{path}: the file holds no arrays")
    return arrays


def _header(stream: IO[bytes], length: int, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and type; the data, which are there, come next in ``stream``."""
    start = stream.read(len(npy.MAGIC_PREFIX))
    if start != npy.MAGIC_PREFIX:
        if start[:1] == b"\x80":  # the PROTO opcode that every pickle since protocol 2 begins with
            raise _pickled(where)
        raise InputError(f"{where}: not a .npy file (it does not begin with the .npy signature); save with numpy.save")
    stream.seek(0)
    try:
        version = npy.read_magic(stream)
        if version not in _HEADERS:
            raise InputError(f"{where}: .npy version {version[0]}.{version[1]} holds no plain array of numbers")
        shape, by_column, dtype = _HEADERS[version](stream)
    except _BROKEN as error:
        raise _unreadable(where, error) from error
    if dtype.hasobject:
        raise _pickled(where)
    _check_size(shape, dtype, length - stream.tell(), where)
    return shape, by_column, dtype


def _read_stream(stream: IO[bytes], length: int, where: str, rows: slice | None = None) -> Array:
    shape, by_column, dtype = _header(stream, length, where)
    try:
        if rows is None or by_column or not shape:
            stream.seek(0)
            array = np.asarray(npy.read_array(stream, allow_pickle=False))
            return array if rows is None or not shape else array[rows]
        first, last, _ = rows.indices(shape[0])
        size = math.prod(shape[1:]) * dtype.itemsize
        stream.seek(first * size, 1)
        return np.frombuffer(bytearray(stream.read((last - first) * size)), dtype).reshape(last - first, *shape[1:])
    except _BROKEN as error:
        raise _unreadable(where, error) from error


def _check_size(shape: tuple[int, ...], dtype: np.dtype[Any], available: int, where: str) -> None:
    needed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or needed > available:
        raise InputError(
            f"{where}: the header announces shape {list(shape)} of {dtype} ({needed} bytes), the file holds "
            f"{available} bytes of data; it is truncated or damaged"
        )


def _pickled(where: str) -> InputError:
    return InputError(
        f"{where}: the file holds pickled Python objects, which are never loaded because unpickling runs "
        "code; save plain numbers with numpy.save(file, array, allow_pickle=False)"
    )


def _unreadable(where: str, error: BaseException) -> InputError:
    if isinstance(error, InputError):
        return error
    return InputError(f"{where}: not a readable .npy file (truncated or damaged): {error}")
