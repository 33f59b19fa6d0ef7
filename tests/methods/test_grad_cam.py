"""Grad-CAM and HiResCAM of torch modules and of ONNX tensors, against Captum and torch's own gradients."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

import onnx_ig
from tests.helpers.convolutions import TARGET, X, by_autograd, pictures

TOLERANCE = 1e-5  # of the largest value of the map


LAYERS = {"conv": "conv", "act": "act", "second": "second", "halves": ["left", "right"], "head": "y"}


def values(answer: Any) -> list[Tensor]:
    return [torch.as_tensor(value) for value in (answer if isinstance(answer, (tuple, list)) else [answer])]


def assert_equal(ours: Any, theirs: Any) -> None:
    for a, b in zip(values(ours), values(theirs), strict=True):
        assert a.shape == b.shape and a.dtype == torch.float32
        assert b.abs().max() > 0 and (a - b).abs().max() <= TOLERANCE * b.abs().max()


@pytest.mark.parametrize(
    ("layer", "arguments"),
    [
        ("conv", {}),
        ("act", {"relu_attributions": True}),
        ("act", {"attribute_to_layer_input": True}),
        ("second", {"attr_dim_summation": False}),
        ("halves", {"relu_attributions": True, "attr_dim_summation": False}),
        ("head", {}),  # no space
    ],
)
def test_agrees_with_captum(layer: str, arguments: dict[str, Any]) -> None:
    module, model = pictures()
    chosen = getattr(module, layer)
    theirs = captum.attr.LayerGradCam(module, chosen).attribute(X, TARGET, **arguments)
    ours = onnx_ig.LayerGradCam(module, chosen).attribute(X, TARGET, **arguments)
    assert type(ours) is type(theirs)
    assert_equal(ours, theirs)
    assert_equal(onnx_ig.LayerGradCam(model, LAYERS[layer]).attribute(X.numpy(), TARGET, **arguments), theirs)


@pytest.mark.parametrize(
    ("layer", "weights"), list(itertools.product(("conv", "act", "halves"), ("grad-cam", "hirescam")))
)
def test_agrees_with_the_formula(layer: str, weights: Any) -> None:
    module, model = pictures()
    expected = by_autograd(layer, weights)
    assert_equal(onnx_ig.LayerGradCam(module, getattr(module, layer)).attribute(X, TARGET, weights=weights), expected)
    of_graph = onnx_ig.LayerGradCam(model, LAYERS[layer])
    found = of_graph.attribute(X.numpy(), TARGET, weights=weights, internal_batch_size=2)
    assert all(isinstance(value, np.ndarray) for value in (found if isinstance(found, list) else [found]))
    assert_equal(found, expected)


def test_both_weights_and_the_product_are_told_apart() -> None:
    _, model = pictures()
    cam = onnx_ig.LayerGradCam(model, "act")
    pooled, each = (cam.attribute(X, TARGET, weights=weights) for weights in ("grad-cam", "hirescam"))
    product = onnx_ig.LayerGradientXActivation(model, "act").attribute(X, TARGET)
    assert_equal(each, product.sum(1, keepdim=True))
    assert (pooled - each).abs().max() > 0.1 * each.abs().max()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"weights": "grad-cam++"}, "grad-cam or hirescam"),
        ({"grad_kwargs": {"create_graph": True}}, "create_graph"),
    ],
)
def test_what_is_not_offered_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(onnx_ig.OnnxIgError, match=words):
        onnx_ig.LayerGradCam(pictures()[1], "act").attribute(X.numpy(), TARGET, **arguments)


def test_a_layer_without_channels_is_refused_unless_it_is_not_summed() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18]>
        numbers (float[n] x) => (float[n] y) { h = Mul(x, x) y = Mul(h, h) }"""
    )
    cam, x = onnx_ig.LayerGradCam(model, "h"), np.array([1, 2], np.float32)
    with pytest.raises(onnx_ig.OnnxIgError, match="axis 1 of channels"):
        cam.attribute(x)
    assert np.allclose(cam.attribute(x, attr_dim_summation=False), 2 * x**4)


def test_many_channels_of_halves_are_summed_in_more_bits() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18]>
        halves (float16[n, 4096, 2] x) => (float16[n] y) {
            h = Mul(x, x)
            axes = Constant<value_ints = [1, 2]>()
            y = ReduceMean<keepdims = 0>(h, axes)
        }"""
    )
    x = np.ones((1, 4096, 2), np.float16)
    x[0, 0] = 64
    found = onnx_ig.LayerGradCam(model, "h").attribute(x)  # each 1 / 8192 is below half a step of the first's 1 / 2
    assert found.dtype == np.float16 and np.abs(found - (1 / 2 + 4095 / 8192)).max() < 1e-3


@pytest.mark.parametrize("weights", ["grad-cam", "hirescam"])
@pytest.mark.parametrize("layer", ["act", "halves"])
def test_explain_gives_the_maps_and_shows_them_over_the_input(layer: str, weights: Any, tmp_path: Path) -> None:
    module, model = pictures()
    for cam, x in (
        (onnx_ig.LayerGradCam(module, getattr(module, layer)), X),
        (onnx_ig.LayerGradCam(model, LAYERS[layer]), X.numpy()),
    ):
        found = cam.explain(x, TARGET, weights=weights, relu_attributions=True)
        assert_equal(found.attributions, cam.attribute(x, TARGET, weights=weights, relu_attributions=True))
        assert np.allclose(found.scores, module(X)[range(3), TARGET].detach(), atol=1e-5)
        names = ["left", "right"] if layer == "halves" else ["act"]
        if isinstance(x, Tensor):
            names = [f"halves[{i}]" for i in range(2)] if layer == "halves" else names
        assert list(found.report.attributions) == names and found.report.algorithm == weights
        assert {value.shape for value in found.report.attributions.values()} == {(3, 1, 4, 5)}
        assert f"{weights} of" in repr(found) and len(found.top(3)) == 3
    saved = {file.name for file in found.save(tmp_path / "report")}
    assert {"report.html", "report.json", f"overlay_{names[0]}_0.png"} <= saved
