"""OpenVINO on CPU, in float32: left to itself it computes in bfloat16 where the processor has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from onnx_ig.errors import MissingDependencyError
from onnx_ig.runtime.engines.base import Array, Engine, Opened, refused

_TITLE = "OpenVINO"


class _Compiled:
    def __init__(self, path: Path) -> None:
        openvino = _import()
        try:
            self._model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        except Exception as error:  # OpenVINO's exceptions are RuntimeErrors
            raise refused(_TITLE, "open the model", error) from error

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        for port in self._model.inputs:  # OpenVINO computes with what an input that is not fed held before
            if not port.get_names() & set(feeds):
                raise refused(_TITLE, "run the model", f"input {port.get_any_name()!r} is not fed")
        try:
            results = self._model(dict(feeds))
        except Exception as error:
            raise refused(_TITLE, "run the model", error) from error
        return {name: np.array(results[port]) for port in self._model.outputs for name in port.get_names()}


def _import() -> ModuleType:
    try:
        import openvino
    except ImportError as error:
        raise MissingDependencyError("running a model in OpenVINO needs it: pip install 'onnx-ig[openvino]'") from error
    return openvino


def _version() -> str:
    return str(_import().__version__).partition("-")[0]


def _open(path: Path) -> Opened:
    return _Compiled(path)


ENGINE = Engine("openvino", _TITLE, _version, _open)
