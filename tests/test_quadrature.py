"""The quadrature rules: equal to Captum's, exact where the mathematics says so, and refused when misnamed."""

from __future__ import annotations

import numpy as np
import pytest
from captum.attr._utils.approximation_methods import approximation_parameters

from onnx_ig.errors import UsageError
from onnx_ig.quadrature import METHODS, path_nodes_and_weights


@pytest.mark.parametrize("n_steps", [2, 3, 4, 5, 7, 10, 16, 31, 50, 64, 100, 257, 500])
@pytest.mark.parametrize("method", METHODS)
def test_equals_captum(method: str, n_steps: int) -> None:
    step_sizes, alphas = approximation_parameters(method)
    nodes, weights = path_nodes_and_weights(method, n_steps)
    assert nodes.dtype == weights.dtype == np.float64
    assert nodes.shape == weights.shape == (n_steps,)
    np.testing.assert_allclose(nodes, alphas(n_steps), rtol=0, atol=1e-7)
    np.testing.assert_allclose(weights, step_sizes(n_steps), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("method", "node"),
    [("gausslegendre", 0.5), ("riemann_left", 0), ("riemann_middle", 0.5), ("riemann_right", 1)],
)
def test_a_single_step(method: str, node: float) -> None:
    nodes, weights = path_nodes_and_weights(method, 1)
    assert nodes.tolist() == [node]
    assert weights.tolist() == [1]


@pytest.mark.parametrize("n_steps", [1, 2, 5, 20])
def test_gauss_legendre_is_exact_to_degree_two_n_minus_one(n_steps: int) -> None:
    nodes, weights = path_nodes_and_weights("gausslegendre", n_steps)
    degrees = np.arange(2 * n_steps)
    np.testing.assert_allclose((weights * nodes ** degrees[:, None]).sum(1), 1 / (degrees + 1), rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_weights_sum(method: str) -> None:
    _, weights = path_nodes_and_weights(method, 20)
    assert weights.sum() == pytest.approx(19 / 20 if method == "riemann_trapezoid" else 1, abs=1e-14)


def test_the_default_is_captums() -> None:
    for default, expected in zip(path_nodes_and_weights(), path_nodes_and_weights("gausslegendre", 50), strict=True):
        np.testing.assert_array_equal(default, expected)


@pytest.mark.parametrize(
    ("method", "n_steps", "said"),
    [
        ("gauslegendre", 50, "did you mean gausslegendre"),
        ("trapezoid", 50, "did you mean riemann_trapezoid"),
        ("simpson", 50, "choose one of gausslegendre, riemann_left"),
        (None, 50, "unknown method None"),
        ("gausslegendre", 0, "at least 1"),
        ("riemann_left", -3, "at least 1"),
        ("riemann_trapezoid", 1, "at least 2"),
        ("gausslegendre", 5.0, "whole number"),
        ("gausslegendre", True, "whole number"),
        ("gausslegendre", "50", "whole number"),
    ],
)
def test_what_is_refused(method: str, n_steps: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        path_nodes_and_weights(method, n_steps)


def test_numpy_integers_are_whole_numbers() -> None:
    assert len(path_nodes_and_weights("riemann_left", np.int64(4))[0]) == 4
