"""The grid of examples × path points, cut into pieces that are evaluated, several at once, until all are.

The one idea: a piece is one Run, of the same shape as most of the others. What does not fit in memory is halved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from onnx_ig.attribution.layout import Layout
from onnx_ig.errors import OutOfMemoryError

Piece = tuple[slice, slice, int]  # examples, path points, points per Run
Result = TypeVar("Result")


@dataclass(frozen=True)
class Grid:
    """``examples`` × ``points``, of which at most ``rows`` are evaluated at once, in ``at_once`` pieces."""

    layout: Layout
    examples: int
    points: int
    rows: int
    at_once: int = 1

    def evaluate(
        self,
        feeds: Callable[[slice, slice, int], Mapping[str, Any]],
        run_each: Callable[[Sequence[Mapping[str, Any]]], Sequence[Result]],
        take: Callable[[slice, slice, Result], None],
    ) -> bool:
        """Give ``take`` what ``run_each`` makes of the ``feeds`` of each piece; whether any piece had to be halved.

        Raises:
            OutOfMemoryError: not even a single row fits.
        """
        waiting = list(self.pieces())[::-1]
        at_once, halved = self.at_once, False
        while waiting:
            now = [waiting.pop()]
            while waiting and len(now) < at_once and _shape(waiting[-1]) == _shape(now[0]):
                now.append(waiting.pop())
            try:
                results = run_each([feeds(*piece) for piece in now])
            except OutOfMemoryError as error:
                at_once, halved = 1, True
                smaller = now if len(now) > 1 else self._halves(now[0])
                if smaller is None:
                    raise OutOfMemoryError(
                        f"{error}; one example at one path point does not fit: use a machine with more memory, a "
                        "smaller input or provider='cpu'"
                    ) from error
                waiting += smaller[::-1]
                continue
            for (examples, points, _), result in zip(now, results, strict=True):
                take(examples, points, result)
        return halved

    def pieces(self) -> Iterator[Piece]:
        """Each of ``rows`` / ``at_once`` rows at most, with as many path points as fit together."""
        rows = self.rows // self.at_once
        per_run = self.examples if self.layout.kind == "none" else self.layout.n or min(rows, self.examples)
        size = max(1, rows // per_run) if self.layout.batched else 1
        runs = -(-self.points // size)
        if self.points >= self.at_once:
            runs = -(-runs // self.at_once) * self.at_once
        size = -(-self.points // runs)  # share the points evenly
        for first in range(0, self.examples, per_run):
            for start in range(0, self.points, size):
                points = slice(start, min(start + size, self.points))
                yield slice(first, min(first + per_run, self.examples)), points, size

    def _halves(self, piece: Piece) -> list[Piece] | None:
        """The piece in two, by path points if it has several, else by examples; None if it is a single row."""
        rows, points, _ = piece
        if points.stop - points.start > 1:
            middle = (points.start + points.stop + 1) // 2
            size = middle - points.start
            return [(rows, slice(points.start, middle), size), (rows, slice(middle, points.stop), size)]
        if rows.stop - rows.start > 1 and self.layout.batched:
            middle = (rows.start + rows.stop + 1) // 2
            return [(slice(rows.start, middle), points, 1), (slice(middle, rows.stop), points, 1)]
        return None


def _shape(piece: Piece) -> tuple[int, int]:
    rows, _, size = piece
    return rows.stop - rows.start, size
