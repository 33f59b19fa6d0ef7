"""Sizes that only the data tell: how many classes there are, how long a row is, whether rows are examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from torch import Tensor

import onnx_ig
from onnx_ig.errors import InputError

THREE = np.array([[3.0]], np.float32)


def model(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 18]> {text}')


SQUARES = "f (float[n, c] x) => (float[n, c] y) { y = Mul(x, x) }"
MAPS = "f (float[n, c, t] x) => (float[n, c, t] y) { y = Mul(x, x) }"


@pytest.mark.parametrize(("text", "x"), [(SQUARES, THREE), (MAPS, THREE[..., None])])
@pytest.mark.parametrize("target", [0, None, "predicted"])
def test_one_class_of_an_unknown_number(text: str, x: Any, target: Any, tmp_path: Path) -> None:
    """A target that the graph asks for, although there is nothing to choose from."""
    chosen = (0,) * (x.ndim - 1) if target == 0 and x.ndim > 2 else target
    if target == "predicted" and x.ndim > 2:
        chosen = None
    method = onnx_ig.IntegratedGradients(model(text))
    np.testing.assert_allclose(method.attribute(x, target=chosen), 9 * np.ones_like(x), rtol=1e-5)
    np.testing.assert_allclose(onnx_ig.InputXGradient(model(text)).attribute(x, target=chosen), 18 * np.ones_like(x))
    for form in ("complete", "step") if target == 0 else ():  # a file does not run to see how many there are
        file = onnx_ig.export(model(text), tmp_path / f"{form}.onnx", form=form)
        np.testing.assert_allclose(onnx_ig.open(file).attribute(x, target=chosen), 9 * np.ones_like(x), rtol=1e-5)


def test_additional_rows_of_one_example() -> None:
    """All rows are one example; the additional ones are its own, whatever ``per_example`` calls them."""
    together = model(
        """f (float[3, 2] x, float[3, 2] w) => (float y)
        { a = Mul(x, x) b = Mul(a, w) y = ReduceSum <keepdims = 0> (b) }"""
    )
    x, w = np.arange(6, dtype=np.float32).reshape(3, 2), np.full((3, 2), 2, np.float32)
    method = onnx_ig.IntegratedGradients(together, batch_axis=None)
    found = method.attribute({"x": x}, additional_forward_args={"w": w}, per_example=("w",))
    np.testing.assert_allclose(found["x"], x * x * w, rtol=1e-5)


def _as_long_as_its_longest(x: Tensor) -> Tensor:
    return torch.special.bessel_j0(x)[:, : int((x != 0).sum(1).max())]  # which no exporter knows


def test_rows_of_other_lengths_beside_each_other() -> None:
    x = torch.tensor([[1.0, 2, 0, 0], [1, 2, 3, 4]])
    with pytest.raises(InputError, match="mixes examples"):
        onnx_ig.IntegratedGradients(_as_long_as_its_longest).attribute(x, target=0)
