"""Convolution and pooling of whole networks in float64, by torch: onnx's own evaluator takes minutes for them.

The one idea: padding is done first and explicitly, so that every layer is torch's without any.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from onnx.reference.op_run import OpRun


def _padded(x: np.ndarray, pads: list[int] | None, value: float = 0.0) -> torch.Tensor:
    """``x`` with ONNX's pads (all begins, then all ends) around its spatial axes; negative ones cut."""
    if pads is None:
        return torch.tensor(np.ascontiguousarray(x))
    n = len(pads) // 2
    pairs = [pad for i in reversed(range(n)) for pad in (pads[i], pads[n + i])]
    return torch.nn.functional.pad(torch.tensor(np.ascontiguousarray(x)), pairs, value=value)


def _explicit(auto_pad: str, pads: list[int] | None, sizes: Any, kernel: Any, strides: Any, dilations: Any) -> Any:
    if not auto_pad.startswith("SAME"):
        return None if auto_pad == "VALID" else pads
    begins, ends = [], []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        spare = max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        begins.append(spare // 2 if auto_pad == "SAME_UPPER" else spare - spare // 2)
        ends.append(spare - begins[-1])
    return begins + ends


class Conv(OpRun):
    """torch's in float64: onnx's evaluator takes minutes, ONNX Runtime has no double kernel."""

    def _run(self, x, w, b=None, auto_pad=None, dilations=None, group=1, kernel_shape=None, pads=None, strides=None):
        n = x.ndim - 2
        strides, dilations = strides or [1] * n, dilations or [1] * n
        pads = _explicit(auto_pad or "NOTSET", pads, x.shape[2:], w.shape[2:], strides, dilations)
        layer = (torch.conv1d, torch.conv2d, torch.conv3d)[n - 1]
        bias = None if b is None else torch.tensor(b)
        return (
            layer(_padded(x, pads), torch.tensor(np.ascontiguousarray(w)), bias, strides, 0, dilations, group).numpy(),
        )


class ConvTranspose(OpRun):
    """Likewise, without auto_pad and output_shape; the full result is cut by the pads."""

    def _run(
        self,
        x,
        w,
        b=None,
        auto_pad=None,
        dilations=None,
        group=1,
        kernel_shape=None,
        output_padding=None,
        output_shape=None,
        pads=None,
        strides=None,
    ):
        assert auto_pad in (None, "NOTSET") and output_shape is None
        n = x.ndim - 2
        layer = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)[n - 1]
        strides, dilations = strides or [1] * n, dilations or [1] * n
        full = layer(
            torch.tensor(np.ascontiguousarray(x)),
            torch.tensor(np.ascontiguousarray(w)),
            None,
            strides,
            0,
            0,
            group,
            dilations,
        ).numpy()
        pads, extra = pads or [0] * (2 * n), output_padding or [0] * n
        y = _padded(full, [-p for p in pads[:n]] + [e - p for e, p in zip(extra, pads[n:], strict=True)]).numpy()
        return (y if b is None else y + b.reshape((-1,) + (1,) * n),)


class MaxPool(OpRun):
    """Likewise."""

    def _run(
        self, x, auto_pad=None, ceil_mode=0, dilations=None, kernel_shape=None, pads=None, storage_order=0, strides=None
    ):
        assert auto_pad == "NOTSET" and not ceil_mode
        return (torch.nn.functional.max_pool2d(_padded(x, pads, -np.inf), kernel_shape, strides).numpy(),)


class AveragePool(OpRun):
    """Likewise; padding is left out of the mean unless it is to be counted."""

    def _run(
        self,
        x,
        auto_pad=None,
        ceil_mode=0,
        count_include_pad=0,
        dilations=None,
        kernel_shape=None,
        pads=None,
        strides=None,
    ):
        assert auto_pad == "NOTSET" and not ceil_mode
        pool = functools.partial(torch.nn.functional.avg_pool2d, kernel_size=kernel_shape, stride=strides)
        counted = 1.0 if count_include_pad else pool(_padded(np.ones_like(x), pads))
        return ((pool(_padded(x, pads)) / counted).numpy(),)


class BatchNormalization(OpRun):
    """onnx's evaluator takes the form of opset 9 for training."""

    def _run(self, x, scale, bias, mean, variance, epsilon=None, momentum=None, training_mode=0):
        column = (-1, 1, 1)
        deviation = np.sqrt(variance + epsilon).reshape(column)
        return ((x - mean.reshape(column)) / deviation * scale.reshape(column) + bias.reshape(column),)


class LRN(OpRun):
    """Likewise."""

    def _run(self, x, alpha=None, beta=None, bias=None, size=None):
        return (torch.nn.functional.local_response_norm(torch.from_numpy(x), size, alpha, beta, bias).numpy(),)


KERNELS: list[Any] = [Conv, ConvTranspose, MaxPool, AveragePool, BatchNormalization, LRN]
