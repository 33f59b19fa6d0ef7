"""The memory that is free on a GPU, as the CUDA runtime that ONNX Runtime has loaded tells.

The one idea: that library is in the process already, so it is asked by its name alone, and nothing is loaded for it.
"""

from __future__ import annotations

import ctypes
import os

_CUDA_RUNTIMES = ("libcudart.so.13", "libcudart.so.12")


def free_device_memory(device: int) -> int | None:
    """Bytes that are free on the GPU of that number; None where no CUDA runtime is loaded, or it does not tell."""
    runtime = _loaded()
    if runtime is None:
        return None
    current, free, total = ctypes.c_int(), ctypes.c_size_t(), ctypes.c_size_t()
    if runtime.cudaGetDevice(ctypes.byref(current)) or runtime.cudaSetDevice(device):
        return None
    told = runtime.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) == 0
    runtime.cudaSetDevice(current.value)  # it is this thread's, also for who shares it
    return free.value if told else None


def _loaded() -> ctypes.CDLL | None:
    for name in _CUDA_RUNTIMES:
        try:
            return ctypes.CDLL(name, mode=getattr(os, "RTLD_NOLOAD", 0) | os.RTLD_LAZY)
        except (OSError, AttributeError):  # not loaded; not a POSIX system
            continue
    return None
