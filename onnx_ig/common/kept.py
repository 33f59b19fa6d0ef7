"""A few things that take memory or time to make, for as long as they are used: the last used ones are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """At most ``most`` things by key; the one not used for longest goes first. Threads may share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: dict[Hashable, T] = {}
        self._lock = threading.Lock()

    def get_or_make(self, key: Hashable, make: Callable[[], T]) -> T:
        """The thing of this key; threads that ask for it while it is made wait for it."""
        with self._lock:
            thing = self._things.pop(key) if key in self._things else make()
            while len(self._things) >= self._most:
                del self._things[next(iter(self._things))]
            self._things[key] = thing  # last used is last
            return thing

    def drop(self, thing: T) -> None:
        """Keep ``thing`` no longer."""
        with self._lock:
            self._things = {key: kept for key, kept in self._things.items() if kept is not thing}
