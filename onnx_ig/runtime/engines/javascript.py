"""ONNX Runtime in Node (npm package onnxruntime-node): a script runs the model, files carry the tensors.

The one idea: one process per run, told everything by a request file, so that nothing of Node's is left behind.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.errors import MissingDependencyError, ModelError
from onnx_ig.runtime.engines.base import Array, Engine, Opened, refused

_TITLE = "onnxruntime-node"
_SCRIPT = Path(__file__).with_name("javascript.cjs")
_NOT_INSTALLED = 3  # the script's exit status where the package is not found
# names of onnxruntime-common's tensor types
_TYPES = {
    "float32": "float32", "float64": "float64", "float16": "float16", "int64": "int64", "int32": "int32",
    "int16": "int16", "int8": "int8", "uint8": "uint8", "uint16": "uint16", "bool": "bool",
}  # fmt: skip


class _Script:
    def __init__(self, path: Path) -> None:
        _call({"model": str(path.resolve()), "feeds": []}, None)
        self._path = path.resolve()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        with tempfile.TemporaryDirectory(prefix="onnx_ig_") as scratch:
            described = []
            for index, (name, value) in enumerate(feeds.items()):
                if value.dtype.name not in _TYPES:
                    raise ModelError(f"{_TITLE} takes no tensors of type {value.dtype} (input {name!r})")
                file = Path(scratch) / f"input_{index}"
                file.write_bytes(np.ascontiguousarray(value).tobytes())
                entry = {"name": name, "type": _TYPES[value.dtype.name], "dims": list(value.shape), "file": str(file)}
                described.append(entry)
            answer = _call({"model": str(self._path), "feeds": described}, scratch)
            return {
                y["name"]: np.frombuffer(Path(y["file"]).read_bytes(), y["type"]).reshape(y["dims"])
                for y in answer["outputs"]
            }


def _call(request: Mapping[str, Any], scratch: str | None) -> dict[str, Any]:
    """Ask the script; without ``scratch`` it opens the model only, without a model it tells its version only."""
    node = shutil.which("node")
    if node is None:
        raise MissingDependencyError("running a model in Node needs Node.js 18 or newer: install it from nodejs.org")
    text = json.dumps({**request, "scratch": scratch})
    done = subprocess.run([node, str(_SCRIPT)], input=text, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode == _NOT_INSTALLED:
        raise MissingDependencyError(
            "running a model in Node needs the npm package onnxruntime-node: `npm install onnxruntime-node` in the "
            "folder this runs in (or set NODE_PATH to a node_modules folder that has it)"
        )
    if done.returncode:
        doing = "run the model" if scratch else "open the model"
        raise refused(_TITLE, doing, done.stderr or f"it ended with status {done.returncode}")
    return dict(json.loads(done.stdout))


def _version() -> str:
    return str(_call({"model": None, "feeds": []}, None)["version"])


def _open(path: Path) -> Opened:
    return _Script(path)


ENGINE = Engine("node", _TITLE, _version, _open)
