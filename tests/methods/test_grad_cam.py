"""Grad-CAM and HiResCAM of torch modules and of ONNX tensors, against Captum and torch's own gradients."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import captum.attr
import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import onnx_ig

TOLERANCE = 1e-5  # of the largest value of the map


class Halves(nn.Module):
    """Two tensors out of one."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(x[:, :2]), torch.tanh(x[:, 2:])


class Pictures(nn.Module):
    """Convolutions whose places count differently, so that Grad-CAM and HiResCAM differ; the ONNX model's twin."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.second = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(4, 3, 3)
        self.halves, self.head = Halves(), nn.Linear(3 * 2 * 3, 3, bias=False)
        self.second.bias = None

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.halves(self.act(self.conv(x)))
        return self.head(torch.tanh(self.second(torch.cat([left, right], 1))).flatten(1))


GRAPH = """<ir_version: 8, opset_import: ["": 17]>
pictures (float[n, 2, 4, 5] x) => (float[n, 3] y) {
    conv = Conv<pads = [1, 1, 1, 1]>(x, conv_weight)
    act = Relu(conv)
    left_in, right_in = Split<axis = 1>(act)
    left = Sigmoid(left_in)
    right = Tanh(right_in)
    both = Concat<axis = 1>(left, right)
    second = Conv(both, second_weight)
    deep = Tanh(second)
    rows = Flatten(deep)
    turned = Transpose<perm = [1, 0]>(head_weight)
    y = MatMul(rows, turned)
}"""


@functools.cache
def pictures() -> tuple[Pictures, bytes]:
    """The module and the ONNX model with its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        module = Pictures().eval()
    model = onnx.parser.parse_model(GRAPH)
    weights = {name.replace(".", "_"): value.numpy() for name, value in module.state_dict().items()}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return module, model.SerializeToString()


X = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(6))
TARGET = [0, 2, 1]
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


def by_autograd(layer: str, weights: str) -> list[Tensor]:
    """The map by its formula, from torch's gradient."""
    module, _ = pictures()
    kept: list[Tensor] = []
    with getattr(module, layer).register_forward_hook(
        lambda _module, _given, value: kept.extend([value] if isinstance(value, Tensor) else value)
    ):
        score = module(X)[range(3), TARGET].sum()
    maps = []
    for value, gradient in zip(kept, torch.autograd.grad(score, kept), strict=True):
        if weights == "grad-cam":
            maps.append(torch.einsum("nchw,nc->nhw", value, gradient.flatten(2).mean(2))[:, None].detach())
        else:
            maps.append(torch.einsum("nchw,nchw->nhw", value, gradient)[:, None].detach())
    return maps


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
