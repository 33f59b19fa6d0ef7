"""OpenCV's own inference engine (cv2.dnn), on the CPU: OpenCV 5, or 4 where that is what is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.checking.runtimes.base import Opened, Runtime, refused
from onnx_ig.checking.runtimes.signature import signature
from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError

_TITLE = "OpenCV"


class _Net:
    def __init__(self, path: Path) -> None:
        cv2 = _cv2()
        self._signature = signature(path)
        try:
            self._net = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise refused(_TITLE, "open the model", error) from error
        self._net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)  # not another library that it was built with
        self._error = cv2.error

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        names = list(self._signature.outputs)
        try:
            for name, value in feeds.items():
                self._net.setInput(value, name)
            values = self._net.forward(names)
        except self._error as error:
            raise refused(_TITLE, "run the model", error) from error
        return {n: self._signature.restored(n, np.array(v)) for n, v in zip(names, values, strict=True)}


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingDependencyError(
            "running a model in OpenCV needs the package opencv-python-headless: pip install 'onnx-ig[opencv]'"
        ) from error
    return cv2


def _version() -> str:
    return str(_cv2().__version__)


def _open(path: Path) -> Opened:
    return _Net(path)


RUNTIME = Runtime("opencv", _TITLE, _version, _open)
