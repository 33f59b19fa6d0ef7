"""Does a model treat the examples on axis 0 apart? Path points ride as further examples, so everything rests on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from onnx_ig.attribution import contract
from onnx_ig.errors import InputError
from onnx_ig.runtime.session import Session
from onnx_ig.types import Array

# Kernels choose other summation orders for other batch sizes; half precision rounds more.
_TOLERANCE = {np.dtype(np.float64): 1e-6, np.dtype(np.float32): 1e-3}
_HALF = 2e-2
# Dynamic quantisation gives all rows one scale, which is the model's own doing and small.
_DYNAMICALLY_QUANTISED = 0.1
ONE_EXAMPLE = "With batch_axis=None (--batch-axis none) all rows are one example, at one path point per evaluation"


def agree(a: Array, b: Array) -> bool:
    """Whether two outputs are the same up to rounding, NaN where the other is."""
    wide, other = a.astype(np.float64), b.astype(np.float64)
    largest = np.max(np.abs(other), where=np.isfinite(other), initial=0.0)
    tolerance = _TOLERANCE.get(b.dtype, _HALF) * float(largest)
    return np.allclose(wide, other, rtol=0, atol=tolerance, equal_nan=True)


def require_independent_examples(
    session: Session, one: Mapping[str, Array], per_row: set[str], prefix: str, quantised: bool
) -> None:
    """Compare each score of two examples, the first and its own baseline, apart and beside one another.

    Both are compared: what comes later may depend on what comes before, and not the other way round.

    Args:
        session: the step form.
        one: its feeds for one example, baselines included, one path point at 1.
        per_row: the names among them that have one row per example.
        quantised: whether the model quantises its activations dynamically.

    Raises:
        InputError: a score changes, so the output mixes examples.
    """
    other, score = dict(one), prefix + contract.PATH_SCORES
    for name, value in one.items():
        attributed = name.removeprefix(prefix + contract.BASELINE)
        if attributed != name and attributed in per_row:
            other[attributed] = np.ascontiguousarray(np.broadcast_to(value[:1], one[attributed].shape))
    two = {name: np.concatenate([one[name], other[name]]) if name in per_row else one[name] for name in one}
    first, second, beside = (session.run(feeds)[score][0] for feeds in (one, other, two))
    _require_same(first, second, beside, quantised)


def require_rows_apart(scores: Callable[[slice], Array], quantised: bool) -> None:
    """The same for the first two examples of a call, ``scores`` giving F(x) of some of them."""
    _require_same(scores(slice(0, 1)), scores(slice(1, 2)), scores(slice(0, 2)), quantised)


def _require_same(first: Array, second: Array, beside: Array, quantised: bool) -> None:
    """``beside`` is ``first`` and ``second``: the scores [N] of two examples, beside one another and apart."""
    if (first.shape, beside.shape) != ((1,), (2,)):
        raise InputError(
            f"the output gives {len(first)} score(s) for one example and {len(beside)} for two: its axis 0 is "
            f"not that of the inputs. {ONE_EXAMPLE}"
        )
    apart = np.concatenate([first, second])
    if not (np.isfinite(apart).all() and np.isfinite(beside).all()):
        return
    tolerance = _DYNAMICALLY_QUANTISED if quantised else _TOLERANCE.get(apart.dtype, _HALF)
    scale = max(*np.abs(apart.astype(np.float64)), abs(float(beside[1]) - float(beside[0])), 1e-6)
    change = np.abs(apart.astype(np.float64) - beside.astype(np.float64))
    if change.max() > tolerance * scale:
        i = int(change.argmax())
        raise InputError(
            f"the output mixes examples: a score is {apart[i]:.6g} alone and {beside[i]:.6g} beside another "
            f"example, so axis 0 is not a batch of independent examples (a time axis?). {ONE_EXAMPLE}; batch_axis=1 "
            "(--batch-axis 1) takes them on axis 1"
        )
