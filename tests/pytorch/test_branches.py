"""A function that decides in Python from its data: the value is Captum's, or the decision is refused by its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import captum.attr
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import onnx_ig
from onnx_ig.cli.app import app
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


def _while(x: Tensor) -> Tensor:
    while x.abs().max() > 0.4:
        x = x * 0.5
    return (x**2).sum(1)


def _number_in_python(x: Tensor) -> Tensor:
    largest = max(x.flatten().tolist())
    return (x.sin() if largest > 1 else x.cos()).sum(1)


def _count(x: Tensor) -> Tensor:
    return (x**2 if len(torch.nonzero(x > 0)) > 3 else torch.exp(x)).sum(1)


def _chosen_by_index(x: Tensor) -> Tensor:
    functions: list[Callable[[Tensor], Tensor]] = [torch.sin, torch.exp, torch.tanh]
    return functions[int(x.sum(0).argmax())](x).sum(1)


def _by_numpy(x: Tensor) -> Tensor:
    return (x * 2 if np.median(x.detach().numpy()) > 0.25 else x**3).sum(1)


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


BRANCHES = [_mean, _item, _loop_with_break, _number_of_times, _equal, _shortcut, _while, _number_in_python, _count]


@pytest.mark.filterwarnings("ignore:the model changes its own gradient")  # by detach, where it only decides
@pytest.mark.filterwarnings("ignore:the batch size is fixed")
@pytest.mark.parametrize("function", [*BRANCHES, _chosen_by_index, _by_numpy])
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
            by_place = "test_branches.py:" in str(error) and "torch.where" in str(error)
            assert by_place or (function is _by_numpy and "mixes examples" in str(error))
            continue
        starts = baselines if isinstance(baselines, Tensor) else torch.full_like(x, baselines)
        alone = [  # path points of one example would be a batch of several to Captum
            captum.attr.IntegratedGradients(function).attribute(a, b, n_steps=20, internal_batch_size=1)
            for a, b in zip(x.split(1), starts.expand_as(x).split(1), strict=True)
        ]
        assert torch.allclose(ours, torch.cat(alone).float(), atol=1e-5)
        answered += 1
    assert answered == len(DATA) or function is not _shortcut


class _Chosen(nn.Module):
    """One of two layers, chosen on tensors."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        chosen: Tensor = torch.cond(
            x.sum() > 0.4, lambda v: torch.sin(self.first(v)), lambda v: torch.exp(self.second(v)), (x,)
        )
        return chosen


class _Repeated(nn.Module):
    """A step taken until the sum is large enough."""

    def forward(self, x: Tensor) -> Tensor:
        (found,) = torch.while_loop(lambda v: v.sum() < 2, lambda v: (v + torch.sigmoid(v),), (x * 1.5,))
        result: Tensor = found
        return result


@pytest.mark.filterwarnings("ignore:the attributions of")  # the branches have values of their own where they meet
@pytest.mark.parametrize("kind", [_Chosen, _Repeated])
def test_decisions_on_tensors_are_followed(kind: type[nn.Module]) -> None:
    """Each path point by itself; without a word of a gradient of the model's own. Then torch can still call them."""
    module = kind().eval()
    integrated, product = onnx_ig.IntegratedGradients(module), onnx_ig.InputXGradient(module)
    for x in (_POSITIVE, _NEGATIVE):
        points = [(0.5 + k) / 12 for k in range(12)]
        gradients = []
        for a in [*points, 1.0]:
            at = (a * x).requires_grad_()
            gradients.append(torch.autograd.grad(module(at)[:, 1].sum(), at)[0])
        wanted = x * torch.stack(gradients[:-1]).mean(0)
        torch.testing.assert_close(
            integrated.attribute(x, target=1, n_steps=12, method="riemann_middle"), wanted, rtol=0, atol=1e-6
        )
        torch.testing.assert_close(product.attribute(x, target=1), x * gradients[-1], rtol=0, atol=1e-6)
    with pytest.raises(InputError, match=r"mixes examples: .*test_branches.py:.*batch_axis=None"):
        integrated.attribute(_BOTH, target=1)


class _Folded(nn.Module):
    """Two rows in, one out; or all rows in, and one row out."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.rows = nn.Linear(3, 2), rows

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.layer(x)).reshape(-1, self.rows or len(x), 2).mean(1)


def folded() -> nn.Module:
    return _Folded(2)


def folded_whole() -> nn.Module:
    return _Folded(0)


@pytest.mark.parametrize("name", ["folded", "folded_whole"])
def test_rows_that_belong_together_are_refused_in_files_too(name: str, tmp_path: Path) -> None:
    factory, data = f"tests.pytorch.test_branches:{name}", tmp_path / "x.npy"
    np.save(data, torch.linspace(-1, 1, 12).reshape(4, 3).numpy())
    for words in (
        ["attribute", factory, "-i", str(data), "--target", "1", "-o", str(tmp_path / "out")],
        ["attribute", factory, "-i", str(data), "--target", "0,1", "-o", str(tmp_path / "out")],
        ["export", factory, "--example-input", str(data), "--target", "1", "-o", str(tmp_path / "new.onnx")],
    ):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 4 and "mixes examples" in result.stderr, result.output
    result = CliRunner().invoke(app, [*words[:-3], "0,1", "--batch-axis", "none", *words[-2:]])
    assert result.exit_code == 0 and (tmp_path / "new.onnx").exists(), result.output
