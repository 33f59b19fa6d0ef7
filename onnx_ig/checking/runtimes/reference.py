"""The reference evaluator of the onnx package: the standard's own meaning of each operator, in NumPy and slow."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from onnx_ig.checking.runtimes.base import Opened, Runtime, refused
from onnx_ig.common.types import Array

_TITLE = "onnx's reference evaluator"


class _Evaluator:
    def __init__(self, path: Path) -> None:
        try:
            self._evaluator = ReferenceEvaluator(str(path))
        except Exception as error:  # it raises whatever its operators raise
            raise refused(_TITLE, "open the model", error) from error
        self._names = list(self._evaluator.output_names)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # NumPy's remarks on infinities that the model masks
                values = self._evaluator.run(None, dict(feeds))
        except Exception as error:
            raise refused(_TITLE, "run the model", error) from error
        return {name: np.asarray(value) for name, value in zip(self._names, values, strict=True)}


def _version() -> str:
    return str(onnx.__version__)


def _open(path: Path) -> Opened:
    return _Evaluator(path)


RUNTIME = Runtime("reference", _TITLE, _version, _open)
