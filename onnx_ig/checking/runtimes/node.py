"""ONNX Runtime in Node (npm package onnxruntime-node): a script runs the model.

The one idea: one process per run, told everything by its standard input, so that nothing of Node's is left behind.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnx_ig.checking.runtimes.base import Opened, Runtime, refused
from onnx_ig.checking.runtimes.tensors import arrays, described
from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError

_TITLE = "onnxruntime-node"
_SCRIPT = Path(__file__).with_name("javascript.cjs")
_NOT_INSTALLED = 3  # the script's exit status where the package is not found


class _Script:
    def __init__(self, path: Path) -> None:
        self._model = str(path.resolve())
        _call({"model": self._model, "feeds": None}, "open the model")

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        request = {"model": self._model, "feeds": described(feeds, _TITLE)}
        return arrays(_call(request, "run the model")["outputs"])

    def seconds(self, feeds: Mapping[str, Array], runs: int) -> float:
        request = {"model": self._model, "feeds": described(feeds, _TITLE), "runs": runs}
        return float(_call(request, "run the model")["milliseconds"]) / 1000


def _call(request: Mapping[str, Any], doing: str) -> dict[str, Any]:
    node = shutil.which("node")
    if node is None:
        raise MissingDependencyError("running a model in Node needs Node.js 18 or newer: install it from nodejs.org")
    done = subprocess.run([node, str(_SCRIPT)], input=json.dumps(request), capture_output=True, text=True, check=False)
    if done.returncode == _NOT_INSTALLED:
        raise MissingDependencyError(
            "running a model in Node needs the npm package onnxruntime-node: `npm install onnxruntime-node` in the "
            "folder this runs in (or set NODE_PATH to a node_modules folder that has it)"
        )
    if done.returncode:
        raise refused(_TITLE, doing, done.stderr or f"it ended with status {done.returncode}")
    return dict(json.loads(done.stdout))


def _version() -> str:
    return str(_call({"model": None, "feeds": None}, "start")["version"])


def _open(path: Path) -> Opened:
    return _Script(path)


RUNTIME = Runtime("node", _TITLE, _version, _open)
