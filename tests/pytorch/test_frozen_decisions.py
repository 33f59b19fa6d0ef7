"""A model that decides by its data in Python is not written to a file, unless the decision does no harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import onnx_ig
from onnx_ig.errors import ModelError, OnnxIgWarning
from onnx_ig.pytorch.export import export_torch
from onnx_ig.runtime.session import Session

_X = torch.linspace(0.5, 2, 8).reshape(2, 4)
_MASK = torch.ones(2, 4, dtype=torch.int64)


def _by_sign(x: Tensor) -> Tensor:
    return x * 2 if x.mean() > 0 else x * 3


def _by_item(x: Tensor) -> Tensor:
    return x.sin() if x.sum().item() > 0 else x.cos()


def _far_away(x: Tensor) -> Tensor:
    return x.sin() if x.abs().max() < 1e8 else x


def _by_equality(x: Tensor) -> Tensor:
    return x * 5 if float(x[0, 3]) == 7 else x


def _loop_until(x: Tensor) -> Tensor:
    for _ in range(4):
        x = x * 0.5
        if x.abs().max() < 0.2:
            break
    return x


def _by_row(x: Tensor) -> Tensor:
    return torch.stack([row.sin() if row[0] > 0 else row.cos() for row in x])


def _by_list(x: Tensor) -> Tensor:
    return x * 2 if x.tolist()[0][0] > 0 else x * 3


def _by_mask(x: Tensor, mask: Tensor) -> Tensor:
    return x.sin() if bool(mask.all()) else x.cos()


_HARMFUL: list[Callable[..., Tensor]] = [
    *(_by_sign, _by_item, _far_away, _by_equality, _loop_until, _by_row, _by_list, _by_mask),
]


@pytest.mark.parametrize("function", _HARMFUL)
def test_a_decision_by_data_is_refused(function: Callable[..., Tensor]) -> None:
    additional = _MASK if function is _by_mask else None
    with pytest.raises(ModelError, match=r"(torch\.where|differs from torch)"):
        export_torch(function, _X, additional, dynamic_batch="auto")


def test_the_refusal_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"test_frozen_decisions\.py:\d+: return x \* 2 if x\.mean\(\) > 0 else x"):
        onnx_ig.export(_by_sign, tmp_path / "made.onnx", example_inputs=_X)
    assert not list(tmp_path.iterdir())


def _checks_its_data(x: Tensor) -> Tensor:
    if torch.isnan(x).any():
        raise ValueError("NaN")
    if not bool((x.abs() < 100).all()):
        raise ValueError("not normalised")
    return x.sin()


def _skips_a_mask(x: Tensor, mask: Tensor) -> Tensor:
    return x.sin() if bool(mask.all()) else x.sin() * torch.where(mask > 0, 1.0, 1.0)


def _on_tensors(x: Tensor) -> Tensor:
    return torch.where(x.mean(1, keepdim=True) > 0, x * 2, x * 3)


@pytest.mark.parametrize("function", [_checks_its_data, _skips_a_mask, _on_tensors])
def test_a_harmless_decision_is_kept(function: Callable[..., Any]) -> None:
    extras = (_MASK,) if function is _skips_a_mask else ()
    exported = export_torch(function, _X, extras)
    session = Session(exported.model, provider="cpu")
    for x in (_X, -_X):
        feeds = dict(zip(session.input_names, (x.numpy(), *(e.numpy() for e in extras)), strict=True))
        found = session.run(feeds)[session.output_names[0]]
        torch.testing.assert_close(torch.from_numpy(found), function(x, *extras))


def test_a_number_read_has_no_gradient_in_torch() -> None:
    with pytest.warns(OnnxIgWarning, match=r"reads its data as a number \(.*test_frozen_decisions\.py:\d+\)"):
        export_torch(lambda x: x * float(x.max()), _X)


def test_python_classes_answer_for_the_branch_taken() -> None:
    attributions = onnx_ig.InputXGradient(_by_item).attribute(_X, target=1)
    expected = torch.zeros_like(_X)
    expected[:, 1] = (_X * _X.cos())[:, 1]
    torch.testing.assert_close(attributions, expected)
