"""Parts of a path that are summed apart in the same Runs: which points of a Run belong to which part.

The one idea: the parts follow one another, so that of a Run, which takes some points in a row, each has a range.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.quadrature import NodesAndWeights


@dataclass(frozen=True)
class PathParts:
    """The parts of one path.

    Attributes:
        behind: of each the point behind its last.
        several: how many sums the attribution model finds; as many parts at most.
        targets: how many targets of each example it finds them for.
    """

    behind: tuple[int, ...]
    several: int
    targets: int

    @staticmethod
    def of(parts: Sequence[NodesAndWeights], several: int, targets: int) -> PathParts:
        """Those with these nodes and weights."""
        return PathParts(tuple(itertools.accumulate(len(nodes) for nodes, _ in parts)), several, targets)

    def bounds(self, points: slice) -> Array:
        """The range of each sum among the ``points`` of a Run, int64 [several, 2].

        The first point, in a sum that nobody reads, for parts that have none of them.
        """
        bounds = [(0, 1)] * self.several
        for i, first, last in self._ranges(points):
            bounds[i] = (first, last)
        return np.array(bounds, np.int64)

    def apart(self, result: Array, points: slice) -> Iterator[tuple[int, Array]]:
        """Each part that has some of the ``points`` of a Run, and its sums in the Run's ``result``.

        Args:
            result: [N, targets · several, ...], or [N, ...] if that is one.

        Returns:
            Sums [N · targets, ...].
        """
        if self.several == 1:
            yield 0, result if self.targets == 1 else result.reshape(-1, *result.shape[2:])
            return
        found = result.reshape(-1, self.several, *result.shape[2:])
        for i, _, _ in self._ranges(points):
            yield i, found[:, i]

    def _ranges(self, points: slice) -> Iterator[tuple[int, int, int]]:
        """The parts that have some of the ``points``, each with its first one, counted from theirs, and that behind."""
        before = 0
        for i, behind in enumerate(self.behind):
            first, last = max(before, points.start), min(behind, points.stop)
            if first < last:
                yield i, first - points.start, last - points.start
            before = behind
