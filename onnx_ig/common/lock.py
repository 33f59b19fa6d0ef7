"""One process at a time in a folder.

The one idea: the system itself holds the lock on the folder for a process and lets go when that ends, however it ends,
so that what a dead process left stops nobody.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from onnx_ig.errors import UsageError


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Be the only process in ``folder``, which is made if it is not there, and removed afterwards if nothing is in it.

    A system (Windows) or a disk without such locks lets every process in.

    Raises:
        UsageError: another process is in it; OSError: the folder cannot be made.
    """
    held = _taken(folder)
    try:
        yield
    finally:
        if held is None or _is_at(held, folder):  # and not one that another process made since
            with suppress(OSError):  # files are in it
                folder.rmdir()
        if held is not None:
            os.close(held)


def clear(folder: Path) -> None:
    """Remove what is in ``folder``, which stays the same and held."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _taken(folder: Path) -> int | None:
    """The folder, opened and locked; None where there are no locks."""
    try:
        import fcntl
    except ImportError:
        folder.mkdir(parents=True, exist_ok=True)
        return None
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            opened = os.open(folder, os.O_RDONLY)
        except (FileExistsError, FileNotFoundError):  # the process that held it removed it in between
            if os.path.lexists(folder) and not folder.is_dir():
                raise
            continue
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(opened)
            raise UsageError(
                f"another process writes to {folder.parent}: wait until it ends, or choose another directory"
            ) from None
        except OSError:  # a disk without locks, as some of networks are
            os.close(opened)
            return None
        if _is_at(opened, folder):
            return opened
        os.close(opened)


def _is_at(opened: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(opened), folder.stat())
    except FileNotFoundError:
        return False
