"""The standard's node tests as whole models: what can be differentiated can be attributed, in every form.

The gradient itself is judged in test_rules.py; here its sum over the path is the answer that each door must give.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnx_ig
from onnx_ig.runtime.session import Session
from tests.helpers.doors import NODES, STEPS, WEIGHTS
from tests.judging.node_tests import standard_cases

# A few of each kind: pointwise, broadcasting, reductions, normalisation, attention, products, indices.
NAMES = [
    *(
        "test_batchnorm_epsilon",
        "test_attention_4d_gqa",
        "test_layer_normalization_3d_axis2_epsilon",
        "test_prelu_broadcast",
    ),
    *("test_pow_bcast_array", "test_reduce_l2_keep_dims_example", "test_concat_3d_axis_1"),
    *("test_instancenorm_epsilon", "test_softmax_axis_2", "test_matmul_3d", "test_gather_1", "test_hardswish"),
]
FORMS: dict[str, dict[str, Any]] = {"complete": {}, "loop-free": {"steps_per_run": 0}, "step": {"form": "step"}}


def model_of(name: str) -> tuple[onnx.ModelProto, str, str, dict[str, np.ndarray]]:
    """The test's model with its constants inside and any number of examples; its first float input and output."""
    case = standard_cases()[name]
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for constant in case.constants:
        model.graph.initializer.append(onnx.numpy_helper.from_array(case.inputs[constant], constant))
    kept = [i for i in model.graph.input if i.name not in case.constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    feeds = {i.name: case.inputs[i.name] for i in kept}
    rows = len(feeds[kept[0].name])
    for info in (*model.graph.input, *model.graph.output):
        dims = info.type.tensor_type.shape.dim
        if len(dims) > 1 and dims[0].dim_value == rows:
            dims[0].dim_param = "N"
    return model, kept[0].name, model.graph.output[0].name, feeds


@pytest.mark.parametrize("name", NAMES)
def test_every_form(name: str, tmp_path: Path) -> None:
    model, x, y, feeds = model_of(name)
    value = Session(model, "cpu", threads=1).run(feeds)[y]
    cotangent = np.zeros_like(value)
    cotangent[(slice(None), *[0] * (value.ndim - 1))] = 1
    gradient = Session(onnx_ig.differentiate(model, wrt=[x], outputs=[y]), "cpu", threads=1)
    points = [{**feeds, x: np.asarray(a * feeds[x], np.float32), f"cotangent_{y}": cotangent} for a in NODES]
    total = sum(w * gradient.run(at, [f"grad_{x}"])[f"grad_{x}"] for w, at in zip(WEIGHTS, points, strict=True))
    expected = total * feeds[x]
    target = (0,) * (value.ndim - 1)
    attribute = onnx_ig.IntegratedGradients(model, provider="cpu", output=y).attribute
    others = {k: v for k, v in feeds.items() if k != x} or None
    found = {"engine": attribute({x: feeds[x]}, None, target, others, n_steps=STEPS)[x]}
    for form, options in FORMS.items():
        path = onnx_ig.export(
            model, tmp_path / f"{form}.onnx", inputs=[x], output=y, target=target, n_steps=STEPS, **options
        )
        fed = {**feeds, "path_nodes": NODES.astype(np.float32), "path_weights": WEIGHTS.astype(np.float32)}
        session = Session(path, "cpu", threads=1)
        found[form] = session.run({k: fed[k] for k in session.input_names}, [f"attribution_{x}"])[f"attribution_{x}"]
    scale = np.abs(expected).max()
    for door, values in found.items():
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-4 * scale, err_msg=door)
