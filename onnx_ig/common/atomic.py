"""Publishing files: written whole into a folder of their own on the same disk, then renamed into place.

The one idea: whoever looks finds what was there before or all that is new, and of several files the one that makes the
rest count appears last.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from onnx_ig.common.destination import require_not_source, require_place_for_folder, writing
from onnx_ig.common.lock import alone_in
from onnx_ig.errors import UsageError

UNFINISHED = "unfinished"  # the folder in which files wait for the rest
_DRAFTS = ".onnx_ig_"


@contextmanager
def drafts(directory: Path) -> Iterator[Path]:
    """A folder in ``directory`` for drafts, from which :func:`move` is a renaming; it vanishes with the block."""
    with tempfile.TemporaryDirectory(dir=directory, prefix=_DRAFTS) as folder:
        yield Path(folder)


def is_draft(path: Path) -> bool:
    """Whether this is a folder of :func:`drafts`, which a process that was killed leaves."""
    return path.name.startswith(_DRAFTS)


def move(names: Iterable[str], folder: Path, directory: Path, *, last: str = "") -> None:
    """Move the files ``names`` of ``folder`` into ``directory``, where they replace theirs, ``last`` after the rest."""
    for name in sorted(names, key=lambda name: name == last):
        os.replace(folder / name, directory / name)


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
def staged(
    directory: Path,
    manifest: Manifest,
    *,
    overwrite: bool,
    sources: Collection[Path] = (),
    begin: Callable[[], None] = lambda: None,
    kept: Callable[[Path], bool] = lambda stage: False,
) -> Iterator[Path]:
    """A folder in ``directory`` whose files move into it when the block ends, and vanish when it fails.

    The manifest moves last. What an earlier run wrote, known by the manifest's ``files``, is replaced; files of any
    other origin stay, and one that is in the way is a UsageError unless ``overwrite``. Raises UsageError as
    :func:`require_free` does, and where another process is at it; errors of the block are its own.

    Args:
        begin: called once no other process can be in the folder; what it refuses, stays.
        kept: whether what the folder holds is worth continuing: it is found there by the next call, or refused.
    """
    directory = directory.resolve()
    made = _missing(directory)
    stage = directory / UNFINISHED
    with ExitStack() as lock:
        with writing(directory):
            require_place_for_folder(directory)
            lock.enter_context(alone_in(stage))
        begin()
        try:
            yield stage
            with writing(directory):
                names = [path.name for path in stage.iterdir() if manifest.ours.fullmatch(path.name)]
                require_free(directory, manifest, names, sources, overwrite=overwrite)
                publish(stage, directory, manifest)
        except BaseException:
            if stage.is_dir() and not kept(stage):
                shutil.rmtree(stage, ignore_errors=True)
                for folder in made:
                    _remove_if_empty(folder)
            raise


def publish(stage: Path, directory: Path, manifest: Manifest) -> None:
    """Move what the ``manifest`` in ``stage`` names into ``directory``; done again, the rest of it.

    What an earlier run wrote is removed first, and its manifest then: at no time does one name files of two runs.
    """
    new = {path.name for path in stage.iterdir() if manifest.ours.fullmatch(path.name)}
    for name in sorted(_own_files(directory, manifest), key=lambda name: name == manifest.name):
        (directory / name).unlink(missing_ok=True)
    move(new, stage, directory, last=manifest.name)
    shutil.rmtree(stage)


def _missing(directory: Path) -> list[Path]:
    """The folders that have to be made for ``directory``, itself first."""
    missing = []
    while not os.path.lexists(directory):
        missing.append(directory)
        directory = directory.parent
    return missing


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # it is not
        folder.rmdir()


def _own_files(directory: Path, manifest: Manifest) -> set[str]:
    """What an earlier run wrote in ``directory``, by its own account, as far as the names are ours."""
    try:
        document = json.loads((directory / manifest.name).read_text("utf-8"))
        if document["format"] != manifest.format:
            return set()
        return {name for name in document["files"] if manifest.ours.fullmatch(name) and (directory / name).is_file()}
    except (OSError, ValueError, KeyError, TypeError):
        return set()  # not ours: nothing in the directory may be replaced unasked
