"""Packed sequences in exports: padded ones beside their lengths, which ONNX's recurrent operators take as they are.

The one idea: torch packs sequences of different lengths into data without padding, whose size depends on the lengths'
values and which no exporter follows. In an export the data stay padded, [T, B, ...] as T·B rows, the lengths go along
where torch counts the sequences of each step, and the layers become ONNX's LSTM, GRU and RNN with sequence_lens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import SymInt, Tensor, nn

from onnx_ig.errors import ModelError
from onnx_ig.pytorch.quiet import in_exports

# torch's gates, each H rows of a weight, in the order in which ONNX has them
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
_AT_LEAST = 1  # a lower bound of the longest length, which in an export is no number


class _Lengths:
    """What stands for ``PackedSequence.batch_sizes``: the lengths [B] of sequences padded to ``steps`` T."""

    device = torch.device("cpu")  # a PackedSequence insists

    def __init__(self, lengths: Tensor, steps: int | SymInt) -> None:
        self.lengths, self.steps = lengths, steps

    def __getitem__(self, step: Literal[0]) -> int | SymInt:
        """How many sequences have a first step: all, B."""
        return self.lengths.shape[0]

    def size(self, axis: Literal[0]) -> int:
        return _AT_LEAST

    def to(self, *_: Any, **__: Any) -> _Lengths:
        return self

    def padded(self, data: Tensor) -> Tensor:
        """``data`` [T·B, ...] as [T, B, ...]."""
        return data.reshape(self.steps, self.lengths.shape[0], *data.shape[1:])


def _pack(padded: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, _Lengths]:
    """``padded`` [T, B, ...], or [B, T, ...] if ``batch_first``, as T·B rows."""
    steps_first = padded.transpose(0, 1) if batch_first else padded
    return steps_first.reshape(-1, *steps_first.shape[2:]), _Lengths(lengths, steps_first.shape[0])


def _unpack(
    data: Tensor, sizes: _Lengths, batch_first: bool, padding_value: float, total: int | SymInt
) -> tuple[Tensor, Tensor]:
    """[T', B, ...] with ``padding_value`` behind each sequence, and the lengths; T' the longest, or ``total``."""
    padded, steps = sizes.padded(data), sizes.steps
    inside = torch.arange(steps, device=data.device)[:, None] < sizes.lengths[None].to(data.device)
    padded = torch.where(inside.reshape(*inside.shape, *[1] * (padded.dim() - 2)), padded, padding_value)
    if isinstance(total, int) and total == _AT_LEAST:
        longest = sizes.lengths.max().item()
        torch._check(longest >= 1)
        torch._check(longest <= steps)
        padded = padded.narrow(0, 0, longest)
    elif total != steps:
        padded = F.pad(padded, [0, 0] * (padded.dim() - 1) + [0, total - steps], value=padding_value)
    return padded.transpose(0, 1) if batch_first else padded, sizes.lengths


def _recurrent(
    operator: Literal["LSTM", "GRU", "RNN"],
    data: Tensor,
    sizes: _Lengths,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    biased: bool,
    layers: int,
    directions: int,
    attributes: dict[str, Any],
) -> tuple[Tensor, ...]:
    """Layers of ``operator`` over ``data`` [T·B, I]: Y [T·B, D·H], and each of ``states`` [L·D, B, H] at the end."""
    x, each, count = sizes.padded(data), 4 if biased else 2, sizes.lengths.shape[0]
    hidden, gates = states[0].shape[-1], _GATES[operator]
    lengths = sizes.lengths.to(data.device, torch.int32)
    ends: list[list[Tensor]] = [[] for _ in states]
    for layer in range(layers):
        own = [weights[each * (layer * directions + d) :][:each] for d in range(directions)]
        first = slice(layer * directions, (layer + 1) * directions)
        w, r, *b = (torch.stack([_in_order(part[k], gates, hidden) for part in own]) for k in range(each))
        y, *last = torch.onnx.ops.symbolic_multi_out(
            operator,
            [x, w, r, torch.cat(b, 1) if b else None, lengths, *(state[first] for state in states)],
            {"hidden_size": hidden, "direction": "bidirectional" if directions == 2 else "forward", **attributes},
            dtypes=[x.dtype] * (1 + len(states)),
            shapes=[(sizes.steps, directions, count, hidden), *[(directions, count, hidden)] * len(states)],
        )
        x = y.transpose(1, 2).reshape(sizes.steps, count, directions * hidden)
        for end, value in zip(ends, last, strict=True):
            end.append(value)
    return x.reshape(-1, directions * hidden), *(torch.cat(end) for end in ends)


def _in_order(weight: Tensor, gates: Sequence[int], hidden: int) -> Tensor:
    """The gates' rows of a weight, [G·H, ...], as ONNX has them."""
    return torch.cat([weight[gate * hidden : (gate + 1) * hidden] for gate in gates])


def _lstm(
    data: Tensor, sizes: _Lengths, states: Sequence[Tensor], weights: Sequence[Tensor], biased: bool, layers: int,
    dropout: float, training: bool, both: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    if states[0].shape[-1] != states[1].shape[-1]:
        raise ModelError("an LSTM with proj_size over packed sequences has no ONNX operator")
    return _recurrent("LSTM", data, sizes, states, weights, biased, layers, 1 + both, {})


def _gru(
    data: Tensor, sizes: _Lengths, state: Tensor, weights: Sequence[Tensor], biased: bool, layers: int,
    dropout: float, training: bool, both: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    return _recurrent("GRU", data, sizes, [state], weights, biased, layers, 1 + both, {"linear_before_reset": 1})


def _rnn(activation: str) -> Callable[..., tuple[Tensor, ...]]:
    def run(
        data: Tensor, sizes: _Lengths, state: Tensor, weights: Sequence[Tensor], biased: bool, layers: int,
        dropout: float, training: bool, both: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        named = {"activations": [activation] * (1 + both)}
        return _recurrent("RNN", data, sizes, [state], weights, biased, layers, 1 + both, named)

    return run


def _on_packed(instead: Callable[..., Any], elsewhere: Callable[..., Any]) -> Callable[..., Any]:
    """``instead`` on what was packed here, its lengths being the second argument."""
    return lambda *args: (instead if isinstance(args[1], _Lengths) else elsewhere)(*args)


def _without_sizes(layer: nn.RNNBase, data: Tensor, states: Any, sizes: Any) -> None:
    """The check of a layer's arguments would make a constant of the number of sequences."""
    if not isinstance(sizes, _Lengths):
        _check(layer, data, states, sizes)


_native = torch._VF._pack_padded_sequence
in_exports(
    torch._VF,
    "_pack_padded_sequence",
    lambda *args: (_pack if torch.compiler.is_exporting() else _native)(*args),  # traces go on as they are
)
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "_pad_packed_sequence": _unpack,
    "lstm": _lstm,
    "gru": _gru,
    "rnn_tanh": _rnn("Tanh"),
    "rnn_relu": _rnn("Relu"),
}
for _name, _function in _FUNCTIONS.items():
    in_exports(torch._VF, _name, _on_packed(_function, getattr(torch._VF, _name)))
_check = in_exports(nn.RNNBase, "check_forward_args", _without_sizes)
