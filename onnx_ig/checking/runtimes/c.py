"""C for microcontrollers: emx-onnx-cgen writes the model as one C file, which this machine's compiler makes a library.

The one idea: the converter is a program with an environment of its own; what is run is the C alone.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from onnx_ig.checking.runtimes.base import Opened, Runtime, called, refused
from onnx_ig.checking.runtimes.signature import signature
from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError, ModelError

_TITLE = "emx-onnx-cgen"
_NAME = "onnx_ig_model"
_WEIGHTS = ("--large-weight-threshold", "0")  # in the C file, not beside it


class _Library:
    def __init__(self, path: Path) -> None:
        self._signature = signature(path)
        with tempfile.TemporaryDirectory(prefix="onnx_ig_") as folder:
            source, library = Path(folder) / "model.c", Path(folder) / "model.so"
            write_c(path, source)
            _call("compile the C", _compiler(), "-O2", "-shared", "-fPIC", str(source), "-o", str(library), "-lm")
            self._function = ctypes.CDLL(str(library))[_NAME]  # stays loaded though the file goes

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        found = {}
        for name, (dtype, dims) in self._signature.outputs.items():
            sizes = [d for d in dims if isinstance(d, int)]
            if len(sizes) < len(dims):
                raise ModelError(f"{_TITLE}: the size of output {name!r} is open; export with --portable")
            found[name] = np.zeros(sizes, dtype)
        for name, (dtype, dims) in self._signature.inputs.items():
            if list(feeds[name].shape) != list(dims) or feeds[name].dtype != dtype:
                raise ModelError(
                    f"{_TITLE}: input {name!r} is {dtype}{list(dims)}, not {feeds[name].dtype}{list(feeds[name].shape)}"
                )
        given = [np.ascontiguousarray(feeds[name]) for name in self._signature.inputs]
        self._function(*(ctypes.c_void_p(array.ctypes.data) for array in (*given, *found.values())))
        return found


def write_c(path: Path, source: Path, *options: str) -> None:
    """The model as one C file, ``source``.

    Raises:
        MissingDependencyError: the converter is not installed; ModelError: it refuses the model.
    """
    words = ("compile", str(path), str(source), "--model-name", _NAME, *_WEIGHTS, *options)
    _call("write the model in C", _program(), *words)


def _call(doing: str, *words: str) -> str:
    done = called(*words)
    if done.returncode:
        raise refused(_TITLE, doing, re.sub(r"\x1b\[[0-9;]*m", "", done.stderr or done.stdout)[-400:])
    return done.stdout


def _program() -> str:
    found = shutil.which("emx-onnx-cgen")
    if found is None:
        raise MissingDependencyError(
            "writing a model in C needs the program emx-onnx-cgen on PATH: pipx install emx-onnx-cgen"
        )
    return found


def _compiler() -> str:
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        raise MissingDependencyError("running a model in C needs a compiler on PATH, gcc or clang: install one")
    return found


def _version() -> str:
    """The converter's, of the environment that its program belongs to; it tells none itself."""
    _compiler()
    place = Path(_program()).resolve().parent.parent
    found = sorted(place.glob("lib/python*/site-packages/emx_onnx_cgen-*.dist-info"))
    return found[-1].name.removeprefix("emx_onnx_cgen-").removesuffix(".dist-info") if found else "of unknown version"


def _open(path: Path) -> Opened:
    return _Library(path)


RUNTIME = Runtime("c", _TITLE, _version, _open)
