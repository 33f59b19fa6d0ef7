"""The strongest classes of an example by the model's whole output: what else it might have been, beside the score F.

The one idea: a share is the probability of a class where the output holds probabilities, and else the softmax of the
output, and the report says which of the two it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnx_ig.common.types import Array

MOST = 5
_SUM_TO_ONE = 1e-3


@dataclass(frozen=True)
class ClassShares:
    """Some classes of one example and the share of each in [0, 1], the largest first.

    ``kind``: ``probability``, or ``softmax`` where it is exp(z_c) / Σ exp(z) of the output z.
    """

    kind: str
    classes: tuple[int, ...]
    shares: tuple[float, ...]


def class_shares(outputs: Array, targets: Array, *, are_probabilities: bool = False) -> tuple[ClassShares, ...]:
    """The strongest classes of each of N examples: those attributed, and as many others as make ``MOST`` in all.

    Args:
        outputs: [N, C]; ``targets``: the attributed classes, integers [N, K].
        are_probabilities: whether the output is known to hold probabilities, or their logarithms. Otherwise it does
            where no number is negative and all add up to 1.

    An example with an output that is not finite has no classes.
    """
    return tuple(
        _of_example(np.asarray(z, np.float64), own, are_probabilities)
        for z, own in zip(outputs, targets.tolist(), strict=True)
    )


def _of_example(z: Array, attributed: Sequence[int], are_probabilities: bool) -> ClassShares:
    kind, shares = _shares(z, are_probabilities)
    if not np.isfinite(shares).all():
        return ClassShares(kind, (), ())
    order = np.argsort(-z, kind="stable")[: MOST + len(attributed)].tolist()
    others = [c for c in order if c not in attributed]
    chosen = {*attributed, *others[: max(0, MOST - len({*attributed}))]}
    classes = sorted(chosen, key=lambda c: (-z[c], c))
    return ClassShares(kind, tuple(classes), tuple(float(shares[c]) for c in classes))


def _shares(z: Array, are_probabilities: bool) -> tuple[str, Array]:
    """What the numbers are, and the share of each class [C]."""
    if z.min() >= 0 and (z.max() <= 1 if are_probabilities else abs(z.sum() - 1) < _SUM_TO_ONE):
        return "probability", z
    if are_probabilities and z.max() <= 0:
        return "probability", np.exp(z)
    if not np.isfinite(z).all():
        return "softmax", z
    powers = np.exp(z - z.max())
    return "softmax", powers / powers.sum()
