"""Does a model treat the examples on axis 0 apart? Path points ride as further examples, so everything rests on it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnx_ig.attribution import contract
from onnx_ig.errors import InputError
from onnx_ig.runtime.session import Session

Array = np.ndarray

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
    """Compare the first example's score alone with its score beside another example (its own baseline).

    Args:
        session: the step form.
        one: its feeds for one example, baselines included, one path point at 1.
        per_row: the names among them that have one row per example.
        quantised: whether the model quantises its activations dynamically.

    Raises:
        InputError: the score changes, so the output mixes examples.
    """
    two = {name: np.concatenate([value, value]) if name in per_row else value for name, value in one.items()}
    for name, value in one.items():
        attributed = name.removeprefix(prefix + contract.BASELINE)
        if attributed != name and attributed in two:
            two[attributed] = np.concatenate([one[attributed], np.broadcast_to(value[:1], one[attributed].shape)])
    alone = session.run(one)[prefix + contract.PATH_SCORES]
    beside = session.run(two)[prefix + contract.PATH_SCORES]
    if (alone.shape, beside.shape) != ((1, 1), (1, 2)):
        raise InputError(
            f"the output gives {alone.shape[1]} score(s) for one example and {beside.shape[1]} for two: its axis 0 is "
            f"not that of the inputs. {ONE_EXAMPLE}"
        )
    if not (np.isfinite(alone).all() and np.isfinite(beside).all()):
        return
    tolerance = _DYNAMICALLY_QUANTISED if quantised else _TOLERANCE.get(alone.dtype, _HALF)
    change = abs(float(beside[0, 0]) - float(alone[0, 0]))
    if change > tolerance * max(abs(float(alone[0, 0])), abs(float(beside[0, 1]) - float(beside[0, 0])), 1e-6):
        raise InputError(
            f"the output mixes examples: the first one's score is {alone[0, 0]:.6g} alone and {beside[0, 0]:.6g} "
            f"beside another, so axis 0 is not a batch of independent examples (a time axis?). {ONE_EXAMPLE}"
        )
