"""MNN (phones), on the CPU: the file is converted, then run by MNN's Python package."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.checking.runtimes.base import Opened, Runtime, refused
from onnx_ig.checking.runtimes.signature import signature
from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError, ModelError

_TITLE = "MNN"
# The converter itself, in a process of its own, which it ends on some errors. MNN's command `mnnconvert` is this and a
# module that installs packages into the environment and reports to its maker, so it is not called.
_CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv)"


class _Module:
    def __init__(self, path: Path) -> None:
        _mnn()
        import MNN.nn as nn

        self._signature = signature(path)
        with tempfile.TemporaryDirectory(prefix="onnx_ig_") as folder:
            converted = Path(folder) / "model.mnn"
            words = ["-f", "ONNX", "--modelFile", str(path), "--MNNModel", str(converted), "--bizCode", "onnx_ig"]
            done = subprocess.run(
                [sys.executable, "-c", _CONVERT, *words, "--keepInputFormat", "1"],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            if not converted.is_file():
                raise refused(_TITLE, "convert the model", (done.stdout + done.stderr)[-400:])
            self._net = nn.load_module_from_file(
                str(converted), list(self._signature.inputs), list(self._signature.outputs)
            )

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        import MNN.expr as expr

        given = []
        for name in self._signature.inputs:
            value = feeds[name]
            if value.dtype not in (np.float32, np.int32, np.int64):
                raise ModelError(f"MNN takes no tensors of type {value.dtype} (input {name!r})")
            whole = value.dtype.kind == "i"
            fed = value.astype(np.int32) if whole else value
            given.append(expr.const(fed, list(fed.shape), expr.NCHW, expr.int if whole else expr.float))
        results = self._net.forward(given)
        results = list(results) if isinstance(results, (list, tuple)) else [results]
        found = {}
        for name, value in zip(self._signature.outputs, results, strict=True):
            plain = expr.convert(value, expr.NCHW) if value.data_format == expr.NC4HW4 else value
            array = plain.read()
            if array is None:
                raise refused(_TITLE, "run the model", f"it has no value for {name!r}")
            found[name] = self._signature.restored(name, np.array(array))
        return found


def _mnn() -> Any:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import MNN
    except ImportError as error:
        raise MissingDependencyError(
            "running a model in MNN needs the package MNN: pip install 'onnx-ig[mnn]'"
        ) from error
    return MNN


def _version() -> str:
    _mnn()
    return metadata.version("MNN")


def _open(path: Path) -> Opened:
    return _Module(path)


RUNTIME = Runtime("mnn", _TITLE, _version, _open)
