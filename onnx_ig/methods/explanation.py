"""What a method found, in one object: the attributions, and what tells how far they can be trusted."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from onnx_ig.common.types import Array
from onnx_ig.engine.advice import Notes
from onnx_ig.engine.engine import Engine
from onnx_ig.engine.request import Attribution, Request
from onnx_ig.errors import warn
from onnx_ig.methods.answers import delta_type, like
from onnx_ig.methods.bound import Bound


@dataclass(frozen=True)
class Explanation:
    """Attributions of N examples with F at both ends of the path and the error of the integral.

    Attributes:
        attributions: as ``attribute`` returns them.
        scores: F(x; t), [N]; ``baseline_scores``: F(x'; t), [N]; None where the method has no baseline.
        convergence_delta: Σ attributions − (F(x) − F(x')), [N]; None without a baseline. Errors of opposite sign cancel
            in it: relative to Σ |attributions| it is a lower bound of their error, and no estimate.
        error_estimate: Σ |error of the attributions| / Σ |attributions|, [N]: with a ``tolerance`` estimated from the
            last changes as points were added to the path, else from the difference of two halves of the points. None
            without a path or of a single point.
        steps_used: intervals between path points, int64 [N] in an array; n steps are n + 1 gradients. None where the
            number of points was fixed.
        warnings: sentences about these results: what is given as OnnxIgWarning too, then advice.
        provider: the execution provider that was used.
        seconds: that the call took, models that it opened included.
    """

    attributions: Any
    scores: Any
    provider: str
    seconds: float = 0.0
    baseline_scores: Any = None
    convergence_delta: Any = None
    error_estimate: Any = None
    steps_used: Array | None = None
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Answer:
    """What an engine answered to one call.

    Attributes:
        missed: a sentence where it is less exact than was asked for; ``notes``: what else is to be said of it.
    """

    engine: Engine
    request: Request
    bound: Bound
    found: Attribution
    missed: str | None
    notes: Notes


def explanation(attributions: Any, answer: Answer, given: Any, began: float) -> Explanation:
    """The object of one call, whose notes are warned of, if they are no advice.

    Args:
        attributions: in the caller's form; ``given``: the first of the inputs, whose kind the numbers get.
        began: when, by ``time.perf_counter``.
    """
    missed = () if answer.missed is None else (answer.missed,)
    for note in (*missed, *answer.notes.warned):
        warn(note)
    dtype = delta_type(answer.request.inputs)

    def numbers(values: Array | None) -> Any:
        return None if values is None else like(values.astype(dtype), given)

    found = answer.found
    return Explanation(
        attributions=attributions,
        scores=numbers(found.scores),
        provider=answer.engine.provider,
        seconds=time.perf_counter() - began,
        baseline_scores=numbers(found.baseline_scores),
        convergence_delta=numbers(found.delta),
        error_estimate=numbers(found.error_estimate),
        steps_used=found.steps_used,
        warnings=(*missed, *answer.notes.all),
    )
