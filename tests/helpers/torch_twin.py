"""The float equivalent of a quantised model, evaluated by torch: rounding straight through where the model quantises.

Shares no code with the engine: the graph is interpreted operator by operator on tensors of dequantised numbers, and
torch's autograd differentiates it. A quantised tensor is carried as (integers as floats, with torch's straight-through
derivative of 1 within the range of the type).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional as F

_RANGES = {np.uint8: (0, 255), np.int8: (-128, 127)}


class _Round(torch.autograd.Function):
    """Round and saturate; derivative 1 where nothing is cut off."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: int, high: int) -> Tensor:
        rounded = torch.round(x)
        ctx.save_for_backward((rounded >= low) & (rounded <= high))
        return rounded.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return dy * inside, None, None


def _shaped(s: Tensor, rank: int, axis: int) -> Tensor:
    return s.reshape([-1] + [1] * (rank - 1 - axis % rank)) if s.dim() == 1 and s.numel() > 1 else s.reshape([])


def quantise(x: Tensor, s: Tensor, z: Tensor, limits: tuple[int, int], axis: int = 1) -> Tensor:
    """round(x / s) + z, saturated."""
    s, z = _shaped(s, x.dim(), axis), _shaped(z, x.dim(), axis)
    return _Round.apply(x / s + z, *limits)


def dequantise(q: Tensor, s: Tensor, z: Tensor | None, axis: int = 1) -> Tensor:
    """(q − z) · s."""
    s = _shaped(s, q.dim(), axis)
    return (q if z is None else q - _shaped(z, q.dim(), axis)) * s


