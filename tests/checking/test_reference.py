"""The torch reference against Captum, against what the mathematics says, and leaving the caller's module alone."""

from __future__ import annotations

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import onnx_ig
from onnx_ig.checking import reference
from onnx_ig.errors import InputError, UsageError
from onnx_ig.quadrature import METHODS
from tests.helpers.networks import NETWORKS


def _assert_close(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...], tolerance: float = 1e-6) -> None:
    """To a millionth of the largest attribution: Captum's step sizes are float32 even in float64 models."""
    assert len(actual) == len(expected)
    for ours, captums in zip(actual, expected, strict=True):
        assert ours.shape == captums.shape
        assert (ours - captums).abs().max() <= tolerance * captums.abs().max()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_equals_captum_on_every_network(name: str) -> None:
    network = NETWORKS[name]
    module, inputs = network.module(torch.float64), network.inputs(2, torch.float64)
    extras = network.extras(2)
    baselines = network.inputs(2, torch.float64, seed=5)
    common = {"target": network.target, "additional_forward_args": extras or None}
    _assert_close(
        reference.input_x_gradient(module, inputs, **common),
        captum.attr.InputXGradient(module).attribute(inputs, **common),
        tolerance=1e-10,
    )
    expected, expected_delta = captum.attr.IntegratedGradients(module).attribute(
        inputs, baselines, **common, n_steps=4, return_convergence_delta=True
    )
    actual, delta = reference.integrated_gradients(module, inputs, baselines, **common, n_steps=4)
    _assert_close(actual, expected)
    torch.testing.assert_close(delta, expected_delta, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("multiply", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_equals_captum_with_every_method(method: str, multiply: bool) -> None:
    network = NETWORKS["mlp_smooth"]
    module, inputs = network.module(torch.float64), network.inputs(3, torch.float64)
    explainer = captum.attr.IntegratedGradients(module, multiply_by_inputs=multiply)
    expected, expected_delta = explainer.attribute(
        inputs, target=2, n_steps=7, method=method, return_convergence_delta=True
    )
    actual, delta = reference.integrated_gradients(
        module, inputs, target=2, n_steps=7, method=method, multiply_by_inputs=multiply
    )
    _assert_close(actual, expected)
    torch.testing.assert_close(delta, expected_delta, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "baselines",
    [None, 0.3, torch.full((1, 12), 0.2, dtype=torch.float64), torch.ones(3, 12, dtype=torch.float64), (0.1,)],
    ids=["none", "scalar", "one", "each", "tuple"],
)
@pytest.mark.parametrize(
    "target", [1, [0, 2, 1], torch.tensor([0, 2, 1]), torch.tensor([2]), (1,), [(1,), (0,), (2,)]], ids=str
)
def test_baselines_and_targets(baselines: object, target: object) -> None:
    network = NETWORKS["mlp_smooth"]
    module, (x,) = network.module(torch.float64), network.inputs(3, torch.float64)
    expected = captum.attr.IntegratedGradients(module).attribute((x,), baselines, target=target, n_steps=3)
    _assert_close(reference.integrated_gradients(module, x, baselines, target, n_steps=3)[0], expected)


@pytest.mark.parametrize("target", [(1, 5, 7), [(1, 5, 7), (0, 2, 3)]], ids=str)
def test_targets_of_pictures(target: object) -> None:
    network = NETWORKS["unet_smooth"]
    module, inputs = network.module(torch.float64), network.inputs(2, torch.float64)
    expected = captum.attr.InputXGradient(module).attribute(inputs, target=target)
    _assert_close(reference.input_x_gradient(module, inputs, target), expected)


def test_completeness_holds_with_many_steps() -> None:
    network = NETWORKS["two_inputs_smooth"]
    _, delta = reference.integrated_gradients(
        network.module(), network.inputs(3), target=1, n_steps=60, dtype=torch.float64
    )
    assert delta.dtype == torch.float64
    assert delta.abs().max() < 1e-9


def test_verify_states_errors_relative_to_the_same() -> None:
    network = NETWORKS["mlp_smooth"]
    module, (x,) = network.module(), network.inputs(3)
    report = onnx_ig.verify(module, inputs=100 * x, target=1, n_steps=5, samples=0)  # scores of more than one
    assert report.passed and len(report.rows) == 3
    assert all(row.median_relative_error <= row.max_relative_error for row in report.rows)


def test_a_linear_model_is_exact() -> None:
    weight = torch.tensor([2.0, -3.0, 0.5])
    x, start = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.5, 0.5, 0.5]])
    (actual,), delta = reference.integrated_gradients(lambda v: v @ weight, x, start, n_steps=1)
    torch.testing.assert_close(actual, weight * (x - start))
    torch.testing.assert_close(delta, torch.zeros(1))


def test_float64_leaves_the_module_alone() -> None:
    module = NETWORKS["lenet"].module()
    before = {name: (value.dtype, value.clone()) for name, value in module.state_dict().items()}
    (x,) = NETWORKS["lenet"].inputs()
    (attribution,), _ = reference.integrated_gradients(module, x, target=1, n_steps=2, dtype=torch.float64)
    assert attribution.dtype == torch.float64
    for name, value in module.state_dict().items():
        assert value.dtype == before[name][0]
        assert torch.equal(value, before[name][1])
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.get_default_dtype() == torch.float32


class _IgnoresTheSecond(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a**2).sum(1)


def test_an_input_without_influence_gets_zeros() -> None:
    a, b = torch.randn(2, 3), torch.randn(2, 4)
    (to_a, to_b), delta = reference.integrated_gradients(_IgnoresTheSecond(), (a, b), n_steps=3)
    torch.testing.assert_close(to_a, a**2)
    assert torch.equal(to_b, torch.zeros(2, 4))
    assert delta.abs().max() < 1e-5


def test_arrays_and_lists_of_inputs_are_taken() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    (actual,) = reference.input_x_gradient(lambda v: (v**2).sum(1), x)
    np.testing.assert_allclose(actual.numpy(), 2 * x**2, rtol=1e-6)


_X = torch.randn(2, 3)


@pytest.mark.parametrize(
    ("keywords", "error", "said"),
    [
        ({"target": 3}, InputError, r"target \(3,\) is outside"),
        ({"target": -1}, InputError, "outside"),
        ({"target": None}, InputError, "leaves"),
        ({"target": [0, 1, 2]}, InputError, "3 targets for 2 examples"),
        ({"target": 0, "baselines": torch.zeros(2, 4)}, InputError, "does not fit"),
        ({"target": 0, "method": "simpson"}, UsageError, "unknown method"),
        ({"target": 0, "method": "riemann_trapezoid", "n_steps": 1}, UsageError, "too few"),
        ({"target": 0, "dtype": torch.float64}, UsageError, "give an nn.Module"),
    ],
)
def test_what_is_refused(keywords: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        reference.integrated_gradients(lambda v: torch.sin(v), _X, **keywords)
