"""Rewritings of ONNX Runtime's fused activations (domain com.microsoft); the activations fused into its products."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.masks import number
from onnx_ig.autodiff.registry import refused
from onnx_ig.autodiff.rules.pointwise.activation import gelu_by_erf
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_float, attr_int, constant, given, known_rank, optional, refuse
from onnx_ig.loading.foreign.table import MICROSOFT, UNOPTIMISED, foreign

refused("ScaledSiLU", domain=MICROSOFT, reason="its meaning is not documented", advice=UNOPTIMISED)


def is_read(node: ir.Node, index: int) -> bool:
    """Whether anything reads output ``index`` of the node."""
    if index >= len(node.outputs):
        return False
    y = node.outputs[index]
    return bool(y.uses()) or y.is_graph_output()


def must_not_be_read(node: ir.Node, *indices: int) -> None:
    """Refuse a node of which one of these outputs is read."""
    for index in indices:
        if is_read(node, index):
            raise refuse(
                node,
                f"its output {index} ({node.outputs[index].name!r}) is read, which has no standard form here",
                "Optimise at a lower level (ORT_ENABLE_BASIC), or use the model as it was before optimisation",
            )


def gelu(op: OpBuilder, x: ir.Value) -> ir.Value:
    """GELU, as one operator where the standard has it."""
    if op.opset >= 20:
        return op.Gelu(x)
    return gelu_by_erf(op, x)


def fast_gelu(op: OpBuilder, x: ir.Value) -> ir.Value:
    """x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))."""
    inner = op.Mul(x, op.Add(op.Mul(op.Mul(x, x), 0.044715 * sqrt(2 / pi)), sqrt(2 / pi)))
    return op.Mul(op.Mul(x, 0.5), op.Add(op.Tanh(inner), 1.0))


def silu(op: OpBuilder, x: ir.Value, alpha: float = 1.0) -> ir.Value:
    """x · σ(α x)."""
    return op.Mul(x, op.Sigmoid(x if alpha == 1.0 else op.Mul(x, alpha)))


def activated(op: OpBuilder, node: ir.Node, x: ir.Value, kind: str, parameters: Sequence[float]) -> ir.Value:
    """The activation that a fused product names, with its parameters in the order of ``activation_params``."""
    if kind in ("", "Relu", "Tanh", "Sigmoid", "Softplus", "Softsign"):
        return x if not kind else getattr(op, kind)(x)
    if kind in ("LeakyRelu", "Elu", "ThresholdedRelu"):
        return getattr(op, kind)(x, alpha=parameters[0] if parameters else None)
    if kind == "Clip":
        return op.Clip(x, number(op, parameters[0], x), number(op, parameters[1], x))
    if kind == "HardSigmoid":
        return op.HardSigmoid(x, alpha=parameters[0], beta=parameters[1])
    if kind == "Gelu":
        return gelu(op, x)
    if kind == "HardSwish":
        return op.HardSwish(x)
    raise refuse(node, f"it has the fused activation {kind!r}", UNOPTIMISED)


@foreign("Gelu", domain=MICROSOFT)
def gelu_(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """y = x · Φ(x)."""
    return [gelu(op, given(node, 0))]


@foreign("BiasGelu", domain=MICROSOFT)
def bias_gelu(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """y = gelu(x + b)."""
    return [gelu(op, op.Add(given(node, 0), given(node, 1)))]


@foreign("FastGelu", domain=MICROSOFT)
def fast_gelu_(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """y = the tanh approximation of gelu(x + b), b optional."""
    x, bias = given(node, 0), optional(node, 1)
    return [fast_gelu(op, x if bias is None else op.Add(x, bias))]


@foreign("QuickGelu", domain=MICROSOFT)
def quick_gelu(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """y = x · σ(α x), α = 1.702 by default."""
    return [silu(op, given(node, 0), attr_float(node, "alpha", 1.702))]


@foreign("BiasAdd", domain=MICROSOFT)
def bias_add(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """y = x + b + skip."""
    return [op.Add(op.Add(given(node, 0), given(node, 1)), given(node, 2))]


@foreign("BiasSplitGelu", domain=MICROSOFT)
def bias_split_gelu(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """x [N, S, D] + b [D] = (left, right) halves of D:  y = left · gelu(right)."""
    left, right = op.Split(op.Add(given(node, 0), given(node, 1)), axis=-1, num_outputs=2, _outputs=2)
    return [op.Mul(left, gelu(op, right))]


@foreign("BiasDropout", "BitmaskBiasDropout", domain=MICROSOFT)
def bias_dropout(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """Inference: y = x + b (+ residual)."""
    must_not_be_read(node, 1)
    training = optional(node, 4)
    mode = constant(training)
    if training is not None and (mode is None or mode.any()):
        raise refuse(node, "it runs in training mode", "Export the model in evaluation mode (model.eval())")
    y, residual = op.Add(given(node, 0), given(node, 1)), optional(node, 2)
    return [y if residual is None else op.Add(y, residual), *[None] * (len(node.outputs) - 1)]


@foreign("BitmaskDropout", domain=MICROSOFT)
def bitmask_dropout(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """Inference: y = x."""
    must_not_be_read(node, 1)
    return [op.Dropout(given(node, 0)), *[None] * (len(node.outputs) - 1)]


@foreign("BiasSoftmax", domain=MICROSOFT)
def bias_softmax(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """y = softmax over all axes of x + b from ``axis`` on, taken together.

    The bias has ones where it is repeated: in the inner or the outer batch axes (``is_inner_broadcast``).
    """
    x, bias, axis = given(node, 0), given(node, 1), attr_int(node, "axis", 1)
    rank = known_rank(node, x)
    total = op.Add(x, bias)
    if axis % rank == rank - 1:
        return [op.Softmax(total, axis=-1)]
    flat = op.Softmax(op.Flatten(total, axis=axis % rank), axis=-1)
    return [op.Reshape(flat, op.Shape(x))]


@foreign("Trilu", domain=MICROSOFT)
def trilu(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """The standard's Trilu, from before it was one."""
    return [op.Trilu(*node.inputs, upper=attr_int(node, "upper", 1))]


@foreign("ExpandDims", domain=MICROSOFT)
def expand_dims(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Unsqueeze at a number."""
    axis = op.Cast(given(node, 1), to=ir.DataType.INT64)
    return [op.Unsqueeze(given(node, 0), op.Reshape(axis, op.constant(np.array([1], np.int64))))]


@foreign("Pad", domain=MICROSOFT)
def pad(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """The standard's Pad, from before its amounts were an input; they may come as [1, 2·rank]."""
    value = optional(node, 2)
    scalar = None if value is None else op.Reshape(value, op.constant(np.zeros(0, np.int64)))
    mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "constant"
    return [op.Pad(given(node, 0), op.Reshape(given(node, 1), [-1]), scalar, mode=mode)]


@foreign("GatherND", domain=MICROSOFT)
def gather_nd(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """The standard's GatherND without batch axes."""
    return [op.GatherND(given(node, 0), op.Cast(given(node, 1), to=ir.DataType.INT64))]
