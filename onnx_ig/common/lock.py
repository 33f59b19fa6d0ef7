"""One process at a time in a folder.

The one idea: the system itself holds the lock for a process and lets go when that ends, however it ends, so that what a
dead process left stops nobody.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from onnx_ig.errors import UsageError

LOCK = "lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Be the only process in ``folder``, which is made if it is not there, and removed afterwards if nothing is in it.

    Raises:
        UsageError: another process is in it; OSError: the folder cannot be made.
    """
    stream = _taken(folder)
    try:
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
    finally:
        if _is_at(stream, folder / LOCK):  # and not that of a process that made the folder again
            with suppress(OSError):  # other files are in it
                (folder / LOCK).unlink()
                folder.rmdir()
        stream.close()


def clear(folder: Path) -> None:
    """Remove what is in ``folder`` but the lock."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _taken(folder: Path) -> IO[str]:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            stream = (folder / LOCK).open("a+")
        except FileNotFoundError:  # the folder was removed in between
            continue
        if not _lock(stream):
            stream.seek(0)
            raise UsageError(
                f"another process ({stream.read() or 'unknown'}) writes to {folder.parent}: wait until it ends, or "
                "choose another directory"
            )
        if _is_at(stream, folder / LOCK):
            return stream
        stream.close()


def _lock(stream: IO[str]) -> bool:
    """Whether the lock is now held; a system without such locks (Windows) lets every process in."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(stream: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False
