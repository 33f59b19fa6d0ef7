"""A function that decides in Python from its data: the value is Captum's, or the decision is refused by its place."""

from __future__ import annotations

from collections.abc import Callable

import captum.attr
import pytest
import torch
from torch import Tensor

import onnx_ig
from onnx_ig.errors import InputError, ModelError


def _mean(x: Tensor) -> Tensor:
    return (x * 2 if x.mean() > 0 else x**2).sum(1)


def _item(x: Tensor) -> Tensor:
    return (x.sin() if x.max().item() < 1 else x.cos()).sum(1)


def _loop_with_break(x: Tensor) -> Tensor:
    total = x[:, 0] * 0
    for column in x.T:
        if bool((column < 0).any()):
            break
        total = total + column**2
    return total


def _number_of_times(x: Tensor) -> Tensor:
    for _ in range(int(x.sum() > 0) + 1):
        x = torch.tanh(x)
    return x.sum(1)


def _equal(x: Tensor) -> Tensor:
    return (x * 3 if torch.equal(x.abs(), x) else x * x).sum(1)


def _shortcut(x: Tensor) -> Tensor:
    """Both branches are one function."""
    return (x if bool((x >= 0).all()) else torch.where(x > 0, x, x)).sin().sum(1)


_POSITIVE, _NEGATIVE = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([[-0.5, -0.3, -0.2]])
_BOTH = torch.cat([_POSITIVE * 3, _NEGATIVE])
# the inputs and the baselines; the branch changes: nowhere, between examples, at the baseline, along the path
DATA = {
    "one branch": (_POSITIVE, 0.1),
    "a batch of both kinds": (_BOTH, _BOTH * 0.9),
    "the baseline in the other": (_POSITIVE * 3, -0.5),
    "the last tenth of the path": (_POSITIVE, torch.tensor([[-0.05, 0.1, -0.1]])),
}


@pytest.mark.parametrize("function", [_mean, _item, _loop_with_break, _number_of_times, _equal, _shortcut])
def test_a_branch_is_followed_or_refused(function: Callable[[Tensor], Tensor]) -> None:
    """One object for all data, so that the export of one branch meets data of the other."""
    method = onnx_ig.IntegratedGradients(function)
    answered = 0
    for x, baselines in DATA.values():
        try:
            ours = method.attribute(x, baselines, n_steps=20)
        except ModelError:  # no exporter reproduces the function on other data
            continue
        except InputError as error:
            assert "test_branches.py:" in str(error)
            assert "torch.where" in str(error)
            continue
        starts = baselines if isinstance(baselines, Tensor) else torch.full_like(x, baselines)
        alone = [  # path points of one example would be a batch of several to Captum
            captum.attr.IntegratedGradients(function).attribute(a, b, n_steps=20, internal_batch_size=1)
            for a, b in zip(x.split(1), starts.expand_as(x).split(1), strict=True)
        ]
        assert torch.allclose(ours, torch.cat(alone).float(), atol=1e-5)
        answered += 1
    assert answered == len(DATA) or function is not _shortcut
