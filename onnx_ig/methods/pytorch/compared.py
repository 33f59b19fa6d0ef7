"""How far an exported model lies from the torch function at the same values: in its output, and in what is explained.

The one idea: F of an example is compared relative to that F, not to whatever else the output holds, of which another
column or another example may be a million times as large. Where F nearly vanishes, rounding is all of it, so how far
F moves when its inputs are rounded is measured and allowed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from onnx_ig.common.types import Array
from onnx_ig.engine.forward import select
from onnx_ig.errors import InputError
from onnx_ig.methods.bound import Chosen

ROUNDING = 1e-5  # of F: differences below are rounding
_MOVED = 8  # roundings, by which the inputs are moved to see how far F moves
_EXPLAINED = 10  # times as far as F then moves is rounding, too
_LIKE_MOST = 0.25  # of the examples move less: what one moves by chance may vanish


@dataclass(frozen=True)
class Compared:
    """The output of torch and of the exported model for the same values; ``where`` they lie.

    Attributes:
        on_path: F there is F on the path of its example.
        fed: the tensors among the arguments.
    """

    where: str
    on_path: bool
    fed: list[Tensor]
    torch: Tensor
    exported: Array


class Difference(NamedTuple):
    """A relative difference and where it is; ``passed``: the largest absolute one that was let pass as rounding."""

    relative: float
    at: Compared
    passed: float


class Comparison:
    """Both outputs at some values, the first of them at the inputs.

    Args:
        chosen: the explained targets, from the output at the inputs.
        evaluate: torch's output for other tensors in place of ``fed``.
        eps: the distance from 1 to the next number in the coarsest type that is computed in.
    """

    def __init__(
        self,
        compared: Sequence[Compared],
        chosen: Chosen,
        evaluate: Callable[[Sequence[Tensor]], Tensor],
        eps: float,
    ) -> None:
        self.compared, self._chosen, self._evaluate, self.eps = compared, chosen, evaluate, eps

    @functools.cached_property
    def scale(self) -> float:
        """The largest finite output of torch."""
        values = [np.abs(_wide(c.torch)) for c in self.compared]
        return max([float(np.max(v, where=np.isfinite(v), initial=0.0)) for v in values] + [1e-12])

    def of_outputs(self) -> tuple[float, Compared]:
        """The largest difference relative to the largest output, and where; infinite for another shape."""
        found = [(difference(_wide(c.torch), c.exported.astype(np.float64)) / self.scale, c) for c in self.compared]
        return max(found, key=lambda pair: pair[0])

    @property
    def least(self) -> float:
        """What rounding alone may make of any F, absolute: some roundings of the largest output."""
        return _MOVED * self.eps * self.scale

    def of_scores(self, fine: float, least: float, *, finite_alone: bool) -> Difference:
        """The largest difference of F at one place relative to the largest F on the example's path.

        Above ``fine``, differences that rounding the inputs explains do not count, nor those of ``least`` and below.
        Infinite where the exported model's F alone is not finite, or on the path torch's, if ``finite_alone`` counts.
        """
        gaps = [self._gap(c, finite_alone and c.on_path) for c in self.compared]
        found = [gap / self._own(c) for gap, c in zip(gaps, self.compared, strict=True)]
        passed = 0.0
        if max(float(np.max(f, initial=0.0)) for f in found) > fine:
            for i, (gap, c) in enumerate(zip(gaps, self.compared, strict=True)):
                explained, below = gap <= self._explained(c), gap <= least
                passed = max(passed, float(np.max(gap, where=below & ~explained & (found[i] > fine), initial=0.0)))
                found[i] = np.where(explained | below, 0.0, found[i])
        worst = [float(np.max(f, initial=0.0)) for f in found]
        largest, at = max(zip(worst, self.compared, strict=True), key=lambda pair: pair[0])
        return Difference(largest, at, passed)

    def same_alone(self, rows: slice, expected: Tensor, exported: Array, allowed: float) -> bool:
        """Whether the two outputs for the examples ``rows`` alone differ by rounding, and F in them."""
        if not difference(_wide(expected), exported.astype(np.float64)) <= allowed * self.scale:
            return False
        gap = _between(
            self._scores(_wide(expected), exported, rows), self._scores(exported, exported, rows), finite_alone=False
        )
        own = self._largest[:, rows]
        near = gap <= np.maximum(allowed * own, self.least)
        return bool(np.all(near) or np.all(near | (gap <= self._explained(None)[:, rows])))

    @functools.cached_property
    def _targets(self) -> list[Array | None]:
        first = self.compared[0]
        return self._chosen(_wide(first.torch).reshape(first.exported.shape))

    def _scores(self, output: Array, shaped: Array, rows: slice = slice(None)) -> Array:
        """F of each example for each target, [K, N]: of ``output`` in the shape of ``shaped``."""
        wide = output.astype(np.float64).reshape(shaped.shape)
        return np.stack([select(wide, None if t is None else t[rows]) for t in self._targets])

    def _torch(self, compared: Compared) -> Array:
        return self._scores(_wide(compared.torch), compared.exported)

    def _gap(self, compared: Compared, finite_alone: bool) -> Array:
        exported = self._scores(compared.exported, compared.exported)
        return _between(self._torch(compared), exported, finite_alone=finite_alone)

    @functools.cached_property
    def _largest(self) -> Array:
        """The largest |F| of each example on its path, [K, N]."""
        scores = [np.abs(self._torch(c)) for c in self.compared if c.on_path]
        return np.max([np.where(np.isfinite(s), s, 0.0) for s in scores], axis=0)

    def _own(self, compared: Compared) -> Array:
        """What the difference of F there is relative to, [K, N]."""
        scale = self._largest
        if not compared.on_path:
            there = np.abs(self._torch(compared))
            scale = np.maximum(scale, np.where(np.isfinite(there), there, 0.0))
        return np.maximum(scale, 1e-12)

    @functools.cached_property
    def _moves(self) -> dict[str, Array]:
        """How far F of each example moves, by place, when the inputs are moved by some roundings, [K, N]."""
        generator = torch.Generator().manual_seed(0)
        found = {}
        for c in self.compared:
            moved = [_rounded(x, self.eps, generator) for x in c.fed]
            try:
                there = self._scores(_wide(self._evaluate(moved)), c.exported)
            except InputError:  # the function does not take them
                there = self._torch(c)
            change = _between(self._torch(c), there, finite_alone=True)
            found[c.where] = np.where(np.isfinite(change), change, 0.0)
        return found

    def _explained(self, compared: Compared | None) -> Array:
        """How far F may lie off because of rounding, there or anywhere on the path, [K, N]."""
        along = np.max([self._moves[c.where] for c in self.compared if c.on_path], axis=0)
        like_most = np.quantile(along, _LIKE_MOST, axis=1, method="lower", keepdims=True)
        there = 0.0 if compared is None else self._moves[compared.where]
        explained: Array = _EXPLAINED * np.maximum(np.maximum(along, like_most), there)
        return explained


def difference(wanted: Array, got: Array) -> float:
    """The largest, where torch's output is finite; infinite if the other is not, or has another size."""
    if wanted.size != got.size:  # an axis 0 of one may be the engine's own
        return np.inf
    gap = _between(wanted, got.reshape(wanted.shape), finite_alone=False)
    return float(np.max(gap, initial=0.0))


def _between(wanted: Array, got: Array, *, finite_alone: bool) -> Array:
    """|got − wanted|; infinite where ``got`` alone is not finite, and ``wanted`` alone if ``finite_alone``; else 0."""
    with np.errstate(invalid="ignore"):
        gap = np.abs(got - wanted)
    known, found = np.isfinite(wanted), np.isfinite(got)
    apart = known != found if finite_alone else known & ~found
    return np.where(apart, np.inf, np.where(known, gap, 0.0))


def _rounded(x: Tensor, eps: float, generator: torch.Generator) -> Tensor:
    """``x`` moved by some roundings of itself."""
    if not x.is_floating_point():
        return x
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return (x.detach().cpu().double() * (1 + _MOVED * eps * noise)).to(x)


def _wide(output: Tensor) -> Array:
    wide: Array = output.double().numpy()
    return wide
