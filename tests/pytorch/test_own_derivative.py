"""Models whose gradient in torch is not the derivative of what they compute: a warning, since ONNX cannot tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import onnx_ig
from onnx_ig.pytorch.own_derivative import own_derivatives


class _Sign(torch.autograd.Function):
    """The sign, passed straight through by the backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.sign(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        return dy


def _constant_norm(x: Tensor) -> Tensor:
    with torch.no_grad():
        norm = x.norm(dim=1, keepdim=True)
    return x / norm


_TABLE = nn.Embedding(2, 4)


def _placed(x: Tensor) -> Tensor:
    """Adds constants that come from a parameter."""
    with torch.no_grad():
        places = _TABLE(torch.arange(2))
    return x + places


def _hooked(x: Tensor) -> Tensor:
    hidden = x.tanh()
    if hidden.requires_grad:
        hidden.register_hook(lambda gradient: gradient * 3)
    return hidden


def _counted(x: Tensor) -> Tensor:
    """Writes into what it is given, and makes tensors that have no gradient."""
    x += torch.ones_like(x) * x.argmax(dim=1, keepdim=True)
    return x.tanh()


MODELS: dict[str, tuple[Callable[[Tensor], Tensor], str | None]] = {
    "a tensor detached": (lambda x: x / x.norm(dim=1, keepdim=True).detach(), "Tensor.detach"),
    "a tensor's data": (lambda x: x * x.data, "Tensor.data"),
    "rounding passed straight through": (lambda x: x + (x.round() - x).detach(), "Tensor.detach"),
    "a part without gradients": (_constant_norm, "norm without gradients"),
    "a backward of its own": (lambda x: _Sign.apply(x) + x, "_Sign.backward"),
    "a hook on a tensor": (_hooked, "Tensor.register_hook"),
    "an ordinary model": (_counted, None),
    "a parameter used without gradients": (_placed, None),
    "a model that autograd refuses": (lambda x: x.tanh().numpy() and x, None),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_changes_the_gradient_is_named(name: str) -> None:
    function, expected = MODELS[name]
    found = own_derivatives(lambda x: function(x).sum(dim=1), [torch.randn(2, 4)])
    assert any(expected in entry for entry in found) if expected else not found


def test_the_method_warns() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=1)).eval()
    method = onnx_ig.InputXGradient(lambda x: module(x / x.norm(dim=1, keepdim=True).detach()), provider="cpu")
    with pytest.warns(onnx_ig.OnnxIgWarning, match=re.escape("changes its own gradient (torch.Tensor.detach)")):
        method.attribute(torch.randn(2, 4), target=1)


class _Switched(nn.Module):
    """One function of x in each of its ways; its gradient is the derivative in the first alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.part, self.way = nn.Linear(4, 3), nn.Tanh(), "plain"

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.part(x)
        if self.way == "detached":
            hidden = hidden.detach()
        elif self.way == "without gradients":
            with torch.no_grad():
                hidden = hidden * 1
        elif self.way == "backward of its own":
            hidden = _Same.apply(hidden)
        elif self.way == "hook on a tensor" and hidden.requires_grad:
            hidden.register_hook(lambda gradient: gradient * 0)
        return self.linear(hidden + x)


class _Same(torch.autograd.Function):
    """The identity, without a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        return 0 * dy


@pytest.mark.parametrize("kind", [onnx_ig.InputXGradient, onnx_ig.IntegratedGradients])
def test_a_change_of_the_gradient_alone_is_told_when_it_is_made(kind: Any, recwarn: pytest.WarningsRecorder) -> None:
    """By every object, on every call; the values that are compared are the same before and after."""
    module, x = _Switched().eval(), torch.randn(3, 4)
    method = kind(module, provider="cpu")
    expected = method.attribute(x, target=1)
    assert not recwarn.list
    for way, named in {
        "detached": "Tensor.detach",
        "without gradients": "without gradients",
        "backward of its own": "_Same.backward",
        "hook on a tensor": "Tensor.register_hook",
    }.items():
        module.way = way
        for each in (method, method, kind(module, provider="cpu")):
            with pytest.warns(onnx_ig.OnnxIgWarning, match=f"changes its own gradient .*{named}"):
                torch.testing.assert_close(each.attribute(x, target=1), expected, rtol=1e-4, atol=1e-5)
    module.way = "plain"
    method.attribute(x, target=1)
    assert not recwarn.list
    module.part.register_full_backward_hook(lambda *_: None)
    with pytest.warns(onnx_ig.OnnxIgWarning, match="changes its own gradient"):
        method.attribute(x, target=1)
