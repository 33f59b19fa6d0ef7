"""Add path points until the attributions of each example are exact enough, and say how exact they are.

The one idea: two levels of a nested rule differ by about what the coarser one lacks. Finished examples leave the batch,
the others are packed together again; of the points before only sums are kept, so that memory does not grow with steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from onnx_ig.common.types import Array, Progress
from onnx_ig.engine.engine import Engine
from onnx_ig.engine.lacking import Lacking, at_inputs, by_example, l1, ratio
from onnx_ig.engine.request import Attribution, Request
from onnx_ig.quadrature import NodesAndWeights, is_between, nested_factors, nested_levels, nested_points
from onnx_ig.stopping import (
    BETWEEN,
    CANCELLED,
    DELTA_TELLS,
    FASTEST,
    LEAST_BETWEEN,
    SLOWEST,
    SMOOTH,
    SMOOTH_LEFT,
)

FIRST_PARTS = 3  # of the path, from the first Runs: its ends and two levels


def integrate_to_tolerance(
    engine: Engine,
    request: Request,
    tolerance: float,
    max_steps: int,
    *,
    internal_batch_size: int | None = None,
    ends: bool = True,
    progress: Progress | None = None,
) -> Attribution:
    """(x − x') · ∫₀¹ ∇F(x' + a (x − x')) da for every example, to an estimated relative error of ``tolerance``.

    The error is that of all attributions of an example together, in L1: Σ |found − true| / Σ |found|. Of the changes
    d_k between levels (:func:`onnx_ig.quadrature.nested_points`) it is estimated as d_k · r / (1 − r), the sum of the
    changes to come, r = d_k / d'_{k−1} held to [0.5, 0.7], with d'_k = max(d_k, d'_{k−1} / 2); the first change is
    taken for itself, and half of a change with d_k / d'_{k−1} below 0.1, which smooth gradients have. Between two
    such levels, where every other interval is halved, it is 1.8 times the change, and at least 0.6 times what it was.
    It is never below three times |Σ attributions − (F(x) − F(x'))| / Σ |attributions|, which the end points of the path
    give for nothing: that shows what all points together have missed, but errors of opposite sign cancel in it. An
    example ends too when it has taken ``max_steps`` intervals or is not finite; its estimate is then above
    ``tolerance``, or NaN.

    Args:
        max_steps: at most this many intervals between path points, 8 or more; n intervals take n + 1 points.
        ends: as :func:`onnx_ig.engine.fixed.integrate_fixed`; where the path is laid at the inputs, both are the same
            and cost nothing.
        progress: called with (rows done, rows of the levels begun).

    Returns:
        Also ``error_estimate`` float64 [N] and ``steps_used`` int64 [N], the intervals.
    """
    examples, whole, each = request.examples, engine.plan.layout.whole, engine.plan.targets
    alone = engine.plan.layout.kind == "none"
    counted = _Counted(progress)
    levels = list(nested_levels(max_steps))
    first = levels[: FIRST_PARTS - 1]  # without a change no finite example ends
    parts = [(np.array([1.0, 0.0]), np.ones(2)), *map(nested_points, first)]
    found_apart, scores = engine.path_sums_apart(
        request, parts, internal_batch_size=internal_batch_size, progress=counted.level()
    )
    at_ends, *inner = (by_example(sums, alone) for sums in found_apart)
    lacking = Lacking(engine, request, scores[:2])

    found: dict[str, Array] = {}
    error, steps = np.full(examples, np.nan), np.zeros(examples, np.int64)
    remaining, done = np.arange(examples), np.zeros(examples, bool)
    sums = _Sums(at_ends)
    waiting: list[NodesAndWeights] = []
    for intervals in levels:
        if intervals in first:
            added = {name: values[remaining] for name, values in inner[first.index(intervals)].items()}
        else:
            waiting.append(nested_points(intervals))
            may_end = sums.may_end_between(tolerance)
            if is_between(intervals) and intervals != levels[-1] and not (may_end.all() if whole else may_end.any()):
                continue  # its points are evaluated with those of the next level, in fewer Runs
            nodes, weights = (np.concatenate(part) for part in zip(*waiting, strict=True))
            waiting.clear()
            total, _ = engine.path_sums(
                _only(request, remaining),
                nodes,
                weights,
                internal_batch_size=internal_batch_size,
                progress=counted.level(),
            )
            added = by_example(total, alone)
        sums.add(added, intervals)
        now = sums.error
        if lacking.tells and intervals < DELTA_TELLS and (intervals == levels[-1] or (now <= tolerance).any()):
            now = np.fmax(now, CANCELLED * lacking.relative(sums.value, remaining))
        finite = np.isfinite(sums.size)
        now = np.where(finite, now, np.nan)
        ended = (now <= tolerance) | ~finite
        if intervals == levels[-1]:
            ended[:] = True
        elif whole:  # no example can leave the others
            ended[:] = ended.all()
        fresh = ~done[remaining]
        still = remaining[fresh]
        error[still], steps[still] = now[fresh], intervals
        ended &= fresh
        if not ended.any():
            continue
        over = remaining[ended]
        for name, value in sums.value.items():
            if name not in found:
                found[name] = np.zeros((examples, *value.shape[1:]), value.dtype)
            found[name][over] = value[ended]
        done[over] = True
        if done.all():
            break
        staying = np.repeat(~done[remaining].reshape(-1, each).all(axis=1), each)  # the targets of an example together
        remaining = remaining[staying]
        sums.keep(staying)
    result = {name: value[0] if alone else value for name, value in found.items()}
    model_ends = ends and not at_inputs(engine, request)
    score, baseline_score = engine.end_scores(request, internal_batch_size) if model_ends else scores[:2]
    answer = engine.answer(request, result, score, baseline_score)
    return replace(answer, error_estimate=error, steps_used=steps)


class _Sums:
    """The sums of some examples, [N, ...] by tensor, and what the last level made of them."""

    def __init__(self, at_ends: dict[str, Array]) -> None:
        self._ends = at_ends
        self._inner: dict[str, Array] = {}
        self._doubled: dict[str, Array] = {}  # the value at the last of 4, 8, 16, ... intervals
        self._change: Array | None = None  # relative, that a usual one at half as many intervals is taken to be
        self.value: dict[str, Array] = {}
        self.size = np.zeros(0)  # Σ |value| of each example
        self.error = np.zeros(0)  # estimated and relative, infinite before there is a change

    def add(self, inner: dict[str, Array], intervals: int) -> None:
        """The sum over a level's further points."""
        before, factor, end = nested_factors(intervals)
        known = self._inner or {n: np.zeros_like(s) for n, s in inner.items()}
        self.value = {n: _integral(before * known[n] + factor * s, self._ends[n], end) for n, s in inner.items()}
        self._inner = {n: known[n] + s for n, s in inner.items()}
        self.size = l1(self.value.values())
        self.error = self._estimate(is_between(intervals))
        if not is_between(intervals):
            self._doubled = dict(self.value)

    def _estimate(self, between: bool) -> Array:
        if not self._doubled:
            return np.full(len(self.size), np.inf)
        change = ratio(l1(self.value[n] - self._doubled[n] for n in self._doubled), self.size)
        if between:
            return np.fmax(BETWEEN * change, LEAST_BETWEEN * self.error)
        if self._change is None:
            self._change, rate = change, np.full(len(change), FASTEST)
        else:
            rate = ratio(change, self._change)
            self._change = np.fmax(change, FASTEST * self._change)
        held = np.minimum(np.maximum(rate, FASTEST), SLOWEST)
        return change * np.where(rate < SMOOTH, SMOOTH_LEFT, held / (1 - held))

    def may_end_between(self, tolerance: float) -> Array:
        """Of each example, whether the estimate at a level between may be within ``tolerance``."""
        return LEAST_BETWEEN * self.error <= tolerance

    def keep(self, which: Array) -> None:
        """Forget the other examples."""
        for sums in (self._ends, self._inner, self._doubled, self.value):
            sums.update({name: s[which] for name, s in sums.items()})
        self.size, self.error = self.size[which], self.error[which]
        self._change = None if self._change is None else self._change[which]


class _Counted:
    """Progress over levels, of which nobody knows how many there will be."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._before, self._now = progress, 0, 0

    def level(self) -> Progress | None:
        """Progress of the next level."""
        self._before += self._now
        return None if self._progress is None else self._report

    def _report(self, done: int, total: int) -> None:
        assert self._progress is not None
        self._now = total
        self._progress(self._before + done, self._before + total)


def _integral(inner: Array, ends: Array, end: float) -> Array:
    """The nested rule; the inner points alone where the gradient at an end is not finite, as that of a root at 0."""
    finite = np.isfinite(ends)
    if finite.all():
        return np.asarray(inner + end * ends, ends.dtype)
    return np.asarray(np.where(finite, inner + end * np.where(finite, ends, 0), inner / (1 - 2 * end)), ends.dtype)


def _only(request: Request, kept: Array) -> Request:
    """The request for some of its examples."""
    if len(kept) == request.examples:
        return request

    def rows(values: Mapping[str, Array]) -> dict[str, Array]:
        return {name: value if len(value) == 1 else value[kept] for name, value in values.items()}

    return replace(
        request,
        inputs=rows(request.inputs),
        baselines=rows(request.baselines),
        per_example=rows(request.per_example),
        target=None if request.target is None else request.target[kept],
        examples=len(kept),
    )
