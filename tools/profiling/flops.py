"""Floating-point operations of a product, told from the shapes of its operands alone.

The one idea: profilers give shapes but no attributes, and the shapes leave nothing open. The last two dimensions of a
factor are one of the result's and the one that is summed over, in whichever order; a kernel holds all its weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Shape = tuple[int, ...]


def flops(operator: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """2 · multiply-adds of a product of ONNX's, ONNX Runtime's or OpenVINO's; 0 for any other operator."""
    return 2 * _MULTIPLY_ADDS[operator](inputs, outputs[0]) if operator in _MULTIPLY_ADDS else 0


def _matmul(inputs: Sequence[Shape], y: Shape) -> int:
    """Y[..., M, N] = A @ B, A of [..., M, K] or [..., K, M]: |Y| · K. B is not looked at: it may be rearranged."""
    a = inputs[0]
    vector = len(a) == 1 or len(y) < len(a)
    return math.prod(y) * (a[-1] if vector else a[-2] * a[-1] // y[-2])


def _convolution(inputs: Sequence[Shape], y: Shape) -> int:
    """Each element of the kernel once for each place in Y[N, M, ...], whatever the groups."""
    return math.prod(inputs[1]) * y[0] * math.prod(y[2:])


def _transposed_convolution(inputs: Sequence[Shape], y: Shape) -> int:
    """Each element of the kernel once for each place in X[N, C, ...], whatever the groups."""
    return _convolution(inputs, inputs[0])


_MULTIPLY_ADDS: dict[str, Callable[[Sequence[Shape], Shape], int]] = {
    **dict.fromkeys(("MatMul", "FusedMatMul", "Gemm", "FusedGemm", "FullyConnected"), _matmul),
    **dict.fromkeys(("Conv", "FusedConv", "Convolution", "GroupConvolution"), _convolution),
    **dict.fromkeys(
        ("ConvTranspose", "Deconvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData"),
        _transposed_convolution,
    ),
}
