"""Operators that ONNX Runtime has no CUDA kernel for, written in those that it has one for.

Left as they are they run on the CPU, and what they read and give is copied there and back in every Run. The functions
here are the operators' definitions where these keep float32's accuracy, else an equal formula; a Fourier transform of
known length is a product by its matrix, a short-time one a convolution by its windowed waves.

Forms of an operator whose sizes are not known, and others that a function says, stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from onnx_ig.common.types import Array
from onnx_ig.runtime.in_place import inferred_shapes
from onnx_ig.runtime.substitution import Substitute

_Shapes = Mapping[str, ir.Shape]
_MOST_NUMBERS = 1 << 24  # of a transform's matrix
_AXIS_AS_INPUT = 20  # the opset from which DFT's axis is an input
_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16)


class WriteWithoutKernelsPass(ir.passes.InPlacePass):
    """Rewrite the operators of the table below, in bodies too."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        nodes = [n for n in ir.traversal.RecursiveGraphIterator(model.graph) if _WRITTEN.get(n.op_type)]
        nodes = [n for n in nodes if n.domain in ("", "ai.onnx") and n.outputs[0].dtype in _FLOATS]
        shapes = inferred_shapes(model) if nodes else {}
        return ir.passes.PassResult(model, sum(_write(model, node, shapes) for node in nodes) > 0)


def _write(model: ir.Model, node: ir.Node, shapes: _Shapes) -> bool:
    op = Substitute(model, node)
    written = _WRITTEN[node.op_type](op, node, shapes)
    if written:
        op.put()
    return written


def _tan(op: Substitute, node: ir.Node, _: _Shapes) -> bool:
    x = node.inputs[0]
    op("Div", op("Sin", x), op("Cos", x))
    return True


def _sinh(op: Substitute, node: ir.Node, _: _Shapes) -> bool:
    """½(eˣ − e⁻ˣ), which cancels near 0: there 2t / (1 − t²) with t = tanh(x/2)."""
    x = node.inputs[0]
    up, down = _half_exponentials(op, x)
    t = op("Tanh", op("Mul", x, 0.5))
    near = op("Div", op("Add", t, t), op("Sub", 1.0, op("Mul", t, t)))
    far = op("Sub", up, down)
    op("Where", op("Less", op("Abs", x), 1.0), near, far)
    return True


def _cosh(op: Substitute, node: ir.Node, _: _Shapes) -> bool:
    op("Add", *_half_exponentials(op, node.inputs[0]))
    return True


def _half_exponentials(op: Substitute, x: ir.Value | None) -> tuple[ir.Value, ir.Value]:
    """½eˣ and ½e⁻ˣ, each as a product that is finite wherever it is itself."""
    up, down = op("Exp", op("Mul", x, 0.5)), op("Exp", op("Mul", x, -0.5))
    return op("Mul", op("Mul", up, 0.5), up), op("Mul", op("Mul", down, 0.5), down)


def _mean(op: Substitute, node: ir.Node, _: _Shapes) -> bool:
    op("Div", op("Sum", *node.inputs), float(len(node.inputs)))
    return True


def _celu(op: Substitute, node: ir.Node, _: _Shapes) -> bool:
    """Max(0, x) + Min(0, α·(e^(x/α) − 1)) = α·Elu(x/α)."""
    alpha = node.attributes.get_float("alpha", 1.0)
    x = node.inputs[0]
    if alpha == 1.0:
        op("Elu", x, alpha=1.0)
    else:
        op("Mul", op("Elu", op("Div", x, alpha), alpha=1.0), alpha)
    return alpha > 0


def _mean_variance_normalization(op: Substitute, node: ir.Node, _: _Shapes) -> bool:
    axes = np.array(node.attributes.get_ints("axes", (0, 2, 3)))
    x = node.inputs[0]
    d = op("Sub", x, op("ReduceMean", x, axes, keepdims=1))
    deviation = op("Sqrt", op("ReduceMean", op("Mul", d, d), axes, keepdims=1))
    op("Div", d, op("Add", deviation, 1e-9))
    return True


