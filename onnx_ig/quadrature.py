"""The quadrature rules of Integrated Gradients: where the path is evaluated and with what weight.

The one idea: a rule is a pair of arrays on [0, 1], and ∫₀¹ g(a) da is Σ_k weights[k] · g(nodes[k])
whatever the rule. Five have a fixed number of points; to those of the nested one points can be added.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from onnx_ig.common.suggestions import nearest
from onnx_ig.common.types import Rule
from onnx_ig.errors import UsageError

NodesAndWeights = tuple[NDArray[np.float64], NDArray[np.float64]]

_leggauss = functools.lru_cache(maxsize=16)(np.polynomial.legendre.leggauss)  # eigenvalues of an n×n matrix


def _gausslegendre(n: int) -> NodesAndWeights:
    nodes, weights = _leggauss(n)
    return (1 + nodes) / 2, weights / 2


def _riemann_left(n: int) -> NodesAndWeights:
    return np.arange(n) / n, np.full(n, 1 / n)


def _riemann_middle(n: int) -> NodesAndWeights:
    return (np.arange(n) + 0.5) / n, np.full(n, 1 / n)


def _riemann_right(n: int) -> NodesAndWeights:
    return np.arange(1, n + 1) / n, np.full(n, 1 / n)


def _riemann_trapezoid(n: int) -> NodesAndWeights:
    weights = np.full(n, 1 / n)  # 1/(n−1) would be unbiased; Captum's 1/n is kept so that results agree
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, n), weights


_RULES: dict[Rule, Callable[[int], NodesAndWeights]] = {
    "gausslegendre": _gausslegendre,
    "riemann_left": _riemann_left,
    "riemann_middle": _riemann_middle,
    "riemann_right": _riemann_right,
    "riemann_trapezoid": _riemann_trapezoid,
}

METHODS: tuple[Rule, ...] = tuple(_RULES)
DEFAULT_METHOD: Rule = "gausslegendre"  # Captum's
DEFAULT_STEPS = 50  # Captum's
"""Names of the quadrature rules, the default first."""


def path_nodes_and_weights(method: str = "gausslegendre", n_steps: int = 50) -> NodesAndWeights:
    """Nodes a_k in [0, 1] and weights w_k of a quadrature rule, k = 1..n for n = ``n_steps``.

    ================== ============================ ==========================================
    method             nodes                        weights
    ================== ============================ ==========================================
    gausslegendre      Gauss–Legendre, on [0, 1]    Gauss–Legendre / 2, sum 1
    riemann_left       (k − 1) / n                  1 / n
    riemann_middle     (k − ½) / n                  1 / n
    riemann_right      k / n                        1 / n
    riemann_trapezoid  (k − 1) / (n − 1)            1 / n, halved at both ends: sum (n − 1) / n
    ================== ============================ ==========================================

    The trapezoid's weights sum to less than one: a known bias, kept because Captum has it.

    Returns:
        ``(nodes, weights)``, both float64 of shape [n_steps], nodes ascending.

    Raises:
        UsageError: unknown ``method``; ``n_steps`` not an integer, below 1, or below 2 for the trapezoid.

    Source: Captum, ``captum.attr._utils.approximation_methods`` (step sizes and alphas).
    """
    if not isinstance(method, str) or method not in _RULES:
        raise UsageError(f"unknown method {method!r}{nearest(method, METHODS)}: choose one of {', '.join(METHODS)}")
    return _RULES[method](_checked_steps(method, n_steps))


def _checked_steps(method: str, n_steps: int) -> int:
    least = 2 if method == "riemann_trapezoid" else 1
    try:
        if isinstance(n_steps, bool | np.bool_):  # operator.index takes True for 1
            raise TypeError
        steps = operator.index(n_steps)
    except TypeError:
        raise UsageError(f"n_steps is {n_steps!r}: give a whole number of path points, {least} or more") from None
    if steps < least:
        raise UsageError(f"n_steps is {steps}: {method} needs at least {least}")
    return steps


FEWEST_INTERVALS = 4  # that the nested rule begins with


def nested_levels(max_steps: int) -> Iterator[int]:
    """The numbers of intervals of the nested rule, 4, 8, 12, 16, 24, 32, 48, ..., up to ``max_steps``."""
    intervals = FEWEST_INTERVALS
    while intervals <= max_steps:
        yield intervals
        between = intervals + intervals // 2
        if intervals > FEWEST_INTERVALS and between <= max_steps:
            yield between
        intervals *= 2


def is_between(intervals: int) -> bool:
    """Whether a level of the nested rule, 12, 24, 48, ..., has every other interval of the one before halved."""
    return intervals % 3 == 0


@functools.lru_cache(maxsize=32)
def nested_points(intervals: int) -> NodesAndWeights:
    """The inner points that a level of the nested rule adds to those of the level before, and the weights of their sum.

    Of n = 4, 8, 16, ... intervals the path is cut at a_k = sin²(θ_k / 2), θ_k = kπ/n: the points of Clenshaw and
    Curtis, of which every other one is a point for n/2. With da = ½ sin θ dθ, the trapezoid rule in θ gives the inner
    point k a weight in proportion to sin θ_k. A level between, 3n/2, halves the intervals 1, 3, 5, ... of n alone: all
    points of n then have an interval halved on one side, and again the same factor. So of all points before only the
    sum is kept. The weight here is sin θ; the factors are :func:`nested_factors`'.

    Returns:
        (nodes, sin θ) of the points that are new; all inner ones for the fewest intervals, 4.
    """
    finest = 4 * intervals // 3 if is_between(intervals) else intervals
    if intervals <= 2 * FEWEST_INTERVALS:
        first, step = 1, 1 if intervals == FEWEST_INTERVALS else 2
    else:
        first, step = (1 if is_between(intervals) else 3), 4
    theta = np.arange(first, intervals if step < 4 else finest, step) * (np.pi / finest)
    return np.sin(theta / 2) ** 2, np.sin(theta)


def nested_factors(intervals: int) -> tuple[float, float, float]:
    """(b, f, c) with which ∫₀¹ g(a) da is b · Σ before + f · Σ new + c · (g(0) + g(1)), sums of sin θ_k g(a_k).

    b = f = h/2 for n intervals, h = π/n; b = 3h/8 and f = h/4 for 3n/2. c makes the weights sum to 1. For n it is
    (1 − (h/2) cot(h/2)) / 2 = h²/24 + O(h⁴), the first term of Euler and Maclaurin, which takes the trapezoid rule's
    error from O(h²) to O(h⁴). The weights of Clenshaw and Curtis, of higher order with the same points, change one by
    one from level to level: every gradient would have to be kept.
    """
    if is_between(intervals):
        half = 3 * np.pi / (4 * intervals)  # h/2 of n
        return 0.75 * half, 0.5 * half, (1 - 0.75 * half / np.tan(half) - 0.25 * half / np.sin(half)) / 2
    half = np.pi / (2 * intervals)
    return half, half, (1 - half / np.tan(half)) / 2
