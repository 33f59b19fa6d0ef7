"""Operators in float64 for the judge, where onnx's reference evaluator is wrong or lacks a case.

The one idea: plain loops, written from the standard's text and sharing nothing with the engine.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun


class ConvTranspose(OpRun):  # type: ignore[misc]
    """Every input element adds its multiple of the kernel to the output."""

    def _run(
        self,
        x: np.ndarray,
        w: np.ndarray,
        b: np.ndarray | None = None,
        auto_pad: str = "NOTSET",
        dilations: list[int] | None = None,
        group: int = 1,
        kernel_shape: list[int] | None = None,
        output_padding: list[int] | None = None,
        output_shape: list[int] | None = None,
        pads: list[int] | None = None,
        strides: list[int] | None = None,
    ) -> tuple[np.ndarray]:
        n, sizes, kernel = x.ndim - 2, x.shape[2:], w.shape[2:]
        strides, dilations = strides or [1] * n, dilations or [1] * n
        extra, pads = output_padding or [0] * n, pads or [0] * (2 * n)
        begin, shape = list(pads[:n]), []
        for i in range(n):
            full = strides[i] * (sizes[i] - 1) + (kernel[i] - 1) * dilations[i] + 1
            if output_shape is not None or auto_pad.startswith("SAME"):
                wanted = output_shape[i - n] if output_shape is not None else sizes[i] * strides[i]
                total = max(full + extra[i] - wanted, 0)
                begin[i] = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
                shape.append(wanted)
            else:
                shape.append(full + extra[i] - pads[i] - pads[n + i])
        outs = w.shape[1]
        y = np.zeros((x.shape[0], outs * group, *shape), x.dtype)
        ins = x.shape[1] // group
        for g, position, j in itertools.product(range(group), np.ndindex(*sizes), np.ndindex(*kernel)):
            o = tuple(p * s + k * d - a for p, s, k, d, a in zip(position, strides, j, dilations, begin, strict=True))
            if all(0 <= a < m for a, m in zip(o, shape, strict=True)):
                source = x[(slice(None), slice(g * ins, (g + 1) * ins), *position)]
                y[(slice(None), slice(g * outs, (g + 1) * outs), *o)] += (
                    source @ w[(slice(g * ins, (g + 1) * ins), slice(None), *j)]
                )
        return (y if b is None else y + b.reshape(1, -1, *[1] * n),)


KERNELS: list[Any] = [ConvTranspose]
