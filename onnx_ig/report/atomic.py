"""Publishing files together: written whole into a temporary directory, then renamed into place."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx_ig.errors import UsageError

MANIFEST = "report.json"  # written last, removed first: a directory without it holds no complete report

_OURS = re.compile(r"attributions\.npz|report\.(json|html)|(overlay|features|positions)_[A-Za-z0-9_-]+\.png")


@contextmanager
def staged(directory: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary directory whose files appear in ``directory`` when the block ends, and vanish when it fails.

    A new directory appears by one rename. An existing one, which may be a mount point, is staged within: the earlier
    report, known by the ``files`` in its report.json, is replaced file by file; files of any other origin stay, and
    one that is in the way is a UsageError unless ``overwrite``. Raises UsageError if the place cannot be written.
    """
    directory = directory.resolve()
    home = directory if directory.is_dir() else directory.parent
    stage = home / f".{directory.name}.{secrets.token_hex(6)}.tmp"
    try:
        if directory.exists() and not directory.is_dir():
            raise UsageError(f"{directory} is a file; give a directory for the report")
        stage.mkdir(parents=True)
        yield stage
        _publish(stage, directory, overwrite)
    except OSError as error:
        raise UsageError(f"cannot write the report to {directory}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _publish(stage: Path, directory: Path, overwrite: bool) -> None:
    new = {path.name for path in stage.iterdir()}
    if not directory.exists():
        os.replace(stage, directory)
        return
    own = _own_files(directory)
    foreign = sorted(name for name in new - own if os.path.lexists(directory / name))
    if foreign and not overwrite:
        raise UsageError(
            f"{directory} already holds {', '.join(foreign)}, which no earlier report there wrote; choose "
            f"another "
            "directory, or allow overwriting"
        )
    (directory / MANIFEST).unlink(missing_ok=True)
    for name in sorted(new, key=lambda name: name == MANIFEST):
        os.replace(stage / name, directory / name)
    for name in own - new:
        (directory / name).unlink(missing_ok=True)


def _own_files(directory: Path) -> set[str]:
    """What an earlier report in ``directory`` wrote, by its own account, as far as the names are ours."""
    try:
        document = json.loads((directory / MANIFEST).read_text("utf-8"))
        if document["format"] != "onnx-ig report":
            return set()
        return {name for name in document["files"] if _OURS.fullmatch(name) and (directory / name).is_file()}
    except (OSError, ValueError, KeyError, TypeError):
        return set()  # not a report of ours: nothing in the directory may be replaced unasked
