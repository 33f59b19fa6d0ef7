"""The data files of a report, one set for each piece of the examples, and the account of what is finished.

The one idea: a piece is finished once the account names its files with their SHA-256; whatever ends the process, what
is finished is kept, and only that is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.common.atomic import drafts, move
from onnx_ig.common.destination import writing
from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError
from onnx_ig.report.record import AttributionReport
from onnx_ig.report.table_file import table_suffix, write_table

ACCOUNT = "job.json"
FORMAT = "onnx-ig job"
DATA = re.compile(r"attributions(-\d{5,})?\.(npz|safetensors|csv|parquet)")
_KEYS = ("baseline_score", "convergence_delta", "error_estimate", "steps_used", "target")


@dataclass(frozen=True)
class Shard:
    """The files of a piece: ``examples`` of them from the ``first`` on; ``said`` is what else was found of it."""

    first: int
    examples: int
    sha256: Mapping[str, str]
    said: Mapping[str, Any]


class Shards:
    """The pieces, in order, of a job in ``folder``.

    Args:
        record: what two runs must share for one to continue the other.
        pieces: how many there will be; a single one has its files without a number.
        form: of the files of arrays, one of :data:`FORMS`.
    """

    def __init__(self, folder: Path, record: Mapping[str, Any], pieces: int, form: str = "npz") -> None:
        self.folder, self.record, self.pieces, self._form = folder, dict(record), pieces, form
        self.finished: list[Shard] = []

    def add(self, piece: AttributionReport, said: Mapping[str, Any]) -> None:
        """Write the files of the next piece, then the account."""
        number = "" if self.pieces == 1 else f"-{len(self.finished):05d}"
        names = [f"attributions{number}.{self._form}"]
        with writing(self.folder.parent):
            FORMS[self._form](self.folder / names[0], _arrays(piece))
            if piece.table is not None and piece.table.of_a_table:
                names.append(f"attributions{number}{table_suffix(piece)}")
                write_table(self.folder / names[1], piece)
        digests = {name: _sha256(self.folder / name) for name in names}
        self.finished.append(Shard(piece.first, piece.examples // piece.targets, digests, said))
        self.write_account()

    def skip(self, first: int) -> None:
        """The next piece holds no example."""
        self.finished.append(Shard(first, 0, {}, {}))
        self.write_account()

    def write_account(self) -> None:
        """Replace the account, whole or not at all."""
        content = {"format": FORMAT, "record": self.record, "finished": [asdict(one) for one in self.finished]}
        with writing(self.folder.parent), drafts(self.folder) as folder:
            (folder / ACCOUNT).write_text(json.dumps(content), "utf-8")
            move([ACCOUNT], folder, self.folder)

    def names(self) -> list[str]:
        """The files that are written."""
        return [name for one in self.finished for name in one.sha256]

    def listed(self) -> list[dict[str, Any]]:
        """The files for report.json."""
        return [{"first": s.first, "examples": s.examples, "sha256": dict(s.sha256)} for s in self.finished if s.sha256]


def read_account(folder: Path) -> tuple[dict[str, Any], list[Shard]] | None:
    """The record of the job in ``folder`` and its finished pieces, up to the first whose files are not whole.

    None where no job has begun there.
    """
    try:
        content = json.loads((folder / ACCOUNT).read_text("utf-8"))
        if content["format"] != FORMAT:
            return None
        finished = [Shard(**one) for one in content["finished"]]
        record = dict(content["record"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    for place, one in enumerate(finished):
        if any(not (folder / n).is_file() or _sha256(folder / n) != digest for n, digest in one.sha256.items()):
            return record, finished[:place]
    return record, finished


def read_arrays(folder: Path, shard: Shard) -> dict[str, Array]:
    """The arrays of a finished piece."""
    (name,) = (name for name in shard.sha256 if name.endswith((".npz", ".safetensors")))
    if name.endswith(".safetensors"):
        return dict(_safetensors().load_file(folder / name))
    with np.load(folder / name, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def _write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    np.savez_compressed(path, **arrays)


def _write_safetensors(path: Path, arrays: Mapping[str, Any]) -> None:
    _safetensors().save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def _safetensors() -> Any:
    try:
        from safetensors import numpy
    except ImportError as error:
        raise MissingDependencyError(
            "arrays in .safetensors need safetensors: pip install 'onnx-ig[safetensors]'"
        ) from error
    return numpy


FORMS: dict[str, Callable[[Path, Mapping[str, Any]], None]] = {"npz": _write_npz, "safetensors": _write_safetensors}


def require_form(form: str) -> None:
    """Whether files of this form can be written.

    Raises:
        MissingDependencyError: not without a package.
    """
    if form == "safetensors":
        _safetensors()


def _arrays(piece: AttributionReport) -> dict[str, Any]:
    # of numbers: numpy 2.0 would write allow_pickle as one of them
    arrays: dict[str, Any] = {f"attribution_{name}": array for name, array in piece.attributions.items()}
    arrays["score"] = piece.score
    arrays |= {key: array for key in _KEYS if (array := getattr(piece, key)) is not None}
    if piece.targets == 1:
        return arrays
    return {name: array.reshape(-1, piece.targets, *array.shape[1:]) for name, array in arrays.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
