"""Say in one sentence each, with its number, what makes attributions inexact or hard to read.

The one idea: what is likely wrong is warned of; what only helps to choose better is told where results are explained,
and never interrupts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from onnx_ig.attribution.probability import Probability
from onnx_ig.common.types import Array
from onnx_ig.engine.baseline_advice import hardly_differing, outside_the_data
from onnx_ig.engine.completeness import at_the_baseline, completeness_gap
from onnx_ig.engine.engine import Engine
from onnx_ig.engine.lacking import by_example, l1, ratio
from onnx_ig.engine.note import WHERE, WHICH, Counted, Note
from onnx_ig.engine.request import Attribution, Request
from onnx_ig.loading.model import Model

LARGEST_ERROR = 0.05  # estimated, relative
_CANCELLED = 0.05  # |F(x) − F(baseline)| / Σ |attributions| below which the path went up and down again


@dataclass(frozen=True)
class Notes:
    """Sentences about one result: those to warn of, and further advice."""

    warned: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Both."""
        return (*self.warned, *self.advice)


def notes_of(engine: Engine, model: Model, request: Request, found: Attribution) -> Notes:
    """What is to be said of ``found``, the integral along a path that ``request`` asked for.

    ``model``: that ``engine`` was opened for.
    """
    warned = [inexact(found)]
    advice = [unsure(engine.probability, found.scores, "torch" if model.note else "onnx")]
    if engine.plan.multiply_by_inputs:
        gap = completeness_gap(found.delta, found.scores, found.baseline_scores)
        warned += [at_the_baseline(request.inputs, request.baselines), gap]
        alone = engine.plan.layout.kind == "none"
        attributions = by_example(found.attributions, alone)
        advice.append(cancelling(attributions, found.scores, found.baseline_scores))
        advice.append(hardly_differing(attributions, found.scores, found.baseline_scores))
        advice.append(None if alone else outside_the_data(request.inputs, request.baselines))
    return Notes(tuple(filter(None, warned)), tuple(filter(None, advice)))


def inexact(found: Attribution) -> Note | None:
    """A sentence where the error of a fixed number of points is estimated at more than 5 % in an example; else None."""
    if found.error_estimate is None or found.steps_used is not None:  # a tolerance is what was asked for
        return None
    error = np.nan_to_num(found.error_estimate, nan=0.0)
    bad = np.flatnonzero(error > LARGEST_ERROR)
    if not len(bad):
        return None
    text = (
        f"the estimated error of the attributions of {WHICH} is above 5 %: up to {_percent(error.max())}{WHERE}. "
        "A tolerance takes as many path points as each example needs (tolerance=0.01, --tolerance 0.01)"
    )
    return Note(Counted("inexact", text, len(bad), len(error), float(error.max()), int(np.argmax(error))))


def unsure(
    found: Probability | None, scores: Array | None, source: Literal["torch", "onnx", "exported"]
) -> Note | None:
    """A sentence where F, of ``scores`` [N], is a probability; else None. ``source``: where another F is chosen."""
    if found is None or scores is None:
        return None
    ways = {
        "torch": f"let the module return what its {found.op_type} is given",
        "onnx": f"explain {found.logits!r} (output={found.logits!r}, --output {found.logits})",
        "exported": f"export the model for {found.logits!r} (output={found.logits!r}, --output {found.logits})",
    }
    most = float(np.nanmax(np.abs(scores))) if np.isfinite(scores).any() else np.nan
    text = (
        f"F is a probability ({found.op_type}; |F(x)| is up to {most:.4g}), flat where it is sure: its logits need "
        f"fewer path points for the same error; {ways[source]}"
    )
    return Note(Counted("probability", text, len(scores), len(scores), most))


def cancelling(attributions: Mapping[str, Array], score: Array | None, baseline_score: Array | None) -> Note | None:
    """A sentence where |F(x) − F(x')| is below 5 % of Σ |attributions| in an example; else None.

    Args:
        attributions: [N, ...] each; ``score``, ``baseline_score``: [N], or None where they are not known.
    """
    if score is None or baseline_score is None or not attributions:
        return None
    change = np.abs(np.asarray(score, np.float64) - np.asarray(baseline_score, np.float64))
    size = l1(np.asarray(a, np.float64) for a in attributions.values())
    share = np.where((size > 0) & np.isfinite(size) & np.isfinite(change), ratio(change, size), np.inf)
    bad = np.flatnonzero(share < _CANCELLED)
    if not len(bad):
        return None
    worst = int(np.argmin(share))
    text = (
        f"the attributions of {WHICH} cancel each other: |F(x) − F(baseline)| is {change[worst]:.3g}, "
        f"{_percent(share[worst])} of the summed |attributions|{WHERE}: the path goes up and down again. Another "
        "baseline may tell more (baselines=, --baseline)"
    )
    return Note(Counted("cancelling", text, len(bad), len(share), -float(share[worst]), worst))


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
