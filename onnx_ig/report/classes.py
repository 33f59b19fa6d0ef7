"""The strongest classes of an example by the model's whole output: what else it might have been, beside the score F.

The one idea: a share is the probability of a class where the output holds probabilities, or what a softmax or sigmoid
is known to make of it; numbers of which nothing tells that are shown as they are.
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

    ``kind``: ``probability``; ``softmax``: exp(z_c) / Σ exp(z) of the output z; ``sigmoid``: 1 / (1 + exp(−z_c));
    ``value``: z_c itself, which is no share. ``why``: a phrase, what tells that it is so.
    """

    kind: str
    classes: tuple[int, ...]
    shares: tuple[float, ...]
    why: str = ""


def class_shares(outputs: Array, targets: Array, kind: str, why: str = "") -> tuple[ClassShares, ...]:
    """The strongest classes of each of N examples: those attributed, and as many others as make ``MOST`` in all.

    Args:
        outputs: [N, C]; ``targets``: the attributed classes, integers [N, K].
        kind, why: what the outputs are, as in :class:`ClassShares`; a ``probability`` may be its logarithm. Numbers of
            another kind are probabilities where none is negative and those of every example add up to 1; numbers that
            are no probability, against what was said, are values.

    An example with an output that is not finite has no classes.
    """
    wide = np.asarray(outputs, np.float64)
    kind, why, shares = _shares(wide, kind, why)
    return tuple(
        _of_example(z, own, ClassShares(kind, (), (), why), found)
        for z, own, found in zip(wide, targets.tolist(), shares, strict=True)
    )


def _of_example(z: Array, attributed: Sequence[int], empty: ClassShares, shares: Array) -> ClassShares:
    if not np.isfinite(shares).all():
        return empty
    order = np.argsort(-z, kind="stable")[: MOST + len(attributed)].tolist()
    others = [c for c in order if c not in attributed]
    chosen = {*attributed, *others[: max(0, MOST - len({*attributed}))]}
    classes = sorted(chosen, key=lambda c: (-z[c], c))
    return ClassShares(empty.kind, tuple(classes), tuple(float(shares[c]) for c in classes), empty.why)


def _shares(z: Array, kind: str, why: str) -> tuple[str, str, Array]:
    """What the numbers are, what tells it, and the share of each class [N, C]; NaN where an example is not finite."""
    z = np.where(np.isfinite(z).all(axis=1, keepdims=True), z, np.nan)
    known = z[~np.isnan(z).any(axis=1)]
    if known.size and known.min() >= 0 and (np.abs(known.sum(axis=1) - 1) < _SUM_TO_ONE).all():
        return "probability", why if kind == "probability" else "they are positive and add up to 1", z
    if kind == "probability":
        if not known.size or (known.min() >= 0 and known.max() <= 1):
            return kind, why, z
        return (kind, why, np.exp(z)) if known.max() <= 0 else ("value", "they are no probabilities", z)
    if kind == "softmax":
        powers = np.exp(z - z.max(axis=1, keepdims=True))
        return kind, why, powers / powers.sum(axis=1, keepdims=True)
    if kind == "sigmoid":
        return kind, why, np.exp(-np.logaddexp(0, -z))
    return "value", why, z
