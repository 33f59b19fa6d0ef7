"""Which of the examples are read, where files are read piece by piece.

The one idea: files with a row for every example are cut alike; what has another number of rows is shared by all, and
read whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any


class OpenFiles:
    """What is kept of files between pieces: where reading goes on, or all of a file that cannot be read in parts."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, Path], Any] = {}

    def get(self, what: str, path: Path, make: Callable[[Path], Any]) -> Any:
        """What was made of ``path``, made now if it was not."""
        if (what, path) not in self._kept:
            self._kept[what, path] = make(path)
        return self._kept[what, path]


@dataclass(frozen=True)
class Window:
    """``rows`` of all ``of`` examples.

    ``by_row``: the inputs that have a row for each; None: all that have as many rows.
    """

    rows: slice
    of: int
    by_row: Collection[str] | None = None
    opened: OpenFiles = field(default_factory=OpenFiles, compare=False)

    def within(self, count: int, name: str | None = None) -> slice:
        """The rows to read of a file that has ``count``, for the input ``name``."""
        cut = count == self.of and (name is None or self.by_row is None or name in self.by_row)
        return self.rows if cut else slice(0, count)

    def piece(self, number: int, size: int) -> Window:
        """The ``number``-th of pieces of ``size`` examples."""
        return replace(self, rows=slice(number * size, min((number + 1) * size, self.of)))
