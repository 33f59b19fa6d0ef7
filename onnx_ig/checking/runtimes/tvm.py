"""Apache TVM, compiled for the CPU with LLVM."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from onnx_ig.checking.runtimes.base import Opened, Runtime, refused
from onnx_ig.checking.runtimes.signature import signature
from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError

_TITLE = "TVM"


class _Compiled:
    def __init__(self, path: Path) -> None:
        tvm = self._tvm = _tvm()
        from tvm import relax
        from tvm.relax.frontend.onnx import from_onnx

        self._signature = signature(path)
        try:
            module = from_onnx(onnx.load(path), keep_params_in_input=False)
            module = relax.transform.LegalizeOps()(relax.transform.DecomposeOpsForInference()(module))
            self._machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
        except Exception as error:  # it raises whatever its passes raise
            raise refused(_TITLE, "compile the model", error) from error

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            found = self._machine["main"](*[self._tvm.runtime.tensor(feeds[name]) for name in self._signature.inputs])
            values = [found] if hasattr(found, "numpy") else list(found)
            arrays = [value.numpy() for value in values]
        except Exception as error:
            raise refused(_TITLE, "run the model", error) from error
        return dict(zip(self._signature.outputs, arrays, strict=True))


def _tvm() -> Any:
    try:
        import tvm
    except ImportError as error:
        raise MissingDependencyError(
            "running a model in TVM needs the package apache-tvm: pip install apache-tvm"
        ) from error
    return tvm


def _version() -> str:
    return str(_tvm().__version__)


def _open(path: Path) -> Opened:
    return _Compiled(path)


RUNTIME = Runtime("tvm", _TITLE, _version, _open)
