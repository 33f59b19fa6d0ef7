"""What ONNX Runtime's TensorRT provider is told, and what it needs.

It tries kernels before it builds an engine, for minutes; what it measured is kept for the next model. Engines are not
kept: ONNX Runtime tells them apart by the names in a graph and not by its weights, so that one of two models alike but
for their weights would be run for the other. Who gives its own options, a folder for each model, may keep them.
"""

from __future__ import annotations

import os
from pathlib import Path

NEEDED = "TensorRT 10's libraries (libnvinfer.so.10), CUDA's and cuDNN's"


def options() -> dict[str, str]:
    """The provider's options; without the cache where its folder cannot be made, which costs time alone."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "onnx-ig" / "tensorrt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return {}
    return {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(folder)}
