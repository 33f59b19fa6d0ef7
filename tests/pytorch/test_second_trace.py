"""The exporter traces a second time where operators are to be taken apart, and only there."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from onnx_ig.loading.model import load
from onnx_ig.pytorch import second_trace


def _writing(x: Tensor) -> Tensor:
    y = x.clone()
    y += torch.sigmoid(x)
    y[:, 0] = 2
    return y


def _in_full_precision(x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return x * torch.sin(x)


_PICTURES = torch.randn(2, 2, 5, 5)

# the function, its argument, and whether it is traced again
CASES: dict[str, tuple[Callable[..., Tensor], Tensor, bool]] = {
    "perceptron": (nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(), nn.Linear(8, 2)), torch.randn(2, 4), False),
    "transformer": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(2, 5, 8), False),
    "sizes of an input": (lambda x: x / x.shape[1] + torch.arange(x.shape[1])[:, None], torch.randn(2, 5, 3), False),
    "batch norm": (nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3)), _PICTURES, False),
    "no weights": (nn.Sequential(nn.BatchNorm2d(2, affine=False), nn.Conv2d(2, 3, 3)), _PICTURES, False),
    "batch norm at the end": (nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)), _PICTURES, True),
    "the batch's own": (nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False), nn.ReLU()), _PICTURES, True),
    "global pool": (nn.Sequential(nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), _PICTURES, False),
    "pool of quarters": (nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Conv2d(2, 3, 2)), torch.randn(2, 2, 4, 4), True),
    "writes in place": (_writing, torch.randn(2, 4), True),
    "a graph in a graph": (_in_full_precision, torch.randn(2, 4), True),
}


@pytest.mark.parametrize("case", CASES)
def test_a_second_trace_where_operators_are_taken_apart(case: str) -> None:
    function, x, again = CASES[case]
    if isinstance(function, nn.Module):
        function.eval()
    with mock.patch.object(second_trace, "_take_apart", wraps=second_trace._take_apart) as take_apart:
        model = load(function, example_inputs=(x,))  # which holds the export against torch
    assert model.note == "exported by torch's dynamo exporter"
    assert take_apart.called == again
