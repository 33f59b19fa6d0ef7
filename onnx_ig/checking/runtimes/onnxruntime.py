"""ONNX Runtime on CPU, through its Python package."""

from __future__ import annotations

from pathlib import Path

from onnx_ig.checking.runtimes.base import Opened, Runtime
from onnx_ig.runtime.session import Session, import_onnxruntime


def _version() -> str:
    return str(import_onnxruntime().__version__)


def _open(path: Path) -> Opened:
    return Session(path, "cpu")


RUNTIME = Runtime("onnxruntime", "ONNX Runtime", _version, _open)
