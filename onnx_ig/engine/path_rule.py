"""How the path is evaluated: at as many points as were asked for, at as many as a tolerance needs, or at x alone.

The one idea: each is a value that is checked before anything is opened, and that then integrates.
"""

from __future__ import annotations

import numbers
import operator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from onnx_ig.common.types import Array, Rule
from onnx_ig.engine.adaptive import FIRST_PARTS, integrate_to_tolerance
from onnx_ig.engine.engine import Engine
from onnx_ig.engine.fixed import integrate_fixed
from onnx_ig.engine.note import ARE, WHICH, Counted, Note
from onnx_ig.engine.request import Attribution, Request
from onnx_ig.errors import UsageError
from onnx_ig.quadrature import DEFAULT_METHOD, DEFAULT_STEPS, FEWEST_INTERVALS, path_nodes_and_weights

DEFAULT_MAX_STEPS = 1024
_LEAST_MAX_STEPS = 2 * FEWEST_INTERVALS  # two levels, so that there is a change
_TYPICAL_NODES = np.sin(np.linspace(0, np.pi / 2, 64 + 1)) ** 2  # of 64 steps


class PathRule(Protocol):
    """What integrates along the path.

    Attributes:
        nodes: points of the path where F is evaluated, or such as will be.
        path_parts: for how many sums apart an engine is opened.
    """

    @property
    def path_parts(self) -> int:
        """See above."""

    @property
    def nodes(self) -> Array:
        """See above."""

    def integrate(self, engine: Engine, request: Request, estimate: bool, **options: Any) -> Attribution:
        """As :func:`integrate_fixed`, which has the other options. ``estimate``: the error, if it costs anything."""

    def missed(self, found: Attribution) -> Note | None:
        """A sentence where the attributions are less exact than was asked for; else None."""


class AtInput:
    """No path: the gradient at x."""

    nodes, path_parts = np.empty(0), 1

    def integrate(
        self, engine: Engine, request: Request, estimate: bool, *, ends: bool = True, **options: Any
    ) -> Attribution:
        """x · ∇F(x): exact, and there are no ends."""
        return engine.gradient(request, **options)

    def missed(self, found: Attribution) -> Note | None:
        return None


@dataclass(frozen=True)
class FixedSteps:
    """A quadrature rule with ``n_steps`` points."""

    method: Rule = DEFAULT_METHOD
    n_steps: int = DEFAULT_STEPS

    path_parts: ClassVar[int] = 1

    @property
    def nodes(self) -> Array:
        return path_nodes_and_weights(self.method, self.n_steps)[0]

    def integrate(self, engine: Engine, request: Request, estimate: bool, **options: Any) -> Attribution:
        points = path_nodes_and_weights(self.method, self.n_steps)
        return integrate_fixed(engine, request, *points, estimate=estimate, **options)

    def missed(self, found: Attribution) -> Note | None:
        return None


@dataclass(frozen=True)
class ToTolerance:
    """The nested rule, until the estimated relative error of each example is ``tolerance`` or less."""

    tolerance: float
    max_steps: int = DEFAULT_MAX_STEPS

    path_parts: ClassVar[int] = FIRST_PARTS

    @property
    def nodes(self) -> Array:
        return _TYPICAL_NODES

    def integrate(self, engine: Engine, request: Request, estimate: bool, **options: Any) -> Attribution:
        return integrate_to_tolerance(engine, request, self.tolerance, self.max_steps, **options)

    def missed(self, found: Attribution) -> Note | None:
        assert found.error_estimate is not None and found.steps_used is not None
        return not_within(self.tolerance, found.error_estimate, found.steps_used)


def not_within(tolerance: float, error: Array, steps: Array) -> Note | None:
    """A sentence where the estimated ``error`` [N] of some examples is above ``tolerance`` after ``steps`` [N]."""
    late = np.flatnonzero(~(error <= tolerance))
    if not len(late):
        return None
    finite = late[np.isfinite(error[late])]
    worst = f"estimated at up to {100 * error[finite].max():.2g} %" if len(finite) else "not known (not finite)"
    text = (
        f"{WHICH} {ARE} not within the tolerance of {100 * tolerance:.2g} % after {steps[late].max()} steps: the "
        f"relative error of the attributions is {worst}. Raise max_steps= (--max-steps) or tolerance= (--tolerance), "
        "or explain the output before a softmax or sigmoid"
    )
    largest = float(error[finite].max()) if len(finite) else 0.0
    return Note(Counted("tolerance", text, len(late), len(error), largest, int(late[0])))


def path_rule(
    n_steps: int | None = None,
    method: Rule | None = None,
    tolerance: float | None = None,
    max_steps: int | None = None,
) -> FixedSteps | ToTolerance:
    """The rule that these arguments ask for; None stands for "not given".

    Raises:
        UsageError: an unknown method, too few steps, a tolerance that is not between 0 and 1, or ``n_steps`` or
            ``method`` beside ``tolerance``, or ``max_steps`` without it.
    """
    if tolerance is None:
        if max_steps is not None:
            raise UsageError("max_steps= (--max-steps) goes with tolerance= (--tolerance): give that too, or n_steps")
        rule = FixedSteps(DEFAULT_METHOD if method is None else method, DEFAULT_STEPS if n_steps is None else n_steps)
        path_nodes_and_weights(rule.method, rule.n_steps)  # refuses what it cannot be
        return rule
    for name, given in (("n_steps= (--n-steps)", n_steps), ("method= (--method)", method)):
        if given is not None:
            raise UsageError(
                f"{name} and tolerance= (--tolerance) contradict each other: the tolerance chooses the path points, by "
                "a rule of its own; leave one of them out"
            )
    if isinstance(tolerance, bool) or not isinstance(tolerance, numbers.Real) or not 0 < tolerance < 1:
        raise UsageError(f"tolerance is {tolerance!r}: give a relative error between 0 and 1, such as 0.01")
    return ToTolerance(float(tolerance), _checked_max_steps(DEFAULT_MAX_STEPS if max_steps is None else max_steps))


def _checked_max_steps(max_steps: int) -> int:
    try:
        steps = operator.index(max_steps)
    except TypeError:
        steps = 0
    if isinstance(max_steps, bool) or steps < _LEAST_MAX_STEPS:
        raise UsageError(f"max_steps is {max_steps!r}: give a whole number, {_LEAST_MAX_STEPS} or more")
    return steps
