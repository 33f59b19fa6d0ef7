"""CausalConvWithState where the standard's function body, which needs every size, cannot be built.

The one idea: the windows are gathered and weighed, so that neither channels nor kernel need be known.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.registry import lowering
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_str, given, optional
from onnx_ig.graph.sizes import plus, size, vector


@lowering("CausalConvWithState")
def causal_conv(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """y[B, C, L] = act(Σ_k w[C, 1, k] · p[B, C, L + k] + b[C]),  p = past [B, C, K−1] before x; state: its last K−1."""
    x, w, bias, past = given(node, 0), given(node, 1), optional(node, 2), optional(node, 3)
    kernel = size(op, w, 2)
    kept = plus(op, kernel, -1)
    if past is None:
        sizes = vector(op, [size(op, x, 0), size(op, x, 1), kept])
        past = op.Expand(op.CastLike(0.0, x), sizes)
    padded = op.Concat(past, x, axis=2)

    def scalar(length: int | ir.Value) -> ir.Value:
        number: ir.Value = op.Squeeze(vector(op, [length]), [0])
        return number

    starts = op.Unsqueeze(op.Range(0, scalar(size(op, x, 2)), 1), [1])
    places = op.Add(starts, op.Range(0, scalar(kernel), 1))  # [L, K]
    windows = op.Gather(padded, places, axis=2)  # [B, C, L, K]
    y = op.ReduceSum(op.Mul(windows, w), [3], keepdims=0)  # w [C, 1, K] is the same at every place
    if bias is not None:
        y = op.Add(y, op.Unsqueeze(bias, [1]))
    if attr_str(node, "activation", "none") in ("silu", "swish"):
        y = op.Mul(y, op.Sigmoid(y))
    length = vector(op, [size(op, x, 2)])
    return [y, op.Slice(padded, length, [2**62], [2])]
