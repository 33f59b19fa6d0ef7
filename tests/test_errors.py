"""A warning is about the line of the caller's own code, through however many of ours the call goes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx.parser
import pytest

import onnx_ig
from onnx_ig.errors import OnnxIgWarning

MODEL = onnx.parser.parse_model(
    """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 2] x, float[N, 2] z) => (float[N, 2] y, float[N, 2] v)
    { h = Mul (x, x)  y = Exp (h)  v = Mul (x, z) }"""
)
X = {"x": np.ones((1, 2), np.float32)}
STILL = {"inputs": X, "baselines": 1.0, "target": 0, "additional_forward_args": {"z": X["x"]}}
CALLS: dict[str, Callable[[], Any]] = {
    "attribute": lambda: onnx_ig.IntegratedGradients(MODEL, output="y").attribute(**STILL),
    "explain": lambda: onnx_ig.IntegratedGradients(MODEL, output="y").explain(**STILL),
    "a layer": lambda: onnx_ig.LayerIntegratedGradients(MODEL, "h", output="y").attribute(**STILL, n_steps=1),
    "differentiate": lambda: onnx_ig.differentiate(MODEL, ["x", "z"], ["y"]),
}


@pytest.mark.parametrize("call", CALLS)
def test_warnings_name_the_callers_line(call: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CALLS[call]()
    said = [warning for warning in caught if issubclass(warning.category, OnnxIgWarning)]
    assert said and {warning.filename for warning in said} == {__file__}
