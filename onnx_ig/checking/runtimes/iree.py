"""IREE, compiled for this machine's CPU."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.checking.runtimes.base import Opened, Runtime, refused
from onnx_ig.checking.runtimes.signature import signature
from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError

_TITLE = "IREE"
_OPSET = "18"  # its importer converts what is older
_CPU = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
)


class _Compiled:
    def __init__(self, path: Path) -> None:
        runtime = _runtime()
        self._signature = signature(path)
        with tempfile.TemporaryDirectory(prefix="onnx_ig_") as folder:
            text, code = Path(folder) / "model.mlir", Path(folder) / "model.vmfb"
            _call(
                "import the model",
                "iree.compiler.tools.import_onnx",
                str(path),
                "-o",
                str(text),
                "--opset-version",
                _OPSET,
            )
            _call("compile the model", "iree.compiler.tools.scripts.iree_compile", str(text), *_CPU, "-o", str(code))
            self._code = code.read_bytes()
        context = runtime.SystemContext(config=runtime.Config("local-sync"))
        module = runtime.VmModule.copy_buffer(context.instance, self._code)
        context.add_vm_module(module)
        loaded = context.modules[module.name]
        main = next(n for n in module.function_names if not n.startswith("__") and not n.endswith("$async"))
        self._function = loaded[main]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            found = self._function(*[feeds[name] for name in self._signature.inputs])
            values = list(found) if isinstance(found, (list, tuple)) else [found]
            arrays = [np.array(value.to_host()) for value in values]
        except (RuntimeError, ValueError) as error:
            raise refused(_TITLE, "run the model", error) from error
        return {n: self._signature.restored(n, v) for n, v in zip(self._signature.outputs, arrays, strict=True)}


def _call(doing: str, module: str, *words: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise refused(_TITLE, doing, done.stderr or f"it ended with status {done.returncode}")


def _runtime() -> Any:
    try:
        import iree.compiler
        import iree.runtime
    except ImportError as error:
        raise MissingDependencyError(
            "running a model in IREE needs two packages: pip install iree-base-compiler iree-base-runtime"
        ) from error
    return iree.runtime


def _version() -> str:
    _runtime()
    return metadata.version("iree-base-compiler")


def _open(path: Path) -> Opened:
    return _Compiled(path)


RUNTIME = Runtime("iree", _TITLE, _version, _open)
