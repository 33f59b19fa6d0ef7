"""No search for unreachable objects while a graph is made.

The one idea: Python looks through all objects of the program each time that so many more have been made. While a graph
is made nearly all stay, so it finds nothing, and with torch imported each search takes as long as a small export.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0  # how many blocks are being run, by all threads
_was_on = False


@contextmanager
def without_searches() -> Iterator[None]:
    """Put searches off until the last of such blocks ends; what is referred to no more is freed at once as ever."""
    global _inside, _was_on
    with _lock:
        if not _inside:
            _was_on = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _was_on:
                gc.enable()
