"""Where results may be written: never onto what they are made from, and onto other files only where that is asked for.

The one idea: all that can be known of a place is asked before anything is computed, and the same words are said where
writing fails all the same.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx_ig.errors import UsageError


def require_free_file(path: Path, sources: Iterable[Path], *, overwrite: bool) -> None:
    """Whether a file may appear at ``path``; its folder is there, and takes files.

    Args:
        sources: files that the result is made from: none of them is ever replaced, whatever its name or link.
        overwrite: an ordinary file in the way may be replaced.

    Raises:
        UsageError: it may not.
    """
    require_folder(path.parent)
    if not _is_there(path):
        return
    require_not_source([path], sources)
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the file to write")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no ordinary file (a device or a pipe); give a file to write")
    if not overwrite:
        raise UsageError(f"{path} exists; give another name, or replace it with --overwrite (overwrite=True)")


def require_not_source(paths: Iterable[Path], sources: Iterable[Path]) -> None:
    """Raise UsageError if one of ``paths`` is one of ``sources``, under its own name, a link or a second name."""
    by_identity = {_identity(source): source for source in sources}
    for path in paths:
        source = by_identity.get(_identity(path))
        if source is not None:
            called = "" if path == source else f" (it is {source})"
            raise UsageError(
                f"{path}{called} is what the result is made from, and that is never replaced: give another place"
            )


def require_folder(folder: Path) -> None:
    """Whether files can be made in ``folder``, by making one.

    Raises:
        UsageError: there is no such folder, or it takes no files.
    """
    if not _is_there(folder):
        raise UsageError(f"no such folder: {folder} (make it first)")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file, no folder")
    with writing(folder), tempfile.TemporaryFile(dir=folder, prefix=".onnx_ig_"):
        pass


def require_place_for_folder(folder: Path) -> Path:
    """Whether a folder can appear at ``folder``, its parents included, or files in it if it is there.

    Returns:
        The folder, or the nearest one above it that is there.

    Raises:
        UsageError: a file is in the way, or the nearest folder that is there takes no files.
    """
    with writing(folder):
        nearest = folder.resolve()
    while not _is_there(nearest):
        nearest = nearest.parent
    if not nearest.is_dir():
        raise UsageError(f"{nearest} is a file; give a directory")
    require_folder(nearest)
    return nearest


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Let an error of the file system in the block be a UsageError that names ``place``.

    Raises:
        UsageError: no room, no right, no such folder, a name too long.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write to {place}: {error.strerror or error}") from error


def _is_there(path: Path) -> bool:
    """Whether something is called ``path``, be it a link to nothing."""
    with writing(path):
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True


def _identity(path: Path) -> tuple[int, int] | str:
    """Equal for two names of one file."""
    try:
        found = path.stat()
    except OSError:  # it is not there
        return os.path.abspath(path)
    return found.st_dev, found.st_ino
