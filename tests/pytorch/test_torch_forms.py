"""Forms of PyTorch models that its exporters need help with; torch's autograd is the oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import onnx_ig
from onnx_ig.pytorch.substitutes import _embedding_bag

_X = torch.linspace(-1, 2, 9).reshape(3, 3)
_TOKENS = torch.tensor([[1, 5, 0, 7], [0, 0, 0, 0], [2, 0, 2, 9]])
_FLAT, _OFFSETS = _TOKENS.flatten()[:9], torch.tensor([0, 2, 2, 7])


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding", [None, 0, -10])
@pytest.mark.parametrize("offsets", [None, _OFFSETS, "last"])
def test_bags_are_torchs(mode: str, padding: int | None, offsets: Any) -> None:
    weight = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    keywords: dict[str, Any] = {"mode": mode, "padding_idx": padding}
    tokens = _TOKENS if offsets is None else _FLAT
    if isinstance(offsets, str):
        keywords |= {"offsets": torch.tensor([0, 2, 2, 9]), "include_last_offset": True}
    elif offsets is not None:
        keywords["offsets"] = offsets
    if mode == "sum" and offsets is None:
        keywords["per_sample_weights"] = torch.rand(tokens.shape)
    expected = nn.functional.embedding_bag(tokens, weight, **keywords)
    torch.testing.assert_close(_embedding_bag(tokens, weight, **keywords), expected)


class _Bag(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.bag, self.out = nn.EmbeddingBag(10, 4, mode=mode), nn.Linear(7, 2)

    def forward(self, x: Tensor, *tokens: Tensor) -> Tensor:
        return self.out(torch.cat([x.sin(), self.bag(*tokens)], 1)).tanh()


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).eval()


_FORMS: dict[str, tuple[Callable[[], Any], tuple[Tensor, ...]]] = {
    "bag of a row": (lambda: _Bag("mean").eval(), (_TOKENS,)),
    "bags by offsets": (lambda: _Bag("sum").eval(), (_FLAT, torch.tensor([0, 2, 7]))),
    "scripted": (lambda: torch.jit.script(_network()), ()),
    "frozen": (lambda: torch.jit.freeze(torch.jit.script(_network())), ()),
    "traced": (lambda: torch.jit.trace(_network(), _X), ()),
}


@pytest.mark.filterwarnings("ignore:the batch size is fixed", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", sorted(_FORMS))
def test_attributions(name: str) -> None:
    make, additional = _FORMS[name]
    function = make()
    x = _X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(x, *additional)[:, 1].sum(), x)
    found = onnx_ig.InputXGradient(function).attribute(_X, target=1, additional_forward_args=additional or None)
    torch.testing.assert_close(found, _X * gradient, rtol=0, atol=1e-5)
