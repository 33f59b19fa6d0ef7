"""True errors and evaluations of rules and tolerances on one subject, against a reference of very many points.

The one idea: the oracle is the smallest Gauss–Legendre rule that is within the tolerance, which nobody can know before;
what a tolerance takes is told in multiples of it. A small rule may be within by luck, so a second oracle is the
smallest from which on all larger ones are. What no stopping rule can better is told by the first level within.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import onnx_ig
from onnx_ig.errors import OnnxIgWarning
from onnx_ig.quadrature import METHODS, nested_levels
from tools.exactness.subjects import Subject

TOLERANCES = (0.1, 0.05, 0.01, 0.001)
FIXED = (10, 20, 50, 100, 200)
REFERENCE = 2000  # points
LEAST_ORACLE = 6
# what the oracle is chosen from, of growing size
ORACLES = (6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256)
LEVELS = tuple(n + 1 for n in nested_levels(512) if n > 4)  # points; the fewest for which there is a change
_NEVER = 1e-12  # a tolerance that no level meets
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AtTolerance:
    """One tolerance on the examples of one subject, arrays [N].

    Attributes:
        error: Σ |found − true| / Σ |true|; ``stated``: the estimate of it.
        evaluations: points of the path; ``oracle``: of the smallest Gauss–Legendre rule within the tolerance, at least
            six; NaN where the largest that was tried is not. ``reliable``: of the smallest with which all larger ones
            are within too.
        hindsight: points of the first level of the nested rule that is within; NaN where the largest tried is not.
    """

    tolerance: float
    error: Floats
    stated: Floats
    evaluations: Floats
    oracle: Floats
    reliable: Floats
    hindsight: Floats

    @property
    def ratio(self) -> Floats:
        """Evaluations over the oracle's, of the examples that have one."""
        return _known(self.evaluations / self.oracle)

    @property
    def reliable_ratio(self) -> Floats:
        """The same for the reliable oracle."""
        return _known(self.evaluations / self.reliable)

    @property
    def hindsight_ratio(self) -> Floats:
        """The points of the first level within the tolerance over the oracle's."""
        return _known(self.hindsight / self.oracle)


@dataclass(frozen=True)
class Measured:
    """``fixed``: the errors [N] of each rule at each number of points."""

    subject: Subject
    fixed: dict[tuple[str, int], Floats] = field(default_factory=dict)
    adaptive: list[AtTolerance] = field(default_factory=list)


def errors(found: NDArray[np.float32], true: Floats) -> Floats:
    """Σ |found − true| / Σ |true| of each example."""
    rows = len(true)
    size = np.abs(true).reshape(rows, -1).sum(axis=1)
    return np.asarray(np.abs(found.astype(np.float64) - true).reshape(rows, -1).sum(axis=1) / size)


def _known(ratio: Floats) -> Floats:
    return np.asarray(ratio[np.isfinite(ratio)])


def smallest_for_good(within: Callable[[int], NDArray[np.bool_]], sizes: Sequence[int], examples: int) -> Floats:
    """For each example the first of ``sizes`` from which on all rules are ``within`` for it; NaN where none is."""
    found, good = np.full(examples, np.nan), np.ones(examples, bool)
    for size in reversed(sizes):
        good &= within(size)
        found[good] = size
    return found


def smallest(within: Callable[[int], NDArray[np.bool_]], sizes: Sequence[int], examples: int) -> Floats:
    """For each example the first of ``sizes`` whose rule is ``within`` for it; NaN where none is."""
    found = np.full(examples, np.nan)
    for size in sizes:
        if not np.isnan(found).any():
            break
        found[np.isnan(found) & within(size)] = size
    return found


def measured(subject: Subject, tolerances: Sequence[float] = TOLERANCES) -> Measured:
    """All rules and tolerances on the examples of ``subject``."""
    method = onnx_ig.IntegratedGradients(subject.network, provider="cpu")
    x, examples = subject.inputs, len(subject.inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OnnxIgWarning)

        def at(rule: str, steps: int) -> NDArray[np.float32]:
            found = method.attribute(x, subject.baseline, "predicted", n_steps=steps, method=rule)  # type: ignore[call-overload]
            return np.asarray(found.numpy())

        reference = "gausslegendre" if subject.smooth else "riemann_middle"
        true = at(reference, REFERENCE).astype(np.float64)
        result = Measured(subject, {(rule, n): errors(at(rule, n), true) for rule in METHODS for n in FIXED})

        @functools.cache
        def error_of(steps: int) -> Floats:
            return errors(at("gausslegendre", steps), true)

        @functools.cache
        def error_of_level(points: int) -> Floats:
            options = {"tolerance": _NEVER, "max_steps": points - 1}
            return errors(method.attribute(x, subject.baseline, "predicted", **options).numpy(), true)  # type: ignore[call-overload]

        for tolerance in tolerances:
            found = method.explain(x, subject.baseline, "predicted", tolerance=tolerance, max_steps=4096)
            result.adaptive.append(
                AtTolerance(
                    tolerance,
                    errors(found.attributions.numpy(), true),
                    np.asarray(found.error_estimate, np.float64),
                    np.asarray(found.steps_used, np.float64) + 1,
                    smallest(lambda n, t=tolerance: error_of(n) <= t, ORACLES, examples),  # type: ignore[misc]
                    smallest_for_good(lambda n, t=tolerance: error_of(n) <= t, ORACLES, examples),  # type: ignore[misc]
                    smallest(lambda n, t=tolerance: error_of_level(n) <= t, LEVELS, examples),  # type: ignore[misc]
                )
            )
    return result
