"""LiteRT (TensorFlow Lite, phones), on the CPU: onnx2tf converts the file, LiteRT's own package runs it.

The one idea: the converter is a program with an environment of its own; what is run is the converted file alone.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from onnx_ig.checking.runtimes.base import Opened, Runtime, called, refused
from onnx_ig.checking.runtimes.signature import signature
from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError

_TITLE = "LiteRT"


class _Interpreter:
    def __init__(self, path: Path) -> None:
        interpreter = _interpreter()
        self._signature = signature(path)
        with tempfile.TemporaryDirectory(prefix="onnx_ig_") as folder:
            written = convert(path, Path(folder))
            try:
                self._interpreter = interpreter.Interpreter(model_content=written.read_bytes())
                self._interpreter.allocate_tensors()
                self._runner = self._interpreter.get_signature_runner("serving_default")
            except (RuntimeError, ValueError) as error:
                raise refused(_TITLE, "open the model", error) from error

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            given = self._runner.get_input_details()
            found = self._runner(**{name: feeds[name].astype(given[name]["dtype"]) for name in given})
        except (RuntimeError, ValueError, KeyError) as error:
            raise refused(_TITLE, "run the model", error) from error
        return {name: self._signature.restored(name, found[name]) for name in self._signature.outputs if name in found}


def convert(path: Path, folder: Path) -> Path:
    """The LiteRT file that onnx2tf makes of a model, in ``folder``.

    Raises:
        MissingDependencyError: it is not installed; ModelError: it refuses the model.
    """
    # -kat: axes stay as they are; -osd: inputs and outputs keep their names
    words = [_converter(), "-i", str(path.resolve()), "-o", str(folder), "-osd", "-kat", *signature(path).inputs]
    done = called(*words, folder=str(folder))
    written = sorted(folder.glob("*float32.tflite"))
    if not written:
        raise refused(_TITLE, "convert the model", _reason(done.stdout + done.stderr))
    return written[0]


def _reason(text: str) -> str:
    """What a converter's log says of an error."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    return " | ".join(line for line in lines if "ERROR" in line or "Error:" in line or "onnx_op" in line) or text[-400:]


def _interpreter() -> Any:
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise MissingDependencyError(
            "running a model in LiteRT needs the package ai-edge-litert: pip install ai-edge-litert"
        ) from error
    return interpreter


def _converter() -> str:
    found = shutil.which("onnx2tf")
    if found is None:
        raise MissingDependencyError(
            "converting a model for LiteRT needs the program onnx2tf on PATH: pipx install onnx2tf (Python 3.12)"
        )
    return found


def _version() -> str:
    _interpreter()
    _converter()
    return metadata.version("ai-edge-litert")


def _open(path: Path) -> Opened:
    return _Interpreter(path)


RUNTIME = Runtime("litert", _TITLE, _version, _open)
