"""Publishing files together: written whole into a temporary directory, then renamed into place."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onnx_ig.common.destination import require_not_source, require_place_for_folder, writing
from onnx_ig.errors import UsageError


@dataclass(frozen=True)
class Manifest:
    """The file that says what lies in a directory; written last, removed first: without it the rest is not complete.

    Attributes:
        name: of the file, which holds a JSON object.
        format: its ``format``; its ``files`` are the names of all files, itself included.
        ours: the names that files of this kind can have at all.
    """

    name: str
    format: str
    ours: re.Pattern[str]


def require_free(
    directory: Path, manifest: Manifest, names: Collection[str], sources: Collection[Path], *, overwrite: bool
) -> None:
    """Whether files called ``names`` may appear in ``directory``, as far as that is known before they are made.

    Raises:
        UsageError: the place takes no files; one of another origin is in the way and ``overwrite`` is not said; one of
            ``sources``, from which the files are made, would be replaced or removed.
    """
    require_place_for_folder(directory)
    own = _own_files(directory, manifest)
    foreign = sorted(name for name in set(names) - own if os.path.lexists(directory / name))
    if foreign and not overwrite:
        raise UsageError(
            f"{directory} already holds {', '.join(foreign)}, which no earlier run wrote; choose another directory, or "
            "replace them with --overwrite (overwrite=True)"
        )
    require_not_source([directory / name for name in (*foreign, *sorted(own))], sources)


@contextmanager
def staged(directory: Path, manifest: Manifest, *, overwrite: bool, sources: Collection[Path] = ()) -> Iterator[Path]:
    """A temporary directory whose files appear in ``directory`` when the block ends, and vanish when it fails.

    A new directory appears by one rename. An existing one, which may be a mount point, is staged within: what an
    earlier run wrote, known by the manifest's ``files``, is replaced file by file; files of any other origin stay, and
    one that is in the way is a UsageError unless ``overwrite``. Raises UsageError as :func:`require_free` does.
    """
    stage = require_place_for_folder(directory) / f".onnx_ig_{secrets.token_hex(6)}.tmp"
    directory = directory.resolve()
    try:
        with writing(directory):
            stage.mkdir()
            yield stage
            require_free(directory, manifest, [path.name for path in stage.iterdir()], sources, overwrite=overwrite)
            _publish(stage, directory, manifest)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _publish(stage: Path, directory: Path, manifest: Manifest) -> None:
    new = {path.name for path in stage.iterdir()}
    if not directory.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        os.replace(stage, directory)
        return
    own = _own_files(directory, manifest)
    (directory / manifest.name).unlink(missing_ok=True)
    for name in sorted(new, key=lambda name: name == manifest.name):
        os.replace(stage / name, directory / name)
    for name in own - new:
        (directory / name).unlink(missing_ok=True)


def _own_files(directory: Path, manifest: Manifest) -> set[str]:
    """What an earlier run wrote in ``directory``, by its own account, as far as the names are ours."""
    try:
        document = json.loads((directory / manifest.name).read_text("utf-8"))
        if document["format"] != manifest.format:
            return set()
        return {name for name in document["files"] if manifest.ours.fullmatch(name) and (directory / name).is_file()}
    except (OSError, ValueError, KeyError, TypeError):
        return set()  # not ours: nothing in the directory may be replaced unasked
