"""Whatever changes the function between two calls, the answer is of the function that is called: Captum's."""

from __future__ import annotations

import itertools
import sys
import types
from collections.abc import Callable
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import onnx_ig
from onnx_ig.methods.pytorch.exports import Exports

_X = torch.tensor([[0.3, -0.7, 0.0], [1.1, 0.4, 0.0]])  # nothing that the third weight does is seen at the inputs
_ELSEWHERE = types.ModuleType("onnx_ig_test_elsewhere")
sys.modules[_ELSEWHERE.__name__] = _ELSEWHERE
GLOBAL_FACTOR = 1.5


class _Net(nn.Module):
    shared: nn.Module  # a class attribute

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.register_buffer("mean", torch.full((4,), 0.1))
        self.power, self.bias = 1.0, torch.full((4,), 0.2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.linear(x) - self.mean) * self.power + self.bias
        return hidden + _Net.shared(hidden)


class _World:
    """A function of one argument and of everything else that a function may depend on."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        _Net.shared, _ELSEWHERE.head = nn.Linear(4, 4).eval(), nn.Linear(4, 3).eval()
        self.net = _Net().eval()
        self.scale, self.settings, self.activations = 1.0, {"shift": 0.5}, [torch.sigmoid]
        self.offsets = np.array([0.1, 0.2, 0.3], np.float32)
        self.loop_variable = 1

    def function(self) -> Callable[[Tensor], Tensor]:
        world = self

        def call(x: Tensor, weights: list[float] = [1.0, 2.0, 3.0]) -> Tensor:  # noqa: B006
            hidden = world.net(x) * world.scale * world.loop_variable * GLOBAL_FACTOR
            result = _ELSEWHERE.head(hidden) + world.settings["shift"] * hidden[:, :3]
            return world.activations[0](result) * torch.tensor(weights) + torch.from_numpy(world.offsets) * x

        return call


def _step(module: nn.Module) -> None:
    optimiser = torch.optim.SGD(module.parameters(), lr=0.5)
    module(torch.ones(1, 4)).sum().backward()
    optimiser.step()


def _edit(array: Any, change: Callable[[Any], Any]) -> None:
    array[...] = change(array)


def _replaced_forward(net: nn.Module) -> None:
    before = net.forward
    net.forward = lambda x: before(x) * 0.5  # type: ignore[method-assign]


def _third_weight(world: _World) -> None:
    """Seen in no output where the third input is zero, but in the gradient."""
    world.net.linear.weight.data[:, 2] += 1.0


CHANGES: dict[str, Callable[[_World, Any], Any]] = {
    "nothing": lambda world, call: None,
    "weight.data edited": lambda world, call: world.net.linear.weight.data.mul_(0.5),
    "one column of weight.data edited": lambda world, call: _third_weight(world),
    "weight.data replaced": lambda world, call: setattr(world.net.linear.weight, "data", torch.rand(4, 3)),
    "vector_to_parameters": lambda world, call: nn.utils.vector_to_parameters(
        torch.linspace(-1, 1, 16), world.net.linear.parameters()
    ),
    "a weight edited through NumPy": lambda world, call: _edit(world.net.linear.weight.detach().numpy(), np.negative),
    "a parameter replaced": lambda world, call: setattr(world.net.linear, "weight", nn.Parameter(torch.rand(4, 3))),
    "load_state_dict": lambda world, call: world.net.load_state_dict(_Net().state_dict()),
    "a buffer's data": lambda world, call: world.net.mean.data.add_(0.5),
    "a number of a module": lambda world, call: setattr(world.net, "power", 0.7),
    "a tensor of a module": lambda world, call: setattr(world.net, "bias", torch.ones(4)),
    "a tensor of a module, edited": lambda world, call: world.net.bias.data.mul_(3),
    "a forward hook": lambda world, call: world.net.linear.register_forward_hook(lambda m, x, y: y * 2),
    "a forward pre-hook": lambda world, call: world.net.register_forward_pre_hook(lambda m, x: (x[0] + 1,)),
    "forward replaced": lambda world, call: _replaced_forward(world.net),
    "a part replaced": lambda world, call: setattr(world.net, "linear", nn.Linear(3, 4).eval()),
    "a loop variable": lambda world, call: setattr(world, "loop_variable", 2),
    "a global": lambda world, call: globals().__setitem__("GLOBAL_FACTOR", 0.8),
    "an attribute of an object": lambda world, call: setattr(world, "scale", 0.6),
    "a setting in a dict": lambda world, call: world.settings.update(shift=-1.0),
    "another activation": lambda world, call: world.activations.__setitem__(0, torch.sin),
    "a default argument": lambda world, call: call.__defaults__[0].__setitem__(0, 5.0),
    "a NumPy array": lambda world, call: _edit(world.offsets, np.cumsum),
    "a step on a module of an imported module": lambda world, call: _step(_ELSEWHERE.head),
    "a step on a class's module": lambda world, call: _step(_Net.shared),
}


@pytest.fixture(scope="module")
def explained() -> tuple[_World, Any, onnx_ig.IntegratedGradients, onnx_ig.InputXGradient]:
    world = _World()
    call = world.function()
    return world, call, onnx_ig.IntegratedGradients(call, multiply_by_inputs=False), onnx_ig.InputXGradient(call)


def _largest_difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("change", CHANGES)
def test_the_function_that_is_called_is_explained(
    explained: tuple[_World, Any, onnx_ig.IntegratedGradients, onnx_ig.InputXGradient], change: str
) -> None:
    """Each change is made on top of those before it, after all of them were explained."""
    world, call, integrated, gradient = explained
    CHANGES[change](world, call)
    theirs = captum.attr.InputXGradient(call).attribute(_X, target=1).detach()
    assert _largest_difference(gradient.attribute(_X, target=1), theirs) < 1e-4
    theirs = captum.attr.IntegratedGradients(call, False).attribute(_X, 0.1, target=1, n_steps=5)
    assert _largest_difference(integrated.attribute(_X, 0.1, target=1, n_steps=5), theirs.float()) < 1e-4


def _bump(x: Tensor) -> Tensor:
    """Beside the path from 0 to the first row of _X at one point alone."""
    return torch.exp(-60 * (x - 0.7 * _X[0]).square().sum(1))


# A function of x and of a number k that is changed from one to another; what is explained is its second output.
_HIDDEN: dict[str, tuple[Callable[[Tensor, float], list[Tensor]], Tensor, float]] = {
    "beside an output a million times as large": (lambda x, k: [1e6 * x.sum(1), k * x.sin().sum(1)], _X, 1.001),
    "beside a constant a million times as large": (lambda x, k: [1e6 + 0 * x[:, 0], k * x.sin().sum(1)], _X, 1.5),
    "beside an example a million times as large": (
        lambda x, k: [x.sum(1), k * x.sin().sum(1) + x[:, 1] ** 2],
        _X * torch.tensor([[1.0], [1000.0]]),
        1.5,
    ),
    "beside an output that is NaN": (lambda x, k: [torch.log(-x.abs().sum(1)), k * x.sin().sum(1)], _X, 1.5),
    "by a ten-thousandth": (lambda x, k: [x.sum(1), k * torch.tanh(x).sum(1)], _X, 1.0001),
    "between the ends of the path": (lambda x, k: [x.sum(1), x.tanh().sum(1) + k * (x * (x - 1.1)).sum(1)], _X, 2.0),
    "at some points of the path": (lambda x, k: [x.sum(1), x.tanh().sum(1) + k * _bump(x)], _X[:1], 2.0),
    "beside the path alone": (lambda x, k: [x.sum(1), x.sum(1) + k * (x[:, 0] / 0.3 + x[:, 1] / 0.7)], _X[:1], 2.0),
    "to NaN": (lambda x, k: [x.sum(1), k * x.sin().sum(1)], _X, float("nan")),
}


@pytest.mark.filterwarnings("ignore:the attributions of")
@pytest.mark.parametrize("case", _HIDDEN)
def test_what_the_rest_of_the_output_hides_is_seen(case: str) -> None:
    outputs, x, other = _HIDDEN[case]
    world = types.SimpleNamespace(k=1.0)

    def call(x: Tensor) -> Tensor:
        return torch.stack(outputs(x, world.k), 1)

    methods = (onnx_ig.IntegratedGradients(call), onnx_ig.InputXGradient(call))
    for k in (1.0, other):
        world.k = k
        found = (methods[0].attribute(x, target=1, n_steps=5), methods[1].attribute(x, target=1))
        theirs = (
            captum.attr.IntegratedGradients(call).attribute(x, target=1, n_steps=5).float(),
            captum.attr.InputXGradient(call).attribute(x, target=1).detach(),
        )
        for ours, wanted in zip(found, theirs, strict=True):
            if np.isfinite(k):
                own = wanted.abs().amax(1, keepdim=True)
                assert float(((ours - wanted).abs() / own).max()) < 2e-5
            else:
                assert ours.isnan().all()


class _Saturated(nn.Module):
    """F of most rows is rounding beside that of the others."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 3, bias=False, dtype=dtype)
        self.register_buffer("sizes", torch.tensor([1e4, 1.0, 1e-3], dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return (1 - torch.sigmoid(40 * self.layer(x))) * self.sizes


@pytest.mark.filterwarnings("ignore:the model holds bfloat16", "ignore:the attributions of")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rounding_is_no_other_function(dtype: torch.dtype) -> None:
    """What is explained nearly vanishes: no refusal, and no export again and again."""
    module = _Saturated(dtype).eval()
    methods = (onnx_ig.IntegratedGradients(module), onnx_ig.InputXGradient(module))
    rng = torch.Generator().manual_seed(0)
    data = [(scale * torch.randn(8, 3, generator=rng)).to(dtype) for scale in (1.0, 0.01, 5.0, 1e-4)]
    kept = []
    for _ in range(2):
        for x, method, target in itertools.product(data, methods, (1, 2)):
            assert method.attribute(x, target=target).isfinite().all()
        kept.append(list(Exports.of(module)._kept))
    assert kept[0] == kept[1] and len(kept[0]) == 1
