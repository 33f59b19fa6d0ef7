"""Recurrent layers over packed sequences, exported as ONNX's operators with lengths; torch's autograd is the oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import onnx_ig
from onnx_ig.errors import InputError, ModelError

LENGTHS = torch.tensor([3, 5, 1])
X = torch.linspace(-2, 2, 3 * 5 * 2).sin().reshape(3, 5, 2)


class Packed(nn.Module):
    """``read`` of what ``layer`` gives for the packed x [N, T, 2], or [T, N, 2] inside where not ``batch_first``."""

    def __init__(self, layer: nn.RNNBase, read: Callable[..., Tensor], **packing: Any) -> None:
        super().__init__()
        self.layer, self.read = layer, read
        self.packing = {"batch_first": layer.batch_first, "enforce_sorted": False, **packing}

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        given = x if self.layer.batch_first else x.transpose(0, 1)
        packed = pack_padded_sequence(given, lengths.cpu(), **self.packing)
        return self.read(self.layer, x, *self.layer(packed))


def layer(kind: Any, **options: Any) -> nn.RNNBase:
    torch.manual_seed(0)
    made: nn.RNNBase = kind(2, 3, **{"batch_first": True, **options})
    return made


def last(layer: nn.RNNBase, x: Tensor, packed: PackedSequence, state: Any) -> Tensor:
    """The last state of every layer and direction; of an LSTM with its cells."""
    return torch.cat([*state[0], *state[1]] if isinstance(state, tuple) else list(state), -1)


def longest(layer: nn.RNNBase, x: Tensor, packed: PackedSequence, state: Any) -> Tensor:
    """A mean, of the sum over as many steps as the longest sequence has."""
    y, lengths = pad_packed_sequence(packed, batch_first=True)
    return y.square().sum(1) / lengths[:, None]


def whole(layer: nn.RNNBase, x: Tensor, packed: PackedSequence, state: Any) -> Tensor:
    """Every step, those behind a sequence too, padded with a value."""
    y, _ = pad_packed_sequence(packed, layer.batch_first, -1.0, x.shape[1])
    return (y if layer.batch_first else y.transpose(0, 1)).flatten(1)


def own_data(layer: nn.RNNBase, x: Tensor, packed: PackedSequence, state: Any) -> Tensor:
    """What is computed between, on the packed data alone, as dropout and embeddings are."""
    changed = PackedSequence(packed.data.tanh() + 1, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
    return pad_packed_sequence(changed, batch_first=True)[0].sum(1)


CASES: dict[str, Callable[[], nn.Module]] = {
    "lstm, two layers both ways, last": lambda: Packed(layer(nn.LSTM, num_layers=2, bidirectional=True), last),
    "lstm without bias, whole": lambda: Packed(layer(nn.LSTM, bias=False), whole),
    "gru both ways, last": lambda: Packed(layer(nn.GRU, bidirectional=True), last),
    "gru by steps, whole": lambda: Packed(layer(nn.GRU, batch_first=False, num_layers=2), whole),
    "rnn, longest": lambda: Packed(layer(nn.RNN), longest),
    "rnn of relu, own data": lambda: Packed(layer(nn.RNN, nonlinearity="relu", bidirectional=True), own_data),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_torchs(name: str) -> None:
    module = CASES[name]().eval()
    x = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(x, LENGTHS)[:, 2].sum(), x)
    found = onnx_ig.InputXGradient(module).attribute(X, target=2, additional_forward_args=LENGTHS)
    torch.testing.assert_close(found, (X * gradient).detach(), rtol=0, atol=1e-6)


def over_the_longest(layer: nn.RNNBase, x: Tensor, packed: PackedSequence, state: Any) -> Tensor:
    return pad_packed_sequence(packed, batch_first=True)[0].mean(1)


def beside_all_steps(layer: nn.RNNBase, x: Tensor, packed: PackedSequence, state: Any) -> Tensor:
    return state[-1] + packed.data.mean(0)


def over_all_steps(layer: nn.RNNBase, x: Tensor, packed: PackedSequence, state: Any) -> Tensor:
    return packed.data.mean(0, keepdim=True)


@pytest.mark.filterwarnings("ignore:the batch size is fixed")
@pytest.mark.parametrize("read", [over_the_longest, beside_all_steps, over_all_steps])
def test_means_over_what_other_sequences_decide_mix_them(read: Callable[..., Tensor]) -> None:
    with pytest.raises(InputError, match=r"the model mixes examples: .*batch_axis=None"):
        onnx_ig.InputXGradient(Packed(layer(nn.GRU), read).eval()).attribute(
            X, target=1, additional_forward_args=LENGTHS
        )


class Started(nn.Module):
    """An encoder, sorted as it is given, whose states start a decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = layer(nn.LSTM), layer(nn.LSTM)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True)
        _, state = self.encoder(packed)
        return self.decoder(packed, state)[1][0][-1]


def test_path_points_ride_along() -> None:
    """Sequences are sorted by length, and brought back in order, among examples and path points together."""
    order = LENGTHS.argsort(descending=True)
    for module, rows in ((Packed(layer(nn.LSTM), last).eval(), slice(None)), (Started().eval(), order)):
        x, lengths = X[rows], LENGTHS[rows]
        points = [(0.5 + k) / 16 for k in range(16)]
        total = torch.zeros_like(x)
        for a in points:
            at = (a * x).requires_grad_()
            total += torch.autograd.grad(module(at, lengths)[:, 1].sum(), at)[0] / len(points)
        found = onnx_ig.IntegratedGradients(module).attribute(
            x, target=1, additional_forward_args=lengths, n_steps=16, method="riemann_middle", internal_batch_size=12
        )
        torch.testing.assert_close(found, x * total, rtol=0, atol=1e-6)


def test_layers_without_an_operator_are_refused_with_what_to_do() -> None:
    module = Packed(layer(nn.LSTM, proj_size=2), last).eval()
    with pytest.raises(ModelError, match=r"proj_size.*(.|\n)*packed sequences: .*gather its steps at lengths - 1"):
        onnx_ig.InputXGradient(module).attribute(X, target=1, additional_forward_args=LENGTHS)


def test_compilers_see_torchs_own_functions() -> None:
    """What stands in for them in exports is nothing that torch.jit can compile."""
    onnx_ig.load(nn.Linear(2, 1), example_inputs=X[:, 0])
    scripted = torch.jit.script(nn.EmbeddingBag(4, 2)), torch.jit.script(layer(nn.GRU))
    assert all(isinstance(module, torch.jit.ScriptModule) for module in scripted)
