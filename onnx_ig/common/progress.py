"""How far a computation is, while it runs: a bar on a terminal or in a notebook.

The one idea: what computes calls a function of (done, in all) and knows nothing of where that is shown.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from onnx_ig.common.types import Progress

_WAIT_SECONDS, _LINE_SECONDS = 1.0, 10.0  # work shorter than the first needs no bar, than the second no line
_BETWEEN_SECONDS = 0.1  # a notebook's page is not written to more often


@contextmanager
def reported(progress: Progress | bool | None, what: str = "attribution") -> Iterator[Progress | None]:
    """What is to be called with (done, in all): ``progress`` itself, for True a bar, for False and None nothing."""
    if not isinstance(progress, bool):
        yield progress
    elif not progress:
        yield None
    else:
        with NotebookBar(what) if in_notebook() else Bar(what) as bar:
            yield bar


def in_notebook() -> bool:
    """Whether this program is the kernel of a notebook, which shows what is displayed."""
    interactive = sys.modules.get("IPython")
    shell = None if interactive is None else interactive.get_ipython()
    return shell is not None and bool(shell.has_trait("kernel"))


class Bar:
    """How far work is, called with (done, total): on a terminal a bar after a second, elsewhere a line every ten.

    ``unit``: what is counted, where the rate is to be shown; ``shown``: whether anything is.
    """

    def __init__(self, what: str, unit: str | None = None, *, shown: bool = True) -> None:
        self._what, self._unit, self._shown = what, unit, shown
        self._began = self._said = time.monotonic()
        self._first: float | None = None
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        return self

    def __call__(self, done: float, total: float) -> None:
        if not self._shown:
            return
        now = time.monotonic()
        self._first = done if self._first is None else self._first
        if not sys.stderr.isatty():
            if self._unit is not None and now - self._said >= _LINE_SECONDS:
                self._said = now
                print(self._line(done, total, now - self._began), file=sys.stderr, flush=True)
        elif self._progress is not None or now - self._began >= _WAIT_SECONDS:
            self._show(done, total, self._rate(done, now - self._began))

    def _rate(self, done: float, seconds: float) -> str:
        new = done - (self._first or 0)  # what an earlier run did costs nothing
        return "" if self._unit is None else f"{new / max(seconds, 1e-9):,.3g} {self._unit}/s"

    def _line(self, done: float, total: float, seconds: float) -> str:
        new = done - (self._first or 0)
        left = f"{(total - done) * seconds / new:,.0f} s left" if new > 0 else "time left unknown"
        return f"{self._what}: {done:,.0f} of {total:,.0f} {self._unit}, {self._rate(done, seconds)}, {left}"

    def _show(self, done: float, total: float, rate: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(), console=Console(file=sys.stderr), transient=True,
            )  # fmt: skip
            self._progress.start()
            self._task = self._progress.add_task(self._what, total=total, rate=rate)
        self._progress.update(self._task, completed=done, total=total, rate=rate)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()


class NotebookBar:
    """A bar in the output of a notebook's cell, which stays when all is done; the browser draws it."""

    def __init__(self, what: str) -> None:
        self._what, self._began, self._shown = what, time.monotonic(), 0.0
        self._handle: Any = None
        self._last = (0, 0)

    def __enter__(self) -> NotebookBar:
        return self

    def __call__(self, done: int, total: int) -> None:
        self._last = (done, total)
        if done == total or time.monotonic() - self._shown >= _BETWEEN_SECONDS:
            self._show()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._last[1]:
            self._show()

    def _show(self) -> None:
        from IPython.display import HTML, display

        self._shown = time.monotonic()
        done, total = self._last
        words = f"{self._what}: {done} of {total}, {self._shown - self._began:.1f} s"
        bar = HTML(f'<progress value="{done}" max="{total}" aria-label="{self._what}"></progress> {words}')
        if self._handle is None:
            self._handle = display(bar, display_id=True)
        else:
            self._handle.update(bar)
