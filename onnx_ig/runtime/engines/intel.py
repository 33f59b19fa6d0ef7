"""OpenVINO on CPU, in float32."""

from __future__ import annotations

from pathlib import Path

from onnx_ig.runtime.engines.base import Engine, Opened
from onnx_ig.runtime.openvino_session import OpenVinoSession, import_openvino


def _version() -> str:
    return str(import_openvino().__version__).partition("-")[0]


def _open(path: Path) -> Opened:
    return OpenVinoSession(path, checked=False)  # to find out whether it is right is what conformance is for


ENGINE = Engine("openvino", "OpenVINO", _version, _open)
