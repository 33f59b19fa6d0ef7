"""ONNX runtimes by name, each behind the same two steps: open a model file, run it on arrays.

The one idea: everything that differs between runtimes stays in one file each, so that a check of a model is written
once and asked of all of them.
"""

from __future__ import annotations

from onnx_ig.checking.runtimes import node, onnxruntime, openvino, reference, web
from onnx_ig.checking.runtimes.base import Opened, Runtime, Timed
from onnx_ig.common.suggestions import nearest
from onnx_ig.errors import UsageError

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (onnxruntime.RUNTIME, reference.RUNTIME, openvino.RUNTIME, node.RUNTIME, web.RUNTIME)
}


def runtime_named(name: str) -> Runtime:
    """The runtime called ``name``.

    Raises:
        UsageError: there is none.
    """
    if name not in RUNTIMES:
        raise UsageError(f"unknown runtime {name!r}{nearest(name, RUNTIMES)}: choose {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


__all__ = ["RUNTIMES", "Opened", "Runtime", "Timed", "runtime_named"]
