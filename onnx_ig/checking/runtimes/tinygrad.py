"""tinygrad, on the device that it chooses itself."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from onnx_ig.checking.runtimes.base import Opened, Runtime, refused
from onnx_ig.checking.runtimes.signature import signature
from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError

_TITLE = "tinygrad"


class _Runner:
    def __init__(self, path: Path) -> None:
        tinygrad = _tinygrad()
        from tinygrad.nn.onnx import OnnxRunner

        self._signature = signature(path)
        self._tensor = tinygrad.Tensor
        try:
            self._runner = OnnxRunner(str(path))
        except Exception as error:  # it raises whatever its operators raise
            raise refused(_TITLE, "open the model", error) from error

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            found = self._runner({name: self._tensor(value) for name, value in feeds.items()})
            arrays = {name: value.numpy() for name, value in found.items()}
        except Exception as error:
            raise refused(_TITLE, "run the model", error) from error
        return {name: self._signature.restored(name, value) for name, value in arrays.items()}


def _tinygrad() -> Any:
    try:
        import tinygrad
    except ImportError as error:
        raise MissingDependencyError(
            "running a model in tinygrad needs the package tinygrad: pip install tinygrad"
        ) from error
    try:
        tinygrad.Device.DEFAULT  # noqa: B018  (looked for when it is asked for)
    except RuntimeError as error:
        raise MissingDependencyError(
            f"tinygrad computes on nothing here ({error}): for the CPU install clang (Debian: apt install clang)"
        ) from error
    return tinygrad


def _version() -> str:
    _tinygrad()
    return metadata.version("tinygrad")


def _open(path: Path) -> Opened:
    return _Runner(path)


RUNTIME = Runtime("tinygrad", _TITLE, _version, _open)
