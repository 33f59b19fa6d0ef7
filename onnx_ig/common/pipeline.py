"""Read, compute and use results at the same time, each in a thread of its own and in order.

The one idea: decoding pictures, Runs and writing files spend their time outside Python's lock, so a thread that reads,
one that computes and the caller's own keep each other from waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD = 2  # items: the one that is computed, and the next, which is read


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
