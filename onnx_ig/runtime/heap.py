"""The C library's heap, which keeps what is freed.

The one idea: while a model is opened its weights are read, folded, laid out and packed, each time into new memory.
glibc keeps the memory of the copies before for later allocations, as much as the weights take twice over, and no later
allocation is of their sizes.
"""

from __future__ import annotations

import ctypes
import sys


def give_back_freed_memory() -> None:
    """Return the heap's free pages to the operating system, where the C library is glibc; elsewhere do nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(ctypes.c_size_t(0))