def _lp_pool(op: Substitute, node: ir.Node, _: _Shapes) -> bool:
    """(Σ |x|ᵖ)^(1/p) by the mean over each window, padding included; not where windows reach beyond the padding."""
    attributes = node.attributes
    kernel = attributes["kernel_shape"].as_ints()
    plain = attributes.get_string("auto_pad", "NOTSET") == "NOTSET" and not attributes.get_int("ceil_mode", 0)
    if not plain or {*attributes.get_ints("dilations", (1,))} != {1}:
        return False
    kept = {name: attributes[name].as_ints() for name in ("kernel_shape", "strides", "pads") if name in attributes}
    powers = _power(op, node.inputs[0], attributes.get_int("p", 2))
    _root(op, op("Mul", op("AveragePool", powers, **kept, count_include_pad=1), float(math.prod(kernel))), node)
    return True


def _global_lp_pool(op: Substitute, node: ir.Node, shapes: _Shapes) -> bool:
    shape = _shape(node.inputs[0], shapes)
    if shape is None or len(shape) < 3:
        return False
    powers = _power(op, node.inputs[0], node.attributes.get_int("p", 2))
    _root(op, op("ReduceSum", powers, np.arange(2, len(shape)), keepdims=1), node)
    return True


def _power(op: Substitute, x: ir.Value | None, p: int) -> ir.Value:
    if p == 2:
        return op("Mul", x, x)
    return op("Abs", x) if p == 1 else op("Pow", op("Abs", x), float(p))


def _root(op: Substitute, total: ir.Value, node: ir.Node) -> None:
    p = node.attributes.get_int("p", 2)
    if p == 2:
        op("Sqrt", total)
    elif p > 2:
        op("Pow", total, 1.0 / p)


def _max_unpool(op: Substitute, node: ir.Node, shapes: _Shapes) -> bool:
    """Zeros, with x at the places that a MaxPool gave."""
    x, places, *given = node.inputs
    shape = given[0] if given and given[0] is not None else _unpooled(op, node, shapes)
    if shape is None:
        return False
    zeros = op("Expand", 0.0, op("Reshape", op("ReduceProd", shape, keepdims=1), np.array([1])))
    at, flat = op("Reshape", places, np.array([-1])), op("Reshape", x, np.array([-1]))
    op("Reshape", op("ScatterElements", zeros, at, flat, axis=0), shape)
    return True


def _unpooled(op: Substitute, node: ir.Node, shapes: _Shapes) -> ir.Value | None:
    """[N, C, (h − 1)·stride + kernel − padding, …]; None where h … are not known."""
    shape = _shape(node.inputs[0], shapes)
    sizes = [] if shape is None else [d for d in shape[2:] if isinstance(d, int)]
    kernel = node.attributes["kernel_shape"].as_ints()
    if len(sizes) != len(kernel):
        return None
    strides = node.attributes.get_ints("strides", (1,) * len(kernel))
    pads = node.attributes.get_ints("pads", (0,) * 2 * len(kernel))
    padding = [pads[i] + pads[i + len(kernel)] for i in range(len(kernel))]
    found = [(h - 1) * s + k - p for h, s, k, p in zip(sizes, strides, kernel, padding, strict=True)]
    return op("Concat", op("Shape", node.inputs[0], start=0, end=2), np.array(found), axis=0)


