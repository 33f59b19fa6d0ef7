"""An attribution of any number of examples: read, explained and written at the same time, piece by piece.

The one idea: a run that continues another goes the same way, with the pieces that are finished read instead of
computed; so it ends with the same files.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from onnx_ig.cli.attributing.place import Place
from onnx_ig.cli.attributing.request import Explainer, Found, found_before
from onnx_ig.cli.reading.values import Values
from onnx_ig.cli.terminal.ending import informed
from onnx_ig.cli.terminal.wording import in_options
from onnx_ig.common.atomic import staged
from onnx_ig.common.pipeline import WriteBehind, read_ahead
from onnx_ig.common.progress import Bar
from onnx_ig.data import Window
from onnx_ig.engine.note import joined
from onnx_ig.errors import InputError
from onnx_ig.report import AttributionReport
from onnx_ig.report.shards import DATA, Shard, Shards, read_account, read_arrays
from onnx_ig.report.write import MANIFEST, ReportWriter

_READING_NOTES = 12  # said of the data at most
TERMINATED = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Done:
    """What was written: the names of the files, the first examples, how many there are, and notes on all."""

    files: Sequence[str]
    head: AttributionReport
    examples: int
    notes: Sequence[str]
    missed: str | None

    def shown_files(self) -> list[str]:
        """The files by name, those of further pieces as one entry."""
        numbers = {name: found[1] for name in self.files if (found := DATA.fullmatch(name)) and found[1]}
        first = min(numbers.values(), key=lambda number: (len(number), number), default="")
        further = [name for name, number in numbers.items() if number != first]
        rest = [name for name in self.files if name not in further]
        return [*rest, f"and {len(further)} more files of data"] if further else rest


def run(
    explainer: Explainer,
    windows: Sequence[Window | None],
    place: Place,
    record: Mapping[str, Any],
    describe: Callable[[Found, Values], AttributionReport],
    warnings: Callable[[], Sequence[str]],
    opening: float,
    draw: int,
    form: str,
) -> Done:
    """Explain all ``windows`` and write the report.

    Args:
        record: what two runs must share for one to continue the other.
        describe: the report of a piece.
        warnings: those of the run, when it ends; ``opening``: the seconds that it took before; ``draw``: how many
            examples are drawn; ``form``: of the files of arrays.

    Raises:
        UsageError, InputError, NotDifferentiableError, ProviderError, OutOfMemoryError: see those classes. What is
            finished stays, and a line says so.
    """
    before: list[Shard] = []
    began = time.perf_counter()

    def kept(stage: Path) -> bool:
        return len(windows) > 1 and _has_finished(stage)

    def begin() -> None:
        before.extend(place.begin(record))

    folder = staged(place.out, MANIFEST, overwrite=place.overwrite, sources=place.sources, begin=begin, kept=kept)
    with _ended_by_sigterm(), folder as stage:
        shards = Shards(stage, record, len(windows), form)
        shards.finished += before
        shards.write_account()
        writer = ReportWriter(stage, shards, max_pictures=draw)
        try:
            said = _explain(explainer, windows, writer, describe, before)
            notes = list(dict.fromkeys([*writer.running.said_of_left_out(), *said.notes]))
            missed = None if said.missed is None else in_options(said.missed)
            names = writer.finish(
                [*warnings(), *notes, *([] if missed is None else [missed])],
                {"opening": opening, "attribution": said.seconds, "all": opening + time.perf_counter() - began},
                missed,
            )
        except BaseException:
            _say_what_is_kept(place, shards, len(windows))
            raise
    return Done(names, writer.head, writer.running.examples, notes, missed)


@dataclass(frozen=True)
class _Said:
    notes: list[str]
    missed: str | None
    seconds: float


def _explain(
    explainer: Explainer,
    windows: Sequence[Window | None],
    writer: ReportWriter,
    describe: Callable[[Found, Values], AttributionReport],
    before: Sequence[Shard],
) -> _Said:
    reading: dict[str, None] = {}
    on_results: list[tuple[int, tuple[str, ...]]] = []
    missed: list[tuple[int, tuple[str, ...]]] = []
    seconds = 0.0
    total = next((window.of for window in windows if window is not None), None)
    with (
        Bar("attribution", "examples", shown=informed()) as bar,
        WriteBehind() as behind,
        read_ahead(map(explainer.read, windows)) as pieces,
    ):
        for number, values in enumerate(pieces):
            reading |= dict.fromkeys(values.notes)
            if not values.examples:
                behind.submit(partial(writer.skip, values.rows, is_new=number >= len(before)))
                continue
            start = 0 if values.window is None else values.window.rows.start

            def progress(done: int, of: int, start: int = start, examples: int = values.examples) -> None:
                bar(start + examples * done / max(of, 1), total or examples)

            if number < len(before):
                found = found_before(before[number].said, read_arrays(writer.shards.folder, before[number]))
            else:
                began = time.perf_counter()
                found = explainer.found(values, progress)
                seconds += time.perf_counter() - began
            examples = len(found.score)
            behind.submit(partial(_write, writer, describe, found, values, is_new=number >= len(before)))
            on_results.append((examples, found.notes))
            missed.append((examples, () if found.missed is None else (found.missed,)))
    if not writer.running.examples:
        raise InputError("no example is left: every row lacks a value or is broken")
    notes = list(reading)
    if len(notes) > _READING_NOTES:
        notes[_READING_NOTES:] = [f"{len(notes) - _READING_NOTES} more note(s) on the data"]
    return _Said([*notes, *joined(on_results)], next(iter(joined(missed)), None), seconds)


def _has_finished(stage: Path) -> bool:
    account = read_account(stage)
    return account is not None and any(piece.examples for piece in account[1])


def _say_what_is_kept(place: Place, shards: Shards, pieces: int) -> None:
    kept = sum(one.examples for one in shards.finished)
    if kept and pieces > 1:
        click.echo(f"{kept:,} explained examples are kept in {place.unfinished}: --resume continues", err=True)


def _write(
    writer: ReportWriter,
    describe: Callable[[Found, Values], AttributionReport],
    found: Found,
    values: Values,
    *,
    is_new: bool,
) -> None:
    piece = replace(describe(found, values), first=writer.running.examples)
    if is_new:
        writer.shards.add(piece, found.said())
    writer.add(piece)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as an exception, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        raise SystemExit(TERMINATED)

    earlier = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
