"""Operators in float64, where onnx's reference evaluator is wrong or lacks a case.

The one idea: plain loops, written from the standard's text and sharing nothing with the engine.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

from onnx_ig.checking.exact import index, pool, quantised, recurrent, resize, sampling

try:
    from onnx.reference.ops.op_causal_conv_with_state import CausalConvWithState as StandardCausalConv
except ImportError:  # an onnx whose standard has no such operator yet, and so no model that holds it
    StandardCausalConv = OpRun


class ConvTranspose(OpRun):
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


class Erf(OpRun):
    """The reference evaluator's own rounds to float32."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype),)


class Gelu(OpRun):
    """x · Φ(x), or its approximation by tanh; the function body would use the reference evaluator's Erf."""

    def _run(self, x: np.ndarray, approximate: str = "none") -> tuple[np.ndarray]:
        if approximate == "tanh":
            inner = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
        else:
            inner = np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2))
        return ((0.5 * x * (1 + inner)).astype(x.dtype),)


class MeanVarianceNormalization(OpRun):
    """(x − mean) / (√variance + 1e-9); the function body holds its constants in float32."""

    def _run(self, x: np.ndarray, axes: list[int] | None = None) -> tuple[np.ndarray]:
        over = tuple(axes) if axes is not None else (0, 2, 3)
        centred = x - x.mean(axis=over, keepdims=True)
        return (centred / (np.sqrt((centred**2).mean(axis=over, keepdims=True)) + 1e-9),)


class LRN(OpRun):
    """The reference evaluator's own visits as many channels as there are examples."""

    def _run(
        self, x: np.ndarray, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int = 1
    ) -> tuple[np.ndarray]:
        squares = np.zeros_like(x)
        for c in range(x.shape[1]):
            first = max(0, c - (size - 1) // 2)
            squares[:, c] = (x[:, first : c + size // 2 + 1] ** 2).sum(axis=1)
        return (x / (bias + alpha / size * squares) ** beta,)


class CausalConvWithState(StandardCausalConv):
    """onnx's evaluator with its activation, which it computes in float32, in the input's type."""

    def _run(self, *inputs: Any, activation: str | None = None) -> tuple[np.ndarray, ...]:
        y, state = super()._run(*inputs, activation="none")
        return (y / (1 + np.exp(-y)) if activation in ("silu", "swish") else y), state


class LinearAttention(OpRun):
    """One step at a time: S = g S, then S += k (β (v − Sᵀ k))ᵀ or k vᵀ, y = scale · Sᵀ q; onnx's is in float32."""

    def _run(
        self,
        q: np.ndarray,
        k: np.ndarray,
        v: np.ndarray,
        state: np.ndarray | None = None,
        decay: np.ndarray | None = None,
        beta: np.ndarray | None = None,
        q_num_heads: int = 1,
        kv_num_heads: int = 1,
        update_rule: str = "gated_delta",
        scale: float = 0.0,
        chunk_size: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        rows, steps, _ = q.shape
        q, k, v = (
            x.reshape(rows, steps, heads, -1) for x, heads in ((q, q_num_heads), (k, kv_num_heads), (v, kv_num_heads))
        )
        dk, dv, group = q.shape[-1], v.shape[-1], q_num_heads // kv_num_heads
        s = np.zeros((rows, kv_num_heads, dk, dv), q.dtype) if state is None else state.copy()
        y = np.zeros((rows, steps, q_num_heads, dv), q.dtype)
        for n, h, t in itertools.product(range(rows), range(kv_num_heads), range(steps)):
            if decay is not None and update_rule in ("gated", "gated_delta"):
                s[n, h] = s[n, h] * np.exp(decay.reshape(rows, steps, kv_num_heads, -1)[n, t, h])[:, None]
            written = v[n, t, h]
            if beta is not None and update_rule in ("delta", "gated_delta"):
                written = beta.reshape(rows, steps, -1)[n, t, h % beta.shape[2]] * (written - s[n, h].T @ k[n, t, h])
            s[n, h] = s[n, h] + np.outer(k[n, t, h], written)
            for g in range(h * group, (h + 1) * group):
                y[n, t, g] = (scale or 1 / math.sqrt(dk)) * (s[n, h].T @ q[n, t, g])
        return y.reshape(rows, steps, -1), s


class LayerNormalization(OpRun):
    """y = (x − mean) / √(variance + ε) · scale + bias over the axes from ``axis`` on; onnx's takes float32 only."""

    def _run(
        self,
        x: np.ndarray,
        scale: np.ndarray,
        bias: np.ndarray | None = None,
        axis: int = -1,
        epsilon: float = 1e-5,
        stash_type: int = 1,
    ) -> tuple[np.ndarray, ...]:
        axes = tuple(range(axis % x.ndim, x.ndim))
        mean = x.mean(axes, keepdims=True)
        inverse = 1 / np.sqrt(np.square(x - mean).mean(axes, keepdims=True) + epsilon)
        y = (x - mean) * inverse * scale
        return (y if bias is None else y + bias), mean, inverse


KERNELS: list[Any] = [
    LayerNormalization,
    LinearAttention,
    CausalConvWithState,
    ConvTranspose,
    Erf,
    Gelu,
    LRN,
    MeanVarianceNormalization,
    *index.KERNELS,
    *pool.KERNELS,
    *quantised.KERNELS,
    *recurrent.KERNELS,
    *resize.KERNELS,
    *sampling.KERNELS,
]
