"""Integrate with a quadrature rule of so many points, and tell from the same points how far off the result may be.

The one idea: every other point of the path is a rule of its own. Two halves cost no further evaluation, and where they
agree, all points together agree with the integral.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnx_ig.common.types import Array, Progress
from onnx_ig.engine.engine import Engine
from onnx_ig.engine.lacking import Lacking, at_inputs, by_example, l1, ratio
from onnx_ig.engine.request import Attribution, Request


def integrate_fixed(
    engine: Engine,
    request: Request,
    nodes: Array,
    weights: Array,
    *,
    internal_batch_size: int | None = None,
    ends: bool = True,
    estimate: bool = False,
    progress: Progress | None = None,
) -> Attribution:
    """(x − x') · Σ_k w_k ∇F(x' + a_k (x − x')) for every example, and how far it may be from the integral.

    With I these values, A the mean, by weight, over the points 1, 3, 5, ... and B over the others, the relative error
    in L1 is estimated as Σ |A − B| / 2 / Σ |I|, plus |1 − Σ w_k| (the trapezoid's bias), and not below |Σ I − (F(x) −
    F(x'))| / Σ |I| where these are the ends of the path. Where ∇F jumps in an interval of width h between points
    (ReLU), A and B are off by opposite amounts: |A − B| / 2 is half of h times the jump, which is the most that I is
    off, √3 times the usual. Of the smooth parts it is the error of half as many points, far above that of Gauss and
    Legendre. That of the left and the right Riemann sum it equals at first order, and is doubled. Errors of different
    jumps cancel by chance, in A − B as in I, so that it is an estimate and not a bound.

    Args:
        ends: F at both ends and the delta by the model itself, in two forward passes. Without, by the gradient's own
            model at the ends of the path, for two path points more; at an inner tensor (``at``) these leave the
            branches beside it at x, and the model itself does not.
        estimate: tell the error too. The halves are evaluated one after the other, with a Run more where all points
            fit into one, and are added up: the same values up to rounding.

    Returns:
        With ``estimate`` also ``error_estimate``, float64 [N]; None of a single point.
    """
    if not (ends or estimate):
        total, path_ends = engine.path_sums_and_ends(
            request, nodes, weights, internal_batch_size=internal_batch_size, progress=progress
        )
        return engine.answer(request, total, *path_ends)
    parts = [slice(0, None, 2), slice(1, None, 2)] if estimate and len(nodes) > 1 else [slice(None)]
    sums: list[dict[str, Array]] = []
    for half in parts:
        before = request.examples * len(nodes[::2]) * len(sums)
        added, _ = engine.path_sums(
            request,
            nodes[half],
            weights[half],
            internal_batch_size=internal_batch_size,
            progress=None if progress is None else _onwards(progress, before, request.examples * len(nodes)),
        )
        sums.append(added)
    scores = engine.end_scores(request, internal_batch_size) if ends else engine.path_ends(request, internal_batch_size)
    if len(sums) == 1:
        return engine.answer(request, sums[0], *scores)
    first, second = sums
    alone = engine.plan.layout.kind == "none"
    apart = {n: first[n] / weights[::2].sum() - second[n] / weights[1::2].sum() for n in first}
    for name, value in first.items():
        value += second[name]
    whole = by_example(first, alone)
    one_sided = (nodes[0] == 0) != (nodes[-1] == 1)
    distance = l1(by_example(apart, alone).values()) * (1.0 if one_sided else 0.5)
    error = ratio(distance, l1(whole.values())) + abs(1 - weights.sum())
    lacking = Lacking(engine, request, np.stack(scores))
    if lacking.tells and (not ends or at_inputs(engine, request)):  # else F at the path's ends is another
        error = np.fmax(error, lacking.relative(whole, np.arange(request.examples)))
    return replace(engine.answer(request, first, *scores), error_estimate=error)


def _onwards(progress: Progress, before: int, total: int) -> Progress:
    """``progress`` of a half, as part of all rows."""
    return lambda done, _: progress(before + done, total)
