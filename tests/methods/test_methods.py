"""Both methods against Captum on the torch networks, from the module and from its exported ONNX file."""

import captum.attr
import pytest
import torch

import onnx_ig
from tests.helpers.networks import NETWORKS, Network, exported

# Of the largest attribution; a ReLU that flips in float32 changes single elements, so networks with kinks are judged by
# their smooth twins and, here, against float64 noise only loosely.
TOLERANCE = {True: 1e-4, False: 5e-3}
METHODS = ("gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid")


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.fixture(scope="module", params=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> Network:
    return NETWORKS[request.param]


def test_agrees_with_captum(network: Network) -> None:
    module, inputs, extras = network.module(), network.inputs(), network.extras()
    keywords = {"target": network.target, "additional_forward_args": extras or None}
    ours = onnx_ig.InputXGradient(exported(network.name)).attribute(inputs, **keywords)
    theirs = captum.attr.InputXGradient(module).attribute(inputs, **keywords)
    tolerance = TOLERANCE[network.smooth]
    assert all(relative(a, b.detach()) < tolerance for a, b in zip(ours, theirs, strict=True))
    keywords |= {"baselines": tuple(0.1 * torch.ones_like(x[:1]) for x in inputs), "n_steps": 7}
    ours, delta = onnx_ig.IntegratedGradients(module).attribute(inputs, **keywords, return_convergence_delta=True)
    theirs, expected = captum.attr.IntegratedGradients(module).attribute(
        inputs, **keywords, return_convergence_delta=True
    )
    assert all(relative(a, b) < tolerance for a, b in zip(ours, theirs, strict=True))
    assert torch.allclose(delta, expected.float(), atol=10 * tolerance, rtol=tolerance)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("multiply_by_inputs", (True, False))
def test_quadrature_rules(method: str, multiply_by_inputs: bool) -> None:
    network = NETWORKS["two_inputs_smooth"]
    module, inputs = network.module(), network.inputs(3)
    keywords = {"target": [0, 1, 0], "n_steps": 6, "method": method, "return_convergence_delta": True}
    ours, delta = onnx_ig.IntegratedGradients(module, multiply_by_inputs).attribute(inputs, **keywords)
    theirs, expected = captum.attr.IntegratedGradients(module, multiply_by_inputs).attribute(inputs, **keywords)
    assert all(relative(a, b) < 1e-5 for a, b in zip(ours, theirs, strict=True))
    assert torch.allclose(delta, expected.float(), atol=1e-5)


@pytest.mark.parametrize("internal_batch_size", (1, 2, 5, 7, 64))
def test_internal_batch_size_changes_nothing(internal_batch_size: int) -> None:
    network = NETWORKS["mlp_smooth"]
    method, inputs = onnx_ig.IntegratedGradients(network.module()), network.inputs(3)
    whole = method.attribute(inputs, target=1, n_steps=11)
    pieces = method.attribute(inputs, target=1, n_steps=11, internal_batch_size=internal_batch_size)
    assert relative(pieces[0], whole[0]) < 1e-6


def test_noise_tunnel_wraps_it() -> None:
    network = NETWORKS["mlp_smooth"]
    module, (x,) = network.module(), network.inputs()
    results = []
    for library in (onnx_ig, captum.attr):
        torch.manual_seed(0)
        tunnel = captum.attr.NoiseTunnel(library.IntegratedGradients(module))
        results.append(tunnel.attribute(x, nt_samples=3, nt_type="smoothgrad_sq", target=1, n_steps=5))
    assert relative(*results) < 1e-5


def test_any_callable_and_bound_arguments() -> None:
    network = NETWORKS["mlp_smooth"]
    module, (x,) = network.module(), network.inputs()

    def scaled(values: torch.Tensor, weights: torch.Tensor, factor: float) -> torch.Tensor:
        return (module(values) * weights).sum(dim=1) * factor

    arguments = {"additional_forward_args": (torch.rand(2, module(x).shape[1]), 3.0)}
    ours = onnx_ig.IntegratedGradients(scaled).attribute(x, **arguments)
    assert relative(ours, captum.attr.IntegratedGradients(scaled).attribute(x, **arguments)) < 1e-5


def test_a_changed_parameter_exports_again() -> None:
    network = NETWORKS["mlp_smooth"]
    module, (x,) = network.module(), network.inputs()
    method = onnx_ig.InputXGradient(module)
    before = method.attribute(x, target=1)
    with torch.no_grad():
        next(module.parameters()).mul_(0.5)
    after = method.attribute(x, target=1)
    assert relative(after, captum.attr.InputXGradient(module).attribute(x, target=1).detach()) < 1e-5
    assert relative(before, after) > 1e-3


def test_what_comes_in_is_what_comes_out() -> None:
    network = NETWORKS["mlp_smooth"]
    module, (x,) = network.module(), network.inputs()
    x.requires_grad_()
    single = onnx_ig.InputXGradient(module).attribute(x, target=1)
    assert isinstance(single, torch.Tensor) and not single.requires_grad and x.requires_grad
    array = onnx_ig.InputXGradient(module).attribute(x.detach().numpy(), target=1)
    assert not isinstance(array, torch.Tensor) and array.dtype == single.numpy().dtype
    assert isinstance(onnx_ig.InputXGradient(module).attribute((x,), target=1), tuple)


def test_training_mode_is_refused() -> None:
    module = NETWORKS["mlp_smooth"].module().train()
    with pytest.raises(onnx_ig.OnnxIgError, match="eval"):
        onnx_ig.InputXGradient(module).attribute(NETWORKS["mlp_smooth"].inputs(), target=1)
    assert module.training
