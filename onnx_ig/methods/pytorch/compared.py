"""How far an exported model lies from the torch function at the same values: in its output, and in what is explained.

The one idea: F of an example is compared relative to that F, not to whatever else the output holds, of which another
column or another example may be a million times as large. Where F nearly vanishes, rounding is all of it, so how far
F moves when its inputs are rounded is measured and allowed.
"""

from __future__ import annotations

import functools
import itertools
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
        fed: gives the tensors among the arguments.
    """

    where: str
    on_path: bool
    fed: Callable[[], Sequence[Tensor]]
    torch: Tensor
    exported: Array


class Difference(NamedTuple):
    """A relative difference and where it is; ``passed``: the largest absolute one that was let pass as rounding."""

    relative: float
    at: Compared
    passed: float


class Comparison:
    """Both outputs at some values, the first of them at the inputs.

    P values, K targets and N examples are compared at once.

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
        self._on_path = np.array([c.on_path for c in compared])
        # successive values have outputs of one shape, unless this depends on data
        alike = itertools.groupby(compared, lambda c: (c.torch.shape, c.exported.shape))
        self._outputs = [_together(list(group)) for _, group in alike]

    @functools.cached_property
    def scale(self) -> float:
        """The largest finite output of torch."""
        return max(1e-12, *(_largest(wanted) for wanted, _ in self._outputs))

    def of_outputs(self) -> tuple[float, Compared]:
        """The largest difference relative to the largest output, and where; infinite for another shape."""
        found = np.concatenate([_differences(*both) for both in self._outputs])
        worst = int(np.argmax(found))
        return float(found[worst]) / self.scale, self.compared[worst]

    @property
    def least(self) -> float:
        """What rounding alone may make of any F, absolute: some roundings of the largest output."""
        return _MOVED * self.eps * self.scale

    def of_scores(self, fine: float, least: float, *, finite_alone: bool) -> Difference:
        """The largest difference of F at one place relative to the largest F on the example's path.

        Above ``fine``, differences that rounding the inputs explains do not count, nor those of ``least`` and below.
        Infinite where the exported model's F alone is not finite, or on the path torch's, if ``finite_alone`` counts.
        """
        wanted, got = self._scores
        gaps = _between(wanted, got, finite_alone=self._on_path[:, None, None] & finite_alone)
        found = gaps / self._own
        passed = 0.0
        if found.max(initial=0.0) > fine:
            explained, below = gaps <= np.maximum(self._explained, self._own_moves), gaps <= least
            passed = float(np.max(gaps, where=below & ~explained & (found > fine), initial=0.0))
            found = np.where(explained | below, 0.0, found)
        worst = found.reshape(len(found), -1).max(axis=1, initial=0.0)
        at = int(np.argmax(worst))
        return Difference(float(worst[at]), self.compared[at], passed)

    def same_alone(self, rows: slice, expected: Tensor, exported: Array, allowed: float) -> bool:
        """Whether the two outputs for the examples ``rows`` alone differ by rounding, and F in them."""
        wanted, got = _wide(expected), exported.astype(np.float64)
        if not difference(wanted, got) <= allowed * self.scale:
            return False
        scores = (self._select(output.reshape(1, *got.shape), rows)[0] for output in (wanted, got))
        gap = _between(*scores, finite_alone=False)
        near = gap <= np.maximum(allowed * self._largest[:, rows], self.least)
        return bool(np.all(near) or np.all(near | (gap <= self._explained[:, rows])))

    @functools.cached_property
    def _targets(self) -> list[Array | None]:
        first = self.compared[0]
        return self._chosen(_wide(first.torch).reshape(first.exported.shape))

    def _select(self, outputs: Array, rows: slice = slice(None)) -> Array:
        """F of each of some examples for each target, [P, K, N]: of the ``outputs`` [P, N, ...] at some values."""
        count = len(outputs)
        flat = outputs.reshape(-1, *outputs.shape[2:])
        chosen = [None if t is None else np.concatenate([t[rows]] * count) for t in self._targets]
        return np.stack([select(flat, target).reshape(count, -1) for target in chosen], axis=1)

    @functools.cached_property
    def _scores(self) -> tuple[Array, Array]:
        """F of torch and of the exported model, [P, K, N]."""
        wanted, got = (np.concatenate(list(map(self._select, several))) for several in zip(*self._outputs, strict=True))
        return wanted, got

    @functools.cached_property
    def _sizes(self) -> Array:
        """|F| of torch, 0 where it is not finite, [P, K, N]."""
        sizes = np.abs(self._scores[0])
        return np.where(np.isfinite(sizes), sizes, 0.0)

    @functools.cached_property
    def _largest(self) -> Array:
        """The largest |F| of each example on its path, [K, N]."""
        return np.asarray(self._sizes[self._on_path].max(axis=0))

    @property
    def _own(self) -> Array:
        """What the difference of F is relative to, [P, K, N]: beside the path F may be larger."""
        beside = np.where(self._on_path[:, None, None], 0.0, self._sizes)
        return np.maximum(np.maximum(self._largest, beside), 1e-12)

    @functools.cached_property
    def _moves(self) -> Array:
        """How far F of each example moves when the inputs are moved by some roundings, [P, K, N]."""
        generator = torch.Generator().manual_seed(0)
        found = []
        for c, wanted in zip(self.compared, self._scores[0], strict=True):
            moved = [_rounded(x, self.eps, generator) for x in c.fed()]
            try:
                there = self._select(_wide(self._evaluate(moved)).reshape(1, *c.exported.shape))[0]
            except InputError:  # the function does not take them
                there = wanted
            change = _between(wanted, there, finite_alone=True)
            found.append(np.where(np.isfinite(change), change, 0.0))
        return np.stack(found)

    @functools.cached_property
    def _explained(self) -> Array:
        """How far F may lie off because of rounding anywhere on the path, [K, N]."""
        along = self._moves[self._on_path].max(axis=0)
        like_most = np.quantile(along, _LIKE_MOST, axis=1, method="lower", keepdims=True)
        return np.asarray(_EXPLAINED * np.maximum(along, like_most))

    @property
    def _own_moves(self) -> Array:
        """The same of one place alone, [P, K, N]."""
        return np.asarray(_EXPLAINED * self._moves)


