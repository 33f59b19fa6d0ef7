"""A loop over inputs of other lengths exports a torch function once or twice, and gives Captum's answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import captum.attr
import pytest
import torch
from torch import Tensor, nn

import onnx_ig
from onnx_ig.methods.pytorch import exports

_LINEAR = nn.Linear(4, 3)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        weights = scores.masked_fill(mask[:, None] == 0, -1e4).softmax(-1)
        return (weights @ self.value(x)).mean(1)


def _in_a_python_loop(x: Tensor) -> Tensor:
    state = torch.zeros_like(x[:, 0])
    for t in range(x.shape[1]):
        state = torch.tanh(state + x[:, t])
    return state


def _mask(n: int, t: int) -> Tensor:
    mask = torch.ones(n, t, dtype=torch.long)
    mask[:, -1] = 0
    return mask


torch.manual_seed(0)
# the function, its arguments for a number of examples and a length, the target, and how many exports serve all lengths
CASES: dict[str, tuple[Callable[..., Tensor], Callable[[int, int], tuple[Any, ...]], Any, int]] = {
    "text": (nn.Sequential(_LINEAR, nn.Tanh()).eval(), lambda n, t: (torch.randn(n, t, 4),), (1, 2), 1),
    "text and its mask": (_Attention().eval(), lambda n, t: (torch.randn(n, t, 4), _mask(n, t)), 1, 1),
    "pictures": (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(),
        lambda n, t: (torch.randn(n, 1, t + 3, 2 * t + 2),),
        1,
        2,
    ),
    "a loop in Python": (_in_a_python_loop, lambda n, t: (torch.randn(n, t, 4),), 1, 4),
}
# the first of two examples, then other numbers, a length of one, and one that was seen before
SIZES = [(2, 5), (1, 7), (1, 4), (3, 7), (2, 5)]


@pytest.mark.parametrize("case", CASES)
def test_lengths_share_an_export(case: str) -> None:
    function, arguments, target, most = CASES[case]
    with mock.patch.object(exports, "load_torch", wraps=exports.load_torch) as load:
        for n, t in SIZES:
            x, *additional = arguments(n, t)
            keywords = {"target": target, "additional_forward_args": tuple(additional) or None, "n_steps": 6}
            ours = onnx_ig.IntegratedGradients(function).attribute(x, **keywords)  # each time another object
            theirs = captum.attr.IntegratedGradients(function).attribute(x, **keywords)
            assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max().clamp(min=1e-2)
        made = sum("second_example" not in call.kwargs for call in load.call_args_list)
        assert load.call_count - made <= 1
        assert load.call_count <= most or made <= most
    assert len(exports.Exports.of(function)._kept) <= exports._KEPT


def test_fifty_lengths_export_once() -> None:
    function, arguments, target, _ = CASES["text and its mask"]
    method = onnx_ig.IntegratedGradients(function)
    exports.Exports.of(function)._kept.clear()
    with mock.patch.object(exports, "load_torch", wraps=exports.load_torch) as load:
        for length in range(51, 1, -1):
            x, mask = arguments(1, length)
            method.attribute(x, target=target, additional_forward_args=mask, n_steps=16)
    assert load.call_count == 1


# lengths in turn, and how many exports serve them: an axis of length one is a constant to torch
@pytest.mark.parametrize(("lengths", "most"), [([5, 1, 4, 1], 2), ([1, 5, 1, 4], 2), ([2, 3], 1), ([4, 4, 4], 1)])
def test_a_length_of_one_has_an_export_of_its_own(lengths: list[int], most: int) -> None:
    function = _Attention().eval()
    with mock.patch.object(exports, "load_torch", wraps=exports.load_torch) as load:
        for length in lengths:
            x, mask = torch.randn(1, length, 4), torch.ones(1, length, dtype=torch.long)
            keywords = {"target": 1, "additional_forward_args": mask, "n_steps": 6}
            ours = onnx_ig.IntegratedGradients(function).attribute(x, **keywords)
            theirs = captum.attr.IntegratedGradients(function).attribute(x, **keywords)
            assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max().clamp(min=1e-2)
    assert load.call_count == most


def _by_length(x: Tensor) -> Tensor:
    """Two functions: which one, the length tells."""
    return (torch.tanh(x) if x.shape[1] > 4 else x * x).sum(1)


def _padded(x: Tensor) -> Tensor:
    """To a multiple of four places, which all count."""
    return torch.tanh(nn.functional.pad(x, (0, 0, 0, -x.shape[1] % 4), value=1.0)).mean(1)


_PLACES = nn.Parameter(torch.randn(1, 6, 3))


@pytest.mark.parametrize(
    ("function", "lengths"),
    [(_by_length, [6, 3, 7, 2]), (_padded, [6, 7, 8, 3]), (lambda x: (x * _PLACES).sum(1), [6, 6])],
    ids=["a branch by length", "padding by length", "one length alone"],
)
def test_what_depends_on_the_length_is_never_answered_for_another(
    function: Callable[..., Tensor], lengths: list[int]
) -> None:
    for length in lengths:
        x = torch.randn(1, length, 3)
        ours = onnx_ig.IntegratedGradients(function).attribute(x, target=0, n_steps=6)
        theirs = captum.attr.IntegratedGradients(function).attribute(x, target=0, n_steps=6)
        assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_engines_are_shared_by_the_objects_of_a_function() -> None:
    function, arguments, target, _ = CASES["text"]
    (x,) = arguments(1, 4)
    methods = [onnx_ig.IntegratedGradients(function) for _ in range(2)]
    for method in methods:
        method.attribute(x, target=target, n_steps=2)
    assert methods[0]._engine_used is methods[1]._engine_used
