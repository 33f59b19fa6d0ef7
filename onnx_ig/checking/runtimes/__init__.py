"""ONNX runtimes by name, each behind the same two steps: open a model file, run it on arrays.

The one idea: everything that differs between runtimes stays in one file each, so that a check of a model is written
once and asked of all of them.
"""

from __future__ import annotations

from onnx_ig.checking.runtimes import (
    c,
    iree,
    litert,
    mnn,
    node,
    onnxruntime,
    opencv,
    openvino,
    reference,
    tinygrad,
    tract,
    tvm,
    web,
)
from onnx_ig.checking.runtimes.base import Opened, Runtime, Timed
from onnx_ig.common.suggestions import nearest
from onnx_ig.errors import UsageError

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (onnxruntime.RUNTIME, reference.RUNTIME, openvino.RUNTIME, node.RUNTIME, web.RUNTIME)
}
# Those that read less of the standard, and are meant for the portable form (``export --for``).
PORTABLE_RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        opencv.RUNTIME,
        tract.RUNTIME,
        mnn.RUNTIME,
        litert.RUNTIME,
        tvm.RUNTIME,
        iree.RUNTIME,
        tinygrad.RUNTIME,
        c.RUNTIME,
        web.WEBGPU,
    )
}


def runtime_named(name: str) -> Runtime:
    """The runtime called ``name``, of both tables.

    Raises:
        UsageError: there is none.
    """
    known = RUNTIMES | PORTABLE_RUNTIMES
    if name not in known:
        raise UsageError(f"unknown runtime {name!r}{nearest(name, known)}: choose {', '.join(known)}")
    return known[name]


__all__ = ["PORTABLE_RUNTIMES", "RUNTIMES", "Opened", "Runtime", "Timed", "runtime_named"]
