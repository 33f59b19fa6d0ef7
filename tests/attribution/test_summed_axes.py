"""Attributions summed over channels or an embedding, and maps of a convolution, inside files of every form."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import onnx
import pytest
from torch import Tensor

import onnx_ig
from onnx_ig.checking.conformance import conform
from onnx_ig.common.types import Array
from tests.helpers.convolutions import TARGET, X, by_autograd, pictures

RUNTIMES = ("onnxruntime", "reference", "openvino")
CLOSE = 2e-5  # of the largest value of the sums
OPSET = '<ir_version: 8, opset_import: ["": 18]>'


@functools.cache
def by_captum() -> Array:
    """Integrated Gradients in float64, summed over channels."""
    module = pictures()[0].double()
    try:
        found: Tensor = captum.attr.IntegratedGradients(module).attribute(X.double(), target=TARGET, n_steps=50)
    finally:
        module.float()
    return found.sum(1, keepdim=True).detach().numpy()


# what export is asked for, and what the file must then give
FORMS: dict[str, tuple[dict[str, Any], Any]] = {
    "complete": ({}, by_captum),
    "step": ({"form": "step"}, by_captum),
    "without a loop": ({"steps_per_run": 0}, by_captum),
    "to a tolerance": ({"tolerance": 1e-4}, by_captum),
    "portable": ({"portable": True, "batch": 3, "example_inputs": X.numpy()}, by_captum),
    "grad-cam": ({"algorithm": "grad-cam", "at": "act"}, lambda: by_autograd("act", "grad-cam")[0].numpy()),
    "hirescam": ({"algorithm": "hirescam", "at": "act"}, lambda: by_autograd("act", "hirescam")[0].numpy()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_sums_in_every_runtime(tmp_path: Path, form: str) -> None:
    options, expected = FORMS[form]
    given = options if "algorithm" in options else {"sum_over": "channels", **options}
    file = onnx_ig.export(pictures()[1], tmp_path / "summed.onnx", with_test_data={"x": X.numpy()}, **given)
    assert [conform(file, runtime=runtime).passed for runtime in RUNTIMES] == [True] * len(RUNTIMES)
    opened = onnx_ig.open(file)
    found = opened.explain(X.numpy(), target=TARGET)
    wanted = expected()
    assert found.attributions.shape == wanted.shape == (3, 1, 4, 5)
    close = max(CLOSE, 2 * options.get("tolerance", 0))
    assert np.abs(found.attributions - wanted).max() < close * np.abs(wanted).max()
    assert opened.contract.sum_over == "channels" and list(opened.contract.summed_axes.values()) == [1]
    if found.convergence_delta is not None:
        total = found.attributions.reshape(3, -1).sum(1)
        assert np.allclose(total - (found.scores - found.baseline_scores), found.convergence_delta, atol=1e-6)
        assert np.abs(found.convergence_delta).max() < 1e-3


def test_several_targets_have_their_axis_before_the_sums(tmp_path: Path) -> None:
    file = onnx_ig.export(pictures()[1], tmp_path / "two.onnx", sum_over="channels", targets="top-2")
    declared = next(y for y in onnx.load(file).graph.output if y.name == "attribution_x").type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in declared] == ["n", 2, 1, 4, 5]
    method = onnx_ig.IntegratedGradients(pictures()[1])
    for ours, theirs in zip(
        onnx_ig.open(file).explain_targets(X.numpy()), method.explain_targets(X.numpy(), "top-2"), strict=True
    ):
        assert np.allclose(ours.attributions, theirs.attributions.sum(1, keepdims=True), atol=1e-6)


# the model's text, its input, options, and the axis that is summed
AXES = {
    "a picture by channels": ("float[n, 3, 4, 4] x", (2, 3, 4, 4), {"sum_over": "channels"}, 1),
    "a picture that lies as NHWC": ("float[n, 4, 5, 3] x", (2, 4, 5, 3), {"sum_over": "channels"}, 3),
    "a series by channels": ("float[n, 3, 7] x", (2, 3, 7), {"sum_over": "channels"}, 1),
    "tokens by their vectors": ("float[n, 5, 6] x", (2, 5, 6), {"sum_over": "embedding"}, 2),
    "one example without an axis of examples": ("float[3, 5] x", (3, 5), {"sum_over": "channels"}, 0),
}


@pytest.mark.parametrize("case", AXES)
@pytest.mark.parametrize("kind", [onnx_ig.IntegratedGradients, onnx_ig.InputXGradient])
def test_the_classes_sum_over_the_axis_that_is_meant(case: str, kind: Any) -> None:
    declared, shape, options, axis = AXES[case]
    alone = len(shape) == 2
    flat = "Reshape(h, rows)" if alone else "Flatten(h)"
    rows = "rows = Constant<value_ints = [1, -1]>()" if alone else ""
    model = onnx.parser.parse_model(
        f"{OPSET} sums ({declared}) => (float[{1 if alone else 'n'}, 1] y) "
        f"{{ h = Mul(x, x) {rows} f = {flat} axes = Constant<value_ints = [1]>() y = ReduceSum(f, axes) }}"
    )
    x = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    more = {"batch_axis": None} if alone else {}
    summed = kind(model, **options, **more).explain(x)
    expected = x.astype(np.float64) ** 2 * (2 if kind is onnx_ig.InputXGradient else 1)  # x · 2x, and x² − 0²
    assert summed.attributions.shape == tuple(1 if place == axis else size for place, size in enumerate(shape))
    assert np.abs(summed.attributions - expected.sum(axis, keepdims=True)).max() < 1e-4
    assert all(feature.value is None for feature in summed.top(3))  # no single element of the input is meant
    assert set(summed.to_pandas()["value"].isna()) == {True}


# what is asked for, and what the refusal names
REFUSED = {
    "no axis beside it": ("float[n, 4] x", {"sum_over": "channels"}, "'x'.*has no other"),
    "another word": ("float[n, 3, 4] x", {"sum_over": "rows"}, "channels or embedding"),
    "gradients": ("float[n, 3, 4] x", {"sum_over": "channels", "multiply_by_inputs": False}, "gradients alone"),
    "what cannot be told": ("float[1, 4, 4] x", {"sum_over": "channels", "batch_axis": None}, "cannot be told"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_sums_without_a_meaning_are_refused(tmp_path: Path, case: str) -> None:
    declared, options, words = REFUSED[case]
    model = onnx.parser.parse_model(
        f"{OPSET} sums ({declared}) => (float[n] y) {{ h = Mul(x, x) f = Flatten(h) "
        "axes = Constant<value_ints = [1]>() y = ReduceSum<keepdims = 0>(f, axes) }"
    )
    with pytest.raises(onnx_ig.OnnxIgError, match=words):
        onnx_ig.export(model, tmp_path / "refused.onnx", **options)
    assert not list(tmp_path.iterdir())
