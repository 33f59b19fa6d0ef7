"""Read, compute and use results at the same time, each in a thread of its own and in order.

The one idea: decoding pictures, Runs and writing files spend their time outside Python's lock, so a thread that reads,
one that computes and the caller's own keep each other from waiting.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD = 2  # items: the one that is computed, and the next, which is read
_MOST_WAITING = 3  # to be written, while the first, which is also drawn, takes longer than others


def overlapped(
    items: Iterable[Item], compute: Callable[[Item], Result], ahead: int = _AHEAD
) -> Iterator[tuple[Item, Result]]:
    """Each item with what ``compute`` makes of it, in order.

    While the caller uses one, the next ``ahead`` are taken from ``items`` and computed; no more are in memory. An
    exception of ``items`` or ``compute`` is raised in its place. Who stops early waits for what is being computed.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1) as reading, ThreadPoolExecutor(1) as computing:
        waiting: deque[Future[tuple[Item, Result] | None]] = deque()

        def read() -> list[Item]:
            for item in iterator:
                return [item]
            return []

        def work(found: Future[list[Item]]) -> tuple[Item, Result] | None:
            for item in found.result():
                return item, compute(item)
            return None

        try:
            for _ in range(ahead):
                waiting.append(computing.submit(work, reading.submit(read)))
            while (done := waiting.popleft().result()) is not None:
                waiting.append(computing.submit(work, reading.submit(read)))
                yield done
        finally:
            reading.shutdown(wait=False, cancel_futures=True)
            computing.shutdown(wait=False, cancel_futures=True)


@contextmanager
def read_ahead(items: Iterable[Item]) -> Iterator[Iterator[Item]]:
    """``items`` in order, the next taken by a thread while one is used.

    Who uses them is the caller's own thread, which a signal interrupts at once.
    """
    iterator = iter(items)

    def take() -> list[Item]:
        return list(itertools.islice(iterator, 1))

    with ThreadPoolExecutor(1) as reading:

        def taken() -> Iterator[Item]:
            waiting = reading.submit(take)
            while found := waiting.result():
                waiting = reading.submit(take)
                yield from found

        try:
            yield taken()
        finally:
            reading.shutdown(wait=False, cancel_futures=True)


class WriteBehind:
    """What is given to :meth:`submit` is done by a thread, in order, while the caller goes on; a few things may wait.

    At the end of the block all is done, also where an exception ends it; one of what was done is raised by the next
    call or by the end.
    """

    def __enter__(self) -> WriteBehind:
        self._writing = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()
        return self

    def submit(self, write: Callable[[], None]) -> None:
        """Do ``write`` when what was submitted before is done."""
        self._wait(_MOST_WAITING)
        self._waiting.append(self._writing.submit(write))

    def _wait(self, most: int) -> None:
        while self._waiting and (len(self._waiting) > most or self._waiting[0].done()):
            self._waiting.popleft().result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writing.shutdown()
        if kind is None:
            self._wait(0)
