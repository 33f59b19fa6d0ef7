"""A small network of convolutions as module and as ONNX model, and the maps of its layers by their formula."""

from __future__ import annotations

import functools

import onnx
import torch
from torch import Tensor, nn


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