def _dft(op: Substitute, node: ir.Node, shapes: _Shapes) -> bool:
    """x[…, n, 1|2] as rows of n·(1|2) numbers, times the transform's matrix; not the one-sided inverse."""
    shape, inverse = _shape(node.inputs[0], shapes), bool(node.attributes.get_int("inverse", 0))
    onesided = bool(node.attributes.get_int("onesided", 0))
    given = [x for x in node.inputs[1:] if x is not None]
    if shape is None or any(_integer(x) is None for x in given) or (inverse and onesided):
        return False
    rank, (n, parts) = len(shape), shape[-2:]
    axis = node.attributes.get_int("axis", -2 if op.opset >= _AXIS_AS_INPUT else 1)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        axis = _integer(node.inputs[2]) or 0
    length = _integer(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] is not None else n
    if axis % rank != rank - 2 or not (isinstance(n, int) and isinstance(length, int) and isinstance(parts, int)):
        return False
    bins = length // 2 + 1 if onesided else length
    if n * bins * 4 > _MOST_NUMBERS:
        return False
    waves = _waves(length, bins, min(n, length), inverse)  # [t, k]
    matrix = np.zeros((n, 2, bins, 2))
    matrix[: len(waves), 0, :, 0], matrix[: len(waves), 0, :, 1] = waves.real, waves.imag
    matrix[: len(waves), 1, :, 0], matrix[: len(waves), 1, :, 1] = -waves.imag, waves.real
    rows = op("Reshape", node.inputs[0], np.array([0] * (rank - 2) + [n * parts]))
    product = op("MatMul", rows, _typed(node, matrix[:, :parts].reshape(n * parts, bins * 2)))
    op("Reshape", product, np.array([0] * (rank - 2) + [bins, 2]))
    return True


def _stft(op: Substitute, node: ir.Node, shapes: _Shapes) -> bool:
    """A real signal [B, T, 1] convolved by windowed waves: [B, frames, bins, 2]."""
    signal, step, window, length = (*node.inputs, None, None)[:4]
    shape, stride = _shape(signal, shapes), _integer(step)
    known = None if window is None or window.const_value is None else window.const_value.numpy()
    n = _integer(length) if length is not None else None if known is None else len(known)
    if shape is None or shape[-1] != 1 or stride is None or n is None or (window is not None and known is None):
        return False
    bins = n // 2 + 1 if node.attributes.get_int("onesided", 1) else n
    if n * bins * 2 > _MOST_NUMBERS or (known is not None and len(known) != n):
        return False
    waves = _waves(n, bins, n, inverse=False).T * (1.0 if known is None else known.astype(np.float64))
    kernel = np.stack([waves.real, waves.imag], axis=1).reshape(bins * 2, 1, n)
    row = op("Transpose", signal, perm=[0, 2, 1])
    frames = op("Transpose", op("Conv", row, _typed(node, kernel), strides=[stride]), perm=[0, 2, 1])
    op("Reshape", frames, np.array([0, 0, bins, 2]))
    return True


def _waves(length: int, bins: int, n: int, inverse: bool) -> Array:
    """e^(∓2πi·t·k / length), t < n, k < bins; the inverse's divided by ``length``."""
    turns = np.outer(np.arange(n), np.arange(bins)) % length / length
    waves = np.exp((2j if inverse else -2j) * np.pi * turns)
    return waves / length if inverse else waves


def _typed(node: ir.Node, array: Array) -> Array:
    dtype = node.outputs[0].dtype
    assert dtype is not None
    return array.astype(dtype.numpy())


def _shape(x: ir.Value | None, shapes: _Shapes) -> ir.Shape | None:
    return None if x is None else shapes.get(str(x.name), x.shape)


def _integer(x: ir.Value | None) -> int | None:
    known = None if x is None else x.const_value
    return None if known is None or known.size != 1 else int(known.numpy().item())


_WRITTEN: dict[str, Callable[[Substitute, ir.Node, _Shapes], bool]] = {
    "Celu": _celu,
    "Cosh": _cosh,
    "DFT": _dft,
    "GlobalLpPool": _global_lp_pool,
    "LpPool": _lp_pool,
    "MaxUnpool": _max_unpool,
    "Mean": _mean,
    "MeanVarianceNormalization": _mean_variance_normalization,
    "STFT": _stft,
    "Sinh": _sinh,
    "Tan": _tan,
}
