"""Say where the baseline itself tells little: far from the data, or with the same F as the inputs.

The one idea: attributions explain F(x) − F(baseline), so a baseline that no input is like, or whose F is that of the
input, is a question that nobody asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.engine.lacking import l1
from onnx_ig.engine.note import WHERE, WHICH, Counted, Note
from onnx_ig.graph.declared import kind_of

_LEAST_EXAMPLES = 10  # of fewer the range says little of the data
_FAR = 1.0  # beyond the data by more than their whole range
_ALIKE = 0.01  # |F(x) − F(baseline)| / max(|F(x)|, |F(baseline)|) below which the two hardly differ


def outside_the_data(inputs: Mapping[str, Array], baselines: Mapping[str, Array]) -> Note | None:
    """A sentence where a baseline lies outside the data by more than their range; else None.

    Args:
        inputs: [N, ...] each; of [N, F] the range is each column's, of all others that of the whole tensor.
        baselines: [1, ...] or [N, ...], or a number, of those of which they are known.
    """
    farthest, words, examples = _FAR, "", 0
    for name, count, low, high, start in _known(inputs, baselines):
        beyond = np.maximum(np.maximum(low - start, start - high), 0)
        with np.errstate(divide="ignore", invalid="ignore"):  # a column of one value has no range
            far = np.where(high > low, beyond / (high - low), 0)
        if far.max() > farthest:
            farthest, examples = float(far.max()), count
            place = np.unravel_index(int(np.argmax(far)), far.shape)
            column = place[-1:] if start.ndim == 2 else ()
            of = f"{name}[{int(column[0])}]" if column and start.shape[-1] > 1 else name
            ends = ", ".join(f"{float(end[column] if column else end):.4g}" for end in (low, high))
            words = f"{of} begins at {float(start[place]):.4g}, and its data lie in [{ends}]"
    if not words:
        return None
    text = (
        f"the baseline is far outside the data: {words}. What the model says there nobody knows; one like the data, "
        "such as their median, may tell more (baselines=, --baseline median)"
    )
    return Note(Counted("outside", text, examples, examples, farthest))


def hardly_differing(
    attributions: Mapping[str, Array], score: Array | None, baseline_score: Array | None
) -> Note | None:
    """A sentence where |F(x) − F(x')| is below 1 % of F in an example whose attributions do not cancel; else None.

    Args:
        attributions: [N, ...] each; ``score``, ``baseline_score``: [N], or None where they are not known.
    """
    if score is None or baseline_score is None or not attributions:
        return None
    at_x, at_start = np.asarray(score, np.float64), np.asarray(baseline_score, np.float64)
    change, scale = np.abs(at_x - at_start), np.maximum(np.abs(at_x), np.abs(at_start))
    size = l1(np.asarray(a, np.float64) for a in attributions.values())
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where((scale > 0) & (size > 0) & (size <= 20 * change), change / scale, np.inf)
    bad = np.flatnonzero(share < _ALIKE)
    if not len(bad):
        return None
    worst = int(np.argmin(share))
    text = (
        f"F(x) and F(baseline) of {WHICH} hardly differ: by {change[worst]:.3g}, {100 * share[worst]:.2g} % of "
        f"F{WHERE}, which is all that the attributions explain. Another baseline or target may tell more (baselines=, "
        "--baseline)"
    )
    return Note(Counted("alike", text, len(bad), len(share), -float(share[worst]), worst))


def _known(
    inputs: Mapping[str, Array], baselines: Mapping[str, Array]
) -> Iterator[tuple[str, int, Array, Array, Array]]:
    """Of inputs with enough numbers, all finite: name, N, the ends of the data's range, the baseline [1 or N, ...]."""
    for name, value in inputs.items():
        if name not in baselines or value.ndim < 2 or len(value) < _LEAST_EXAMPLES or kind_of(value.dtype) != "f":
            continue
        start = np.asarray(baselines[name])
        if kind_of(start.dtype) not in "fiu" or not value.size:
            continue
        axis = 0 if value.ndim == 2 else None
        low, high = (np.asarray(end(value, axis=axis), np.float64) for end in (np.min, np.max))
        begun = np.atleast_1d(start.astype(np.float64))
        if np.isfinite(low).all() and np.isfinite(high).all() and np.isfinite(begun).all():
            begins = len(begun) if begun.ndim == value.ndim else 1
            yield name, len(value), low, high, np.broadcast_to(begun, (begins, *value.shape[1:]))
