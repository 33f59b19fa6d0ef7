"""OpenVINO on CPU, in float32."""

from __future__ import annotations

from pathlib import Path

from onnx_ig.checking.runtimes.base import Opened, Runtime
from onnx_ig.runtime.openvino_session import OpenVinoSession, import_openvino


def _version() -> str:
    return str(import_openvino().__version__).partition("-")[0]


def _open(path: Path) -> Opened:
    # as services run it: compiled once, and whether its numbers are right is what conformance is to find out
    return OpenVinoSession(path, checked=False, static=False)


RUNTIME = Runtime("openvino", "OpenVINO", _version, _open)