class Twin:
    """Run ``model`` on torch tensors: ``Twin(model)(x=...)`` gives the outputs by name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}

    def __call__(self, **inputs: Tensor) -> dict[str, Tensor]:
        self.limits = {n: _RANGES[a.dtype.type] for n, a in self.constants.items() if a.dtype.type in _RANGES}
        self.values = {n: torch.tensor(a, dtype=torch.float32) for n, a in self.constants.items()}
        self.values |= inputs
        for node in self.model.graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            operator: Callable[..., Any] = getattr(self, node.op_type)
            made = operator(node, [self.values[n] if n else None for n in node.input], attributes)
            made = made if isinstance(made, tuple) else (made,)
            self.values.update(zip(node.output, made, strict=False))
        return {o.name: self.values[o.name] for o in self.model.graph.output}

    def QuantizeLinear(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return quantise(x[0], x[1], x[2], self.limits[node.input[2]], a.get("axis", 1))

    def DequantizeLinear(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return dequantise(x[0], x[1], x[2] if len(x) > 2 else None, a.get("axis", 1))

    def DynamicQuantizeLinear(self, node: Any, x: list[Any], a: dict[str, Any]) -> tuple[Tensor, ...]:
        data = x[0].detach()
        s = (data.max().clamp(min=0) - data.min().clamp(max=0)) / 255
        z = torch.round((-data.min().clamp(max=0)) / s).clamp(0, 255)
        return _Round.apply(x[0] / s + z, -1000, 1000).clone(), s, z

    def QLinearConv(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        data, weight = dequantise(x[0], x[1], x[2]), dequantise(x[3], x[4], x[5], 0)
        bias = x[8] * (x[1] * x[4]).reshape(-1) if len(x) > 8 else None
        return quantise(self._conv(data, weight, bias, a), x[6], x[7], self.limits[node.input[7]])

    def QLinearMatMul(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        y = dequantise(x[0], x[1], x[2], -2) @ dequantise(x[3], x[4], x[5], -1)
        return quantise(y, x[6], x[7], self.limits[node.input[7]])

    def MatMulInteger(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        zeros = x[2:] + [torch.zeros(())] * (4 - len(x))
        return (x[0] - zeros[0]) @ (x[1] - _shaped(zeros[1], 2, -1))

    def ConvInteger(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        zeros = x[2:] + [torch.zeros(())] * (4 - len(x))
        return self._conv(x[0] - zeros[0], x[1] - _shaped(zeros[1], x[1].dim(), 0), None, a)

    def Conv(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return self._conv(x[0], x[1], x[2] if len(x) > 2 else None, a)

    @staticmethod
    def _conv(x: Tensor, w: Tensor, b: Tensor | None, a: dict[str, Any]) -> Tensor:
        rank = x.dim() - 2
        pads = a.get("pads", [0] * (2 * rank))
        assert pads[:rank] == pads[rank:], "the twin knows symmetric padding"
        convolve = {1: F.conv1d, 2: F.conv2d}[rank]
        return convolve(x, w, b, a.get("strides", 1), pads[:rank], a.get("dilations", 1), a.get("group", 1))

    def MaxPool(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return F.max_pool2d(x[0], a["kernel_shape"], a.get("strides"))

    def Gemm(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        left = x[0].T if a.get("transA") else x[0]
        return left @ (x[1].T if a.get("transB") else x[1]) + x[2]

    def MatMul(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return x[0] @ x[1]

    def Gather(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return x[0].select(a.get("axis", 0), int(x[1]))

    def Relu(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return torch.relu(x[0])

    def Sigmoid(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return torch.sigmoid(x[0])

    def GlobalAveragePool(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return x[0].mean(dim=tuple(range(2, x[0].dim())), keepdim=True)

    def Flatten(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return x[0].flatten(a.get("axis", 1))

    def Reshape(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return x[0].reshape([int(n) for n in x[1]])

    def Transpose(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return x[0].permute(a["perm"])

    def Concat(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return torch.cat(x, a["axis"])

    def Cast(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return x[0]

    def Identity(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return x[0]

    def Add(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return x[0] + x[1]

    def Sub(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return x[0] - x[1]

    def Mul(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return x[0] * x[1]

    # com.microsoft, by their documentation

    def QGemm(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        left = dequantise(x[0], x[1], x[2])
        right = dequantise(x[3], x[4], x[5], 0 if a.get("transB") else 1)
        y = (left.T if a.get("transA") else left) @ (right.T if a.get("transB") else right) * a.get("alpha", 1.0)
        y = y + x[6] * (a.get("alpha", 1.0) * x[1] * x[4]).reshape(-1) if x[6] is not None else y
        return quantise(y, x[7], x[8], self.limits[node.input[8]]) if len(x) > 7 else y

    def QLinearAdd(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return quantise(dequantise(*x[:3]) + dequantise(*x[3:6]), x[6], x[7], self.limits[node.input[7]])

    def QLinearMul(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return quantise(dequantise(*x[:3]) * dequantise(*x[3:6]), x[6], x[7], self.limits[node.input[7]])

    def QLinearSigmoid(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return quantise(torch.sigmoid(dequantise(*x[:3])), x[3], x[4], self.limits[node.input[4]])

    def QLinearLeakyRelu(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        y = F.leaky_relu(dequantise(*x[:3]), a.get("alpha", 0.01))
        return quantise(y, x[3], x[4], self.limits[node.input[4]])

    def QLinearSoftmax(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return quantise(torch.softmax(dequantise(*x[:3]), a["axis"]), x[3], x[4], self.limits[node.input[4]])

    def QLinearGlobalAveragePool(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        y = dequantise(*x[:3]).mean(dim=(2, 3), keepdim=True)
        return quantise(y, x[3], x[4], self.limits[node.input[4]])

    def QLinearConcat(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        parts = [dequantise(*x[i : i + 3]) for i in range(2, len(x), 3)]
        return quantise(torch.cat(parts, a["axis"]), x[0], x[1], self.limits[node.input[1]])

    def MatMulIntegerToFloat(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        x = x + [None] * (7 - len(x))
        y = dequantise(x[0], x[2], x[4]) @ dequantise(x[1], x[3], x[5], -1)
        return y if x[6] is None else y + x[6]

    def Tanh(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return torch.tanh(x[0])

    def Squeeze(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        return x[0].squeeze([int(n) for n in x[1]])

    def MatMulNBits(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        """Weights of 4 bits, the lower half of each byte first, around 8."""
        assert a["bits"] == 4 and len(x) == 3, "the twin knows 4 bits without zero points"
        low, high = x[1] % 16, x[1].div(16, rounding_mode="floor")
        blocks = (torch.stack([low, high], -1).flatten(2) - 8) * x[2].reshape(*x[1].shape[:2], 1)
        return x[0] @ blocks.flatten(1)[:, : a["K"]].T

    def DynamicQuantizeLSTM(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        """One direction forwards, without peepholes: x is rounded once, h at each step."""

        def rounded(value: Tensor) -> Tensor:
            return dequantise(*self.DynamicQuantizeLinear(node, [value], {}))

        w, r = (dequantise(x[i][0], x[8 + 2 * j].reshape([]), x[9 + 2 * j].reshape([])) for j, i in enumerate((1, 2)))
        size = a["hidden_size"]
        at_x = rounded(x[0]) @ w + x[3][0, : 4 * size] + x[3][0, 4 * size :]
        h = c = torch.zeros(x[0].shape[1], size)
        steps = []
        for now in at_x:
            i, o, f, g = (now + (rounded(h) @ r if h.any() else 0)).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            steps.append(h)
        return torch.stack(steps)[:, None]

    def DynamicQuantizeMatMul(self, node: Any, x: list[Any], a: dict[str, Any]) -> Tensor:
        q, s, z = self.DynamicQuantizeLinear(node, x[:1], {})
        x = x + [None] * (5 - len(x))
        y = dequantise(q, s, z) @ dequantise(x[1], x[2], x[3], -1)
        return y if x[4] is None else y + x[4]
