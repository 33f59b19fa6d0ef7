"""tract (Rust), on the CPU, through its Python package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.checking.runtimes.base import Opened, Runtime, refused
from onnx_ig.checking.runtimes.signature import signature
from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError

_TITLE = "tract"


class _Runnable:
    def __init__(self, path: Path) -> None:
        tract = _tract()
        self._signature = signature(path)
        self._error = tract.TractError
        try:
            self._model = tract.onnx().load(str(path)).into_model().into_runnable()
        except self._error as error:
            raise refused(_TITLE, "open the model", error) from error

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            values = self._model.run([np.ascontiguousarray(feeds[name]) for name in self._signature.inputs])
            arrays = [value.to_numpy() for value in values]
        except (self._error, KeyError) as error:
            raise refused(_TITLE, "run the model", error) from error
        return dict(zip(self._signature.outputs, arrays, strict=True))


def _tract() -> Any:
    try:
        import tract
    except ImportError as error:
        raise MissingDependencyError(
            "running a model in tract needs the package tract: pip install 'onnx-ig[tract]'"
        ) from error
    return tract


def _version() -> str:
    from importlib import metadata

    _tract()
    return metadata.version("tract")


def _open(path: Path) -> Opened:
    return _Runnable(path)


RUNTIME = Runtime("tract", _TITLE, _version, _open)
