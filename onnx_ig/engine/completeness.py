"""Say where attributions do not add up to what they explain: the one sentence of every door.

The one idea: the convergence delta Σ attributions − (F(x) − F(baseline)) is a number that few look at; relative to
F(x) − F(baseline) it tells whether the quadrature has found the integral.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.engine.note import COUNT, WHERE, WHICH, Counted, Note

LARGEST = 0.05  # of |F(x) − F(baseline)|, or of a hundredth of F where that is next to nothing
_FLOOR = 0.01


def completeness_gap(delta: Array | None, score: Array | None, baseline_score: Array | None) -> Note | None:
    """A sentence where |delta| / max(|F(x) − F(baseline)|, |F| / 100) is above 5 % in an example; else None.

    Args:
        delta, score, baseline_score: [N] each; None: not known.
    """
    if delta is None or score is None or baseline_score is None:
        return None
    gap, at_x, at_start = (np.abs(np.asarray(v, np.float64)) for v in (delta, score, baseline_score))
    change = np.abs(np.asarray(score, np.float64) - np.asarray(baseline_score, np.float64))
    scale = np.maximum(change, _FLOOR * np.maximum(at_x, at_start))
    relative = np.divide(gap, scale, out=np.zeros_like(gap), where=scale > 0)
    bad = np.flatnonzero(relative > LARGEST)
    if not len(bad):
        return None
    worst = int(np.nanargmax(relative))
    text = (
        f"the attributions of {WHICH} do not add up to F(x) − F(baseline): the convergence delta is up to "
        f"{100 * relative[worst]:.0f} % of it{WHERE}. Take more path points (tolerance=, --tolerance; n_steps=, "
        "--n-steps), a baseline nearer to the data, or the output before a softmax or sigmoid"
    )
    return Note(Counted("incomplete", text, len(bad), len(gap), float(relative[worst]), worst))


def at_the_baseline(inputs: Mapping[str, Array], baselines: Mapping[str, Array]) -> Note | None:
    """A sentence where every input of an example is its baseline, so that all attributions are zero; else None."""
    same = [
        (value == np.broadcast_to(baselines[name], value.shape)).reshape(len(value), -1).all(axis=1)
        for name, value in inputs.items()
        if value.ndim and name in baselines
    ]
    if not same or len({len(rows) for rows in same}) > 1 or not np.logical_and.reduce(same).any():
        return None
    rows = np.logical_and.reduce(same)
    text = (
        f"{COUNT} row(s) of the inputs equal their baseline: all their attributions are zero, whatever the model does. "
        "Choose another baseline (baselines=, --baseline)"
    )
    return Note(Counted("at the baseline", text, int(rows.sum()), len(rows)))
