"""Training mode is refused where it changes the model's result, and nowhere else."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from captum.attr import configure_interpretable_embedding_layer, remove_interpretable_embedding_layer
from torch import Tensor, nn

from onnx_ig import InputXGradient
from onnx_ig.errors import InputError, ModelError
from onnx_ig.pytorch.source import find_modules
from onnx_ig.pytorch.training import call_judged

_X = torch.linspace(-1, 2, 8).reshape(2, 4)


def _random() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))


class _Function(nn.Module):
    """A module in training mode whose forward is ``function(self, x)``."""

    def __init__(self, function: Callable[[Any, Tensor], Any], *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)
        self.register_buffer("mean", torch.ones(4))

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


class _Asks(_Function):
    """One that knows its mode."""

    def forward(self, x: Tensor) -> Any:
        return self.function(self.training, x)


def _unused() -> nn.Module:
    return _Function(lambda self, x: self.parts[0](x), nn.Linear(4, 2), _random())


def _eval_inside(net: nn.Module) -> nn.Module:
    net.eval()
    return net


def _in_a_closure(net: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: net(x) * 2


def _frozen() -> Any:
    return torch.jit.freeze(torch.jit.trace(_random().eval(), _X))


_SAME: dict[str, Callable[[], Any]] = {
    "plain": lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
    "wrapped": lambda: nn.Sequential(_eval_inside(_random()), nn.Softmax(1)),
    "data-parallel": lambda: nn.DataParallel(_eval_inside(_random())),
    "dropout-0": lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.0)),
    "normalised-by-the-example": lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.InstanceNorm1d(2), nn.Flatten()),
    "lstm-of-one-layer": lambda: _Function(lambda self, x: self.parts[0](x[None])[0][0], nn.LSTM(4, 2)),
    "attention": lambda: _Function(
        lambda self, x: self.parts[0](x[:, None])[:, 0], nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0)
    ),
    "not-on-the-path": _unused,
    "asks-in-vain": lambda: _Asks(lambda training, x: F.dropout(x, 0.0, training) * 3),
    "asks-in-vain-in-a-closure": lambda: _in_a_closure(_Asks(lambda training, x: x if training else x * 1.0)),
    "draws-in-vain": lambda: _Asks(lambda training, x: x.sin() if training and torch.rand(()) < 0 else x.cos()),
    "frozen": _frozen,
}

_CHANGED: dict[str, tuple[Callable[[], Any], str]] = {
    "dropout": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.1)), r"\(model\.1, a Dropout\).*draws random"),
    "batch-statistics": (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), r"\(model\.1, a BatchNorm1d\)"),
    "functional-batch-norm": (
        lambda: _Function(lambda self, x: F.batch_norm(x, self.mean, self.mean, training=True)),
        "statistics of the batch",
    ),
    "instance-statistics": (
        lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten()),
        "InstanceNorm1d",
    ),
    "rrelu": (nn.RReLU, r"RReLU.*random"),
    "lstm": (
        lambda: _Function(lambda self, x: self.parts[0](x[None])[0][0], nn.LSTM(4, 2, 2, dropout=0.1)),
        r"parts\.0, a LSTM",
    ),
    "attention": (
        lambda: _Function(lambda self, x: self.parts[0](x[:, None])[:, 0], nn.TransformerEncoderLayer(4, 2, 8)),
        "random",
    ),
    "spectral-norm": (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 2)), "statistics"),
    "in-a-closure": (lambda: _in_a_closure(_random()), "training mode"),
    "asks": (lambda: _Asks(lambda training, x: x * 2 if training else x), r"_Asks\), and what it computes"),
    "asks-in-a-closure": (lambda: _in_a_closure(_Asks(lambda t, x: x * 2 if t else x)), "what it computes"),
    "returns-more": (lambda: _Asks(lambda training, x: (x, x) if training else x), "what it computes"),
    "layer-drop": (lambda: _Asks(lambda t, x: x if t and torch.rand(()) < 0.01 else x.sin()), "draws random"),
}


@pytest.mark.parametrize("name", sorted(_SAME))
def test_training_mode_without_effect(name: str) -> None:
    function = _SAME[name]()
    expected = function(_X)
    found = call_judged(function, [_X], None)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", sorted(_CHANGED))
def test_training_mode_with_effect_is_refused(name: str) -> None:
    """And judging it changes nothing, neither modes nor statistics."""
    make, said = _CHANGED[name]
    function = make()
    modules = [module for _, module in find_modules(function)]
    before = [(m.training, copy.deepcopy(m.state_dict())) for m in modules]
    with pytest.raises(ModelError, match=said + r".*call \.eval\(\)"):
        call_judged(function, [_X], 0 if name == "returns-more" else None)
    for module, (mode, state) in zip(modules, before, strict=True):
        assert module.training == mode
        assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def test_randomness_in_eval_mode_is_refused() -> None:
    with pytest.raises(ModelError, match=r"aten\.bernoulli.*though in eval mode"):
        call_judged(lambda x: F.dropout(x, 0.5), [_X], None)
    result = call_judged(lambda x: (x.sin(), torch.randn_like(x)), [_X], 0)
    assert torch.equal(result[0], _X.sin())


def test_what_the_model_raises_is_no_matter_of_its_mode() -> None:
    with pytest.raises(InputError, match="fails on these arguments"):
        call_judged(nn.Sequential(nn.Linear(3, 2)), [_X], None)


class _Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(9, 4), nn.Linear(4, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(torch.tanh(self.embedding(tokens)).mean(1))


@pytest.mark.parametrize("name", ["dropout-0", "embedding"])
def test_attributions_in_training_mode(name: str) -> None:
    """x · ∂F/∂x by autograd in float64, of modules whose mode is training and has no effect."""
    if name == "embedding":
        net = _Text().eval()
        double = copy.deepcopy(net).double()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Captum remarks that it replaces the layer
            layer = configure_interpretable_embedding_layer(net, "embedding")
        x = layer.indices_to_embeddings(torch.tensor([[1, 5, 8], [2, 2, 0]])).detach()
        expected_of = lambda e: double.out(torch.tanh(e).mean(1))  # noqa: E731
    else:
        net, x = _SAME[name](), _X
        expected_of = copy.deepcopy(net).double()
    wide = x.double().requires_grad_()
    (gradient,) = torch.autograd.grad(expected_of(wide)[:, 1].sum(), wide)
    torch.testing.assert_close(
        InputXGradient(net).attribute(x, target=1), (wide * gradient).detach().float(), rtol=0, atol=1e-5
    )
    assert net.training == (name != "embedding")
    if name == "embedding":
        remove_interpretable_embedding_layer(net, layer)