def difference(wanted: Array, got: Array) -> float:
    """The largest, where torch's output is finite; infinite if the other is not, or has another size."""
    if wanted.size != got.size:  # an axis 0 of one may be the engine's own
        return np.inf
    gap = _between(wanted, got.reshape(wanted.shape), finite_alone=False)
    return float(np.max(gap, initial=0.0))


def _differences(wanted: Array, got: Array) -> Array:
    """:func:`difference` at each of P values, [P]."""
    if wanted.size != got.size:
        return np.full(len(wanted), np.inf)
    return np.asarray(_between(wanted, got, finite_alone=False).reshape(len(wanted), -1).max(axis=1, initial=0.0))


def _together(alike: Sequence[Compared]) -> tuple[Array, Array]:
    """The outputs of torch and of the exported model, float64 [P, N, ...]; torch's as it is, if of another size."""
    wanted = _wide(torch.stack([c.torch for c in alike]))
    got = np.stack([c.exported for c in alike]).astype(np.float64)
    return wanted.reshape(got.shape) if wanted.size == got.size else wanted, got


def _largest(output: Array) -> float:
    sizes = np.abs(output)
    return float(np.max(sizes, where=np.isfinite(sizes), initial=0.0))


def _between(wanted: Array, got: Array, *, finite_alone: bool | Array) -> Array:
    """|got − wanted|; infinite where ``got`` alone is not finite, and ``wanted`` alone if ``finite_alone``; else 0."""
    known, found = np.isfinite(wanted), np.isfinite(got)
    if known.all() and found.all():
        return np.asarray(np.abs(got - wanted))
    with np.errstate(invalid="ignore"):
        gap = np.abs(got - wanted)
    apart = (known & ~found) | (~known & found & finite_alone)
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
