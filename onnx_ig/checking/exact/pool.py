"""Pooling operators in float64, where onnx's reference evaluator is wrong or has none."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun


class LpPool(OpRun):
    """(Σ over the window of |x|ᵖ)^(1/p), nothing outside x counted."""

    def _run(
        self,
        x: np.ndarray,
        auto_pad: str = "NOTSET",
        ceil_mode: int = 0,
        dilations: list[int] | None = None,
        kernel_shape: list[int] | None = None,
        p: int = 2,
        pads: list[int] | None = None,
        strides: list[int] | None = None,
    ) -> tuple[np.ndarray]:
        assert kernel_shape is not None
        n = len(kernel_shape)
        strides, dilations, pads = strides or [1] * n, dilations or [1] * n, pads or [0] * (2 * n)
        total = np.abs(x) ** p
        for i, (kernel, stride, dilation) in enumerate(zip(kernel_shape, strides, dilations, strict=True)):
            length, reach = x.shape[i + 2], (kernel - 1) * dilation + 1
            begin, end = pads[i], pads[n + i]
            if auto_pad.startswith("SAME"):
                spare = max((math.ceil(length / stride) - 1) * stride + reach - length, 0)
                begin = spare // 2 if auto_pad == "SAME_UPPER" else spare - spare // 2
                end = spare - begin
            elif auto_pad == "VALID":
                begin = end = 0
            steps = (length + begin + end - reach) / stride
            windows = (math.ceil(steps) if ceil_mode else math.floor(steps)) + 1
            if (windows - 1) * stride >= length + begin:
                windows -= 1
            sums = []
            for w in range(windows):
                positions = [w * stride + j * dilation - begin for j in range(kernel)]
                read = np.take(total, [q for q in positions if 0 <= q < length], axis=i + 2)
                sums.append(read.sum(axis=i + 2))
            total = np.stack(sums, axis=i + 2)
        return (total ** (1.0 / p),)


class GlobalLpPool(OpRun):
    """(Σ over all spatial axes of |x|ᵖ)^(1/p)."""

    def _run(self, x: np.ndarray, p: int = 2) -> tuple[np.ndarray]:
        return ((np.abs(x) ** p).sum(axis=tuple(range(2, x.ndim)), keepdims=True) ** (1.0 / p),)


class GlobalMaxPool(OpRun):
    """The maximum over all spatial axes; the reference evaluator reduces the wrong axes where they are not two."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


class MaxRoiPool(OpRun):
    """The maximum over each bin of each region, 0 over none; the bins in float32, as ONNX Runtime finds them."""

    def _run(
        self, x: np.ndarray, rois: np.ndarray, pooled_shape: list[int] | None = None, spatial_scale: float = 1.0
    ) -> tuple[np.ndarray]:
        assert pooled_shape is not None
        y = np.zeros((len(rois), x.shape[1], *pooled_shape), x.dtype)
        for r, region in enumerate(rois.astype(np.float32)):
            image, (x1, y1, x2, y2) = x[int(region[0])], map(_rounded, region[1:] * np.float32(spatial_scale))
            rows = _bins(y1, y2, pooled_shape[0], x.shape[2])
            columns = _bins(x1, x2, pooled_shape[1], x.shape[3])
            for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
                if (pixels := image[:, row, column]).size:
                    y[r, :, i, j] = pixels.max(axis=(1, 2))
        return (y,)


def _rounded(value: np.float32) -> int:
    """The nearest integer, halves away from zero."""
    return math.trunc(float(value) + math.copysign(0.5, value))


def _bins(first: int, last: int, count: int, length: int) -> list[slice]:
    """The ``count`` bins of the pixels ``first`` to ``last``, cut to an axis of ``length``."""
    step = np.float32(max(last - first + 1, 1)) / np.float32(count)
    edges = [(math.floor(np.float32(i) * step), math.ceil(np.float32(i + 1) * step)) for i in range(count)]
    return [slice(*(min(max(edge + first, 0), length) for edge in pair)) for pair in edges]


KERNELS: list[Any] = [LpPool, GlobalLpPool, GlobalMaxPool, MaxRoiPool]
