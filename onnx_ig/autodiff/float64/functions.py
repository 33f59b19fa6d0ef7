"""Functions of each element, from Exp, Log, Sqrt, Sin and Cos, or a series where these do not suffice."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, factorial, pi, sqrt

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_float, attr_int, attr_str, given

_Function = Callable[[OpBuilder, ir.Node], ir.Value]

# erf beyond _SERIES: the sum over points _STEP apart leaves out less than e^(−π²/_STEP²) and its last term
_SERIES, _STEP, _POINTS = 1.0, 0.5, 13
_TERMS_OF_ERF, _TERMS_OF_ATAN = 19, 13
_TURNS = 3  # of halving the angle before atan's series, which then is of at most tan(π/16)
_LARGE = 1e150  # its square is finite, and its arc tangent is π/2


def erf(op: OpBuilder, x: ir.Value) -> ir.Value:
    """2/√π ∫₀ˣ exp(−t²) dt, to about 1e-16.

    |x| < 1: 2/√π Σ_n (−1)ⁿ x²ⁿ⁺¹ / (n! (2n + 1)). Else 1 − erfc x, and erfc x by the trapezoid rule for
    (x/π) exp(−x²) ∫ exp(−t²) / (x² + t²) dt with step h, corrected for the pole at t = ix (Chiarella and Reichel, "On
    the evaluation of integrals related to the error function", 1968):

        (h x / π) exp(−x²) (1/x² + 2 Σ_k exp(−h²k²) / (x² + h²k²)) + 2 / (1 − exp(2πx/h)).
    """
    size, square = op.Abs(x), op.Mul(x, x)
    near = op.Mul(x, _horner(op, square, [_erf_coefficient(n) for n in range(_TERMS_OF_ERF)]))
    far = op.Min(op.Max(size, _SERIES), 6.0)  # erfc 6 is below the rounding of 1
    squared = op.Mul(far, far)
    total = op.Div(1.0, squared)
    for k in range(1, _POINTS + 1):
        along = (k * _STEP) ** 2
        total = op.Add(total, op.Div(2 * exp(-along), op.Add(squared, along)))
    pole = op.Div(2.0, op.Sub(op.Exp(op.Mul(far, 2 * pi / _STEP)), 1.0))
    complement = op.Sub(op.Mul(op.Mul(op.Mul(far, _STEP / pi), op.Exp(op.Neg(squared))), total), pole)
    return op.Where(op.Less(size, _SERIES), near, op.Mul(op.Sign(x), op.Sub(1.0, complement)))


def _erf_coefficient(n: int) -> float:
    return 2 / sqrt(pi) * (-1) ** n / (factorial(n) * (2 * n + 1))


def _horner(op: OpBuilder, x: ir.Value, coefficients: list[float]) -> ir.Value:
    """Σ_n coefficients[n] xⁿ."""
    total: ir.Value = op.constant(np.array(coefficients[-1]), x)
    for coefficient in reversed(coefficients[:-1]):
        total = op.Add(op.Mul(total, x), coefficient)
    return total


def atan(op: OpBuilder, x: ir.Value) -> ir.Value:
    """atan x = 2 atan(x / (1 + √(1 + x²))), thrice; then Σ_n (−1)ⁿ x²ⁿ⁺¹ / (2n + 1)."""
    x = op.Min(op.Max(x, -_LARGE), _LARGE)
    for _ in range(_TURNS):
        x = op.Div(x, op.Add(op.Sqrt(op.Add(op.Mul(x, x), 1.0)), 1.0))
    series = _horner(op, op.Mul(x, x), [(-1) ** n / (2 * n + 1) for n in range(_TERMS_OF_ATAN)])
    return op.Mul(op.Mul(x, series), 2.0**_TURNS)


def _asin(op: OpBuilder, node: ir.Node) -> ir.Value:
    """asin x = 2 atan(x / (1 + √(1 − x²)))."""
    x = given(node, 0)
    cosine = op.Sqrt(op.Mul(op.Sub(1.0, x), op.Add(x, 1.0)))
    return op.Mul(atan(op, op.Div(x, op.Add(cosine, 1.0))), 2.0)


def _acos(op: OpBuilder, node: ir.Node) -> ir.Value:
    """acos x = 2 atan √((1 − x) / (1 + x))."""
    x = given(node, 0)
    return op.Mul(atan(op, op.Sqrt(op.Div(op.Sub(1.0, x), op.Add(x, 1.0)))), 2.0)


def _asinh(op: OpBuilder, node: ir.Node) -> ir.Value:
    """asinh x = sign x · log(|x| + √(x² + 1))."""
    x = given(node, 0)
    return op.Mul(op.Sign(x), op.Log(op.Add(op.Abs(x), op.Sqrt(op.Add(op.Mul(x, x), 1.0)))))


def _acosh(op: OpBuilder, node: ir.Node) -> ir.Value:
    """acosh x = log(x + √(x² − 1))."""
    x = given(node, 0)
    return op.Log(op.Add(x, op.Sqrt(op.Mul(op.Sub(x, 1.0), op.Add(x, 1.0)))))


def _atanh(op: OpBuilder, node: ir.Node) -> ir.Value:
    """atanh x = ½ log((1 + x) / (1 − x))."""
    x = given(node, 0)
    return op.Mul(op.Log(op.Div(op.Add(x, 1.0), op.Sub(1.0, x))), 0.5)


def _cosh(op: OpBuilder, node: ir.Node) -> ir.Value:
    """cosh x = (eˣ + e⁻ˣ) / 2."""
    x = given(node, 0)
    return op.Mul(op.Add(op.Exp(x), op.Exp(op.Neg(x))), 0.5)


def _sinh(op: OpBuilder, node: ir.Node) -> ir.Value:
    """sinh x = (eˣ − e⁻ˣ) / 2."""
    x = given(node, 0)
    return op.Mul(op.Sub(op.Exp(x), op.Exp(op.Neg(x))), 0.5)


def _tan(op: OpBuilder, node: ir.Node) -> ir.Value:
    """tan x = sin x / cos x."""
    x = given(node, 0)
    return op.Div(op.Sin(x), op.Cos(x))


def _exponential(op: OpBuilder, x: ir.Value, alpha: float) -> ir.Value:
    """x for x > 0, else α (eˣ − 1)."""
    return op.Add(op.Max(x, 0.0), op.Mul(op.Sub(op.Exp(op.Min(x, 0.0)), 1.0), alpha))


def _elu(op: OpBuilder, node: ir.Node) -> ir.Value:
    """x for x > 0, else α (eˣ − 1)."""
    return _exponential(op, given(node, 0), attr_float(node, "alpha", 1.0))


def _selu(op: OpBuilder, node: ir.Node) -> ir.Value:
    """γ x for x > 0, else γ α (eˣ − 1)."""
    alpha, gamma = (
        attr_float(node, "alpha", 1.67326319217681884765625),
        attr_float(node, "gamma", 1.05070102214813232421875),
    )
    return op.Mul(_exponential(op, given(node, 0), alpha), gamma)


def _celu(op: OpBuilder, node: ir.Node) -> ir.Value:
    """x for x > 0, else α (exp(x/α) − 1)."""
    x, alpha = given(node, 0), attr_float(node, "alpha", 1.0)
    return op.Mul(_exponential(op, op.Div(x, alpha), 1.0), alpha)


def _softplus_of(op: OpBuilder, x: ir.Value) -> ir.Value:
    """log(1 + eˣ) = max(x, 0) + log(1 + exp(−|x|))."""
    return op.Add(op.Max(x, 0.0), op.Log(op.Add(op.Exp(op.Neg(op.Abs(x))), 1.0)))


def _softplus(op: OpBuilder, node: ir.Node) -> ir.Value:
    """log(1 + eˣ)."""
    return _softplus_of(op, given(node, 0))


def _softsign(op: OpBuilder, node: ir.Node) -> ir.Value:
    """x / (1 + |x|)."""
    x = given(node, 0)
    return op.Div(x, op.Add(op.Abs(x), 1.0))


def _mish(op: OpBuilder, node: ir.Node) -> ir.Value:
    """x · tanh(log(1 + eˣ))."""
    x = given(node, 0)
    return op.Mul(x, op.Tanh(_softplus_of(op, x)))


def _hard_sigmoid_of(op: OpBuilder, x: ir.Value, alpha: float, beta: float) -> ir.Value:
    return op.Max(op.Min(op.Add(op.Mul(x, alpha), beta), 1.0), 0.0)


def _hard_sigmoid(op: OpBuilder, node: ir.Node) -> ir.Value:
    """max(0, min(1, α x + β))."""
    return _hard_sigmoid_of(op, given(node, 0), attr_float(node, "alpha", 0.2), attr_float(node, "beta", 0.5))


def _hard_swish(op: OpBuilder, node: ir.Node) -> ir.Value:
    """x · max(0, min(1, x/6 + 1/2))."""
    x = given(node, 0)
    return op.Mul(x, _hard_sigmoid_of(op, x, 1 / 6, 0.5))


def _thresholded_relu(op: OpBuilder, node: ir.Node) -> ir.Value:
    """x for x > α, else 0."""
    x = given(node, 0)
    return op.Where(op.Greater(x, attr_float(node, "alpha", 1.0)), x, op.constant(np.array(0.0), x))


def _gelu(op: OpBuilder, node: ir.Node) -> ir.Value:
    """x/2 (1 + erf(x/√2)), or x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    x = given(node, 0)
    if attr_str(node, "approximate", "none") == "tanh":
        cubic = op.Add(x, op.Mul(op.Mul(op.Mul(x, x), x), 0.044715))
        inner = op.Tanh(op.Mul(cubic, sqrt(2 / pi)))
    else:
        inner = erf(op, op.Mul(x, sqrt(0.5)))
    return op.Mul(op.Mul(x, 0.5), op.Add(inner, 1.0))


def _mean(op: OpBuilder, node: ir.Node) -> ir.Value:
    """The sum of the inputs by their number."""
    return op.Div(op.Sum(*node.inputs), float(len(node.inputs)))


def _hardmax(op: OpBuilder, node: ir.Node) -> ir.Value:
    """1 at the first position of the maximum along the axis, else 0."""
    x, axis = given(node, 0), attr_int(node, "axis", -1)
    chosen = op.OneHot(op.ArgMax(x, axis=axis, keepdims=0), op.dim(x, axis), [0.0, 1.0], axis=axis)
    return op.Cast(chosen, to=ir.DataType.DOUBLE)


def _one_hot(op: OpBuilder, node: ir.Node) -> ir.Value:
    """values[1] at the index along the axis, values[0] elsewhere: a choice by the same of float32."""
    indices, depth, values = (given(node, i) for i in range(3))
    indices, depth = (op.Cast(x, to=ir.DataType.INT64) for x in (indices, depth))
    chosen = op.OneHot(indices, depth, [0.0, 1.0], axis=attr_int(node, "axis", -1))
    off, on = op.Split(values, num_outputs=2, axis=0, _outputs=2)
    return op.Where(op.Cast(chosen, to=ir.DataType.BOOL), on, off)


def _nonzero(op: OpBuilder, node: ir.Node) -> ir.Value:
    """The positions that are not zero, from what is not zero as truth values."""
    return op.NonZero(op.Cast(given(node, 0), to=ir.DataType.BOOL))


FORMULAS: dict[str, _Function] = {
    "Erf": lambda op, node: erf(op, given(node, 0)),
    "Atan": lambda op, node: atan(op, given(node, 0)),
    "Asin": _asin,
    "Acos": _acos,
    "Asinh": _asinh,
    "Acosh": _acosh,
    "Atanh": _atanh,
    "Cosh": _cosh,
    "Sinh": _sinh,
    "Tan": _tan,
    "Elu": _elu,
    "Selu": _selu,
    "Celu": _celu,
    "Softplus": _softplus,
    "Softsign": _softsign,
    "Mish": _mish,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "ThresholdedRelu": _thresholded_relu,
    "Gelu": _gelu,
    "Mean": _mean,
    "Hardmax": _hardmax,
    "NonZero": _nonzero,
    "OneHot": _one_hot,
}
