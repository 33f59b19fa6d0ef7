"""Examples × path points, cut into pieces for a model that is run as it is; a piece too large for memory is halved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnx_ig.errors import OutOfMemoryError

Array = np.ndarray[Any, Any]


class Grid:
    """``examples`` rows in a model of the given layout; ``n``: its number of examples where that is fixed."""

    def __init__(self, examples: int, layout: str, n: int | None) -> None:
        self._examples, self._layout, self._n = examples, layout, n

    def each(self, run: Callable[[slice, slice], None], *, rows: int | None = None, points: int = 1) -> None:
        """Call ``run(examples, path points)`` for pieces that cover the grid, of at most ``rows`` rows each.

        Raises:
            OutOfMemoryError: one example at one path point does not fit.
        """
        batched = self._layout == "batched"
        per_run = self._examples if self._layout == "none" else self._n or min(rows or self._examples, self._examples)
        size = max(1, (rows or points) // max(1, per_run)) if batched else 1
        pieces = [
            (slice(first, min(first + per_run, self._examples)), slice(start, min(start + size, points)))
            for first in range(0, self._examples, max(1, per_run))
            for start in range(0, points, size)
        ]
        waiting = pieces[::-1]
        while waiting:
            examples, chunk = waiting.pop()
            try:
                run(examples, chunk)
            except OutOfMemoryError as error:
                if chunk.stop - chunk.start > 1:
                    middle = (chunk.start + chunk.stop + 1) // 2
                    waiting += [(examples, slice(middle, chunk.stop)), (examples, slice(chunk.start, middle))]
                elif batched and examples.stop - examples.start > 1:
                    middle = (examples.start + examples.stop + 1) // 2
                    waiting += [(slice(middle, examples.stop), chunk), (slice(examples.start, middle), chunk)]
                else:
                    raise OutOfMemoryError(
                        f"{error}; use a machine with more memory, a smaller input, or --provider cpu"
                    ) from error

    def rows_of(self, value: Array, rows: slice) -> Array:
        """The rows of a piece; a fixed batch that is not full is filled by repeating its last example."""
        if self._layout == "none":
            return value
        part = value[rows]
        if self._n is not None and 0 < len(part) < self._n:
            part = np.concatenate([part, np.repeat(part[-1:], self._n - len(part), axis=0)])
        return part

    def own(self, value: Array, rows: slice) -> Array:
        """A result without the rows that only filled the batch."""
        return value if self._layout == "none" else value[: rows.stop - rows.start]

    def put(self, results: dict[str, Array], name: str, part: Array, rows: slice, *, add: bool) -> None:
        """Add ``part`` to, or write it over, the rows of ``results[name]``."""
        where: Any = ... if self._layout == "none" else rows
        if name not in results:
            shape = part.shape if self._layout == "none" else (self._examples, *part.shape[1:])
            results[name] = np.zeros(shape, part.dtype)
        if add:
            results[name][where] += part
        else:
            results[name][where] = part
