"""The grid of examples × path points, cut into pieces that are evaluated, several at once, until all are.

The one idea: a piece is one Run, of the same shape as the others where that is possible, and holds all path points of
an example before it holds another example: then what is computed, uploaded and given back once per example and Run
(its prefix, its sum) is least. What does not fit in memory is halved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from onnx_ig.attribution.layout import Layout
from onnx_ig.common.types import Array
from onnx_ig.engine.independence import require_axis
from onnx_ig.errors import InputError, OutOfMemoryError

Piece = tuple[slice, slice, int]  # examples, path points, points per Run
Result = TypeVar("Result")


@dataclass(frozen=True)
class Grid:
    """``examples`` of a model whose tensors hold them as ``layout`` says.

    ``points``: how many path points each evaluation has, where the model takes so many and no others.
    """

    layout: Layout
    examples: int
    points: int | None = None

    def evaluate(
        self,
        feeds: Callable[[slice, slice, int], Mapping[str, Any]],
        run_each: Callable[[Sequence[Mapping[str, Any]]], Sequence[Result]],
        take: Callable[[slice, slice, Result], None],
        *,
        rows: int,
        points: int = 1,
        at_once: int = 1,
        expect: Callable[[int], None] | None = None,
    ) -> bool:
        """Give ``take`` what ``run_each`` makes of the ``feeds`` of each piece; whether any piece had to be halved.

        Args:
            feeds: of some examples, some path points, and the number of points in a full piece.
            rows: examples × path points that are evaluated at most at a time.
            points: of the path.
            at_once: pieces that ``run_each`` is given together.
            expect: told beforehand how many Runs of the first piece's shapes are to come.

        Raises:
            OutOfMemoryError: not even a single row fits.
        """
        waiting = list(self.pieces(rows, points, at_once))[::-1]
        halved = False
        if expect is not None and waiting:
            expect(sum(_shape(piece) == _shape(waiting[-1]) for piece in waiting))
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
                        "smaller input or provider 'cpu'"
                    ) from error
                waiting += smaller[::-1]
                continue
            for (examples, chunk, _), result in zip(now, results, strict=True):
                take(examples, chunk, result)
            del results, result  # they share the memory of a session that may be opened again
        return halved

    def pieces(self, rows: int, points: int = 1, at_once: int = 1) -> Iterator[Piece]:
        """Each of ``rows`` / ``at_once`` rows at most, with as many path points as fit, then as many examples."""
        rows //= at_once
        per_run = self.examples if self.layout.kind == "none" else self.layout.n or min(rows, self.examples)
        size = self.points or 1
        if self.layout.batched and self.points is None:
            size = even_size(points, max(1, rows // (self.layout.n or 1)))
            if points >= at_once:
                runs = -(-points // size)
                size = -(-points // (-(-runs // at_once) * at_once))
            per_run = self.layout.n or even_size(self.examples, max(1, rows // size))
        for first in range(0, self.examples, per_run):
            for start in range(0, points, size):
                yield slice(first, min(first + per_run, self.examples)), slice(start, min(start + size, points)), size

    def rows_together(self, at_most: int | None) -> int:
        """The rows of each Run where all examples stay together: as many as there are.

        Raises:
            InputError: ``at_most`` is less.
        """
        if at_most is not None and at_most < self.examples:
            raise InputError(
                f"internal_batch_size={at_most}: the {self.examples} examples stay together, because an additional "
                "input has its rows for them on another axis than the first; pass fewer examples per call"
            )
        return self.examples

    def rows_at_one_point(self, at_most: int | None) -> int:
        """The rows of each Run that evaluates one path point, or as many as there are.

        Raises:
            InputError: as :meth:`rows_together`.
        """
        return self.rows_together(at_most) if self.layout.whole else at_most or self.examples

    def rows_of(self, value: Array, rows: slice) -> Array:
        """The rows of a piece; a fixed batch that is not full is filled by repeating its last example."""
        if self.layout.kind == "none":
            return value
        if len(value) == 1 != self.examples:  # one row for all examples
            value = np.broadcast_to(value, (self.examples, *value.shape[1:]))
        part = value[rows]
        if self.layout.n is not None and len(part) < self.layout.n:
            part = np.concatenate([part, np.repeat(part[-1:], self.layout.n - len(part), axis=0)])
        return part

    def own(self, value: Array, rows: slice) -> Array:
        """A result without the rows that only filled the batch.

        Raises:
            InputError: it has another number of rows than the piece.
        """
        if self.layout.kind == "none":
            return value
        count = rows.stop - rows.start
        if self.layout.batched and self.layout.n is None:
            require_axis({count: value})
        return value[:count]

    def put(self, results: dict[str, Array], name: str, part: Array, rows: slice, *, add: bool = False) -> None:
        """Write ``part``, the result of a piece, over the rows of ``results[name]``, or add it to them."""
        part = self.own(part, rows)
        where: Any = ... if self.layout.kind == "none" else rows
        if name not in results:
            if self.layout.kind == "none" or len(part) == self.examples:
                results[name] = part.copy()
                return
            results[name] = np.zeros((self.examples, *part.shape[1:]), part.dtype)
        if add:
            results[name][where] += part
        else:
            results[name][where] = part

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


def even_size(total: int, at_most: int) -> int:
    """What a piece holds of ``total``, ``at_most`` so much: as few as possible, or half as many more if all are equal.

    A piece of another shape costs more than its own work: a runtime plans for it, and anew for the next one.
    """
    size = -(-total // -(-total // at_most))
    return next((one for one in range(size, -(-2 * size // 3) - 1, -1) if total % one == 0), size)


def filled(nodes: Array, weights: Array, points: slice, size: int) -> tuple[Array, Array]:
    """The path's nodes and weights in a piece, of equal length in every Run: the last node again, with weight 0."""
    a, w = nodes[points], weights[points]
    missing = size - len(a)
    if not missing:
        return a, w
    return np.pad(a, (0, missing), mode="edge"), np.pad(w, (0, missing))


def _shape(piece: Piece) -> tuple[int, int]:
    rows, _, size = piece
    return rows.stop - rows.start, size
