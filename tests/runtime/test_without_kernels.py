"""Operators that have no CUDA kernel compute the same in those that have one, and so do their gradients."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

import onnx_ig
from onnx_ig.checking.kernels import table
from onnx_ig.runtime.forms import WriteWithoutKernelsPass
from tests.helpers.agreement import agree
from tests.helpers.without_kernels import CASES, model_of


@pytest.mark.parametrize("name", CASES)
def test_the_same_in_other_operators(name: str) -> None:
    forward, rng = model_of(name), np.random.default_rng(0)
    (x,) = forward.graph.input
    dimensions = [d.dim_value or 3 for d in x.type.tensor_type.shape.dim]
    feeds = {"x": rng.normal(size=dimensions).astype(np.float32)}
    if len(dimensions) == 2:
        feeds["x"][0] = [-20, -1.5, -1, -1e-6, 0, 1e-3, 0.99, 1, 80]
    _check(forward, feeds, CASES[name][2])
    (y,) = onnxruntime.InferenceSession(forward.SerializeToString()).run(None, feeds)
    feeds["cotangent_y"] = rng.normal(size=y.shape).astype(np.float32)
    _check(onnx_ig.differentiate(forward, wrt=["x"]), feeds, CASES[name][2])


def _check(model: onnx.ModelProto, feeds: dict[str, np.ndarray], whole: bool) -> None:
    changed = ir.from_proto(model)
    WriteWithoutKernelsPass()(changed)
    left = {node.op_type for node in changed.graph if table()[node.op_type]["ort_cuda"] == "-"}
    assert not left if whole else left
    agree(model, changed, feeds, rtol=2e-5, atol=2e-5)
