"""Where the report of a job goes, and what makes two runs the same work, so that one can continue the other.

The one idea: what a run finished is taken over only where versions, model, options and data are the same to the byte.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from onnx_ig.cli.attributing.request import AttributeOptions
from onnx_ig.common.atomic import UNFINISHED, is_draft, publish
from onnx_ig.common.lock import alone_in, clear
from onnx_ig.data import Window
from onnx_ig.errors import UsageError
from onnx_ig.loading.model import Model
from onnx_ig.loading.packed import packed
from onnx_ig.report.shards import Shard, read_account
from onnx_ig.report.write import MANIFEST


@dataclass(frozen=True)
class Place:
    """Where the report goes, and what another run left there.

    Attributes:
        sources: files that are never replaced.
        resume: an unfinished run of the same work is continued.
    """

    out: Path
    sources: frozenset[Path]
    overwrite: bool = False
    resume: bool = False

    @property
    def unfinished(self) -> Path:
        """The folder of what is finished before the rest is."""
        return self.out / UNFINISHED

    def begin(self, record: Mapping[str, Any]) -> list[Shard]:
        """The finished pieces of the run that this one continues; no other process may be in the folder.

        Raises:
            UsageError: it is there and is not to be continued, or was of other work.
        """
        account = read_account(self.unfinished)
        if account is None and not all(map(is_draft, self.unfinished.iterdir())):
            raise UsageError(f"{self.unfinished} was not made by this command: move it, or choose another directory")
        earlier, finished = account or ({}, [])
        if not self.resume:
            examples = sum(one.examples for one in finished)
            if examples and not self.overwrite:
                raise UsageError(
                    f"{self.unfinished} holds {examples} explained examples of a run that "
                    "did not end: continue it with --resume, or begin again with --overwrite"
                )
            clear(self.unfinished)
            return []
        changed = [what for what in record if earlier.get(what) != record[what]] if finished else []
        if changed:
            raise UsageError(
                f"--resume: {self.unfinished} was begun with other work ({', '.join(changed)} changed): begin again "
                "with --overwrite, or choose another directory"
            )
        return finished

    def finished(self, record: Mapping[str, Any]) -> dict[str, Any] | None:
        """report.json where the same work is finished here; files whose move into place was interrupted are moved."""
        if not self.resume:
            return None
        if not self.unfinished.is_dir():
            return _report_of(self.out, record)
        with alone_in(self.unfinished):
            if _report_of(self.unfinished, record) is not None:
                publish(self.unfinished, self.out, MANIFEST)
            report = _report_of(self.out, record)
            if report is not None:
                shutil.rmtree(self.unfinished, ignore_errors=True)
        return report


def _report_of(folder: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """report.json in the ``folder``, if it is of the work that ``record`` tells of."""
    try:
        report = dict(json.loads((folder / MANIFEST.name).read_text("utf-8")))
        return report if dict(report["record"]) == dict(record) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def record_of(
    model: Model, options: AttributeOptions, windows: Sequence[Window | None], files: Collection[Path]
) -> dict[str, Any]:
    """What makes two runs the same: versions, and SHA-256 of the model, the options and the data.

    Of a model that was made by a program, and read from no file, what was made is hashed.
    """
    first = windows[0]
    size = None if first is None else first.rows.stop
    return {
        "onnx_ig": version("onnx-ig"),
        "model": model.source_sha256 or packed(model.ir_model).sha256(),
        "options": sha256_of(options, size),
        "data": sha256_of(*sorted(path for path in files if path.is_file())),
    }


def sha256_of(*parts: Any) -> str:
    """Of what Python shows of the ``parts``, and of the content of paths among them."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()
