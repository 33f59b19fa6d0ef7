"""The activation functions that RNN, GRU and LSTM name, with their derivatives.

The one idea: a function gives its value and its slope, the slope from the value where that saves a function call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_float, refuse


@dataclass(frozen=True)
class Activation:
    """One named function with its parameters, and the bound that its argument is clipped to (0: none)."""

    name: str
    alpha: float
    beta: float
    clip: float

    def value(self, op: OpBuilder, z: ir.Value) -> ir.Value:
        """f(z)."""
        return _FUNCTIONS[self.name][0](op, self._clipped(op, z), self.alpha, self.beta)

    def slope(self, op: OpBuilder, z: ir.Value, y: ir.Value) -> ir.Value:
        """f′(z) where y = f(z); at the bounds of the clip it passes."""
        slope = _FUNCTIONS[self.name][1](op, self._clipped(op, z), y, self.alpha, self.beta)
        if not self.clip:
            return slope
        return op.Mul(slope, _mask(op, op.LessOrEqual(op.Abs(z), self.clip), z))

    def unclipped(self) -> Activation:
        """The same function of an argument that is not clipped."""
        return replace(self, clip=0.0)

    def _clipped(self, op: OpBuilder, z: ir.Value) -> ir.Value:
        return op.Clip(z, -self.clip, self.clip) if self.clip else z


def activations(node: ir.Node, directions: int, default: tuple[str, ...]) -> list[list[Activation]]:
    """The node's functions for each direction.

    ``activation_alpha`` and ``activation_beta`` are consumed in order by the functions that take one.

    Raises:
        NotDifferentiableError: an unknown function, or one left to a default that runtimes disagree on.
    """
    names = list(node.attributes["activations"].as_strings()) if "activations" in node.attributes else []
    count = len(default) * directions
    names = names[:count] or list(default) * directions  # RNN's default names two functions, whatever its direction
    if len(names) != count:
        raise refuse(node, f"it names {len(names)} activations, not {count}", "Correct the model")
    alphas, betas = _floats(node, "activation_alpha"), _floats(node, "activation_beta")
    clip = attr_float(node, "clip", 0.0)
    made = []
    for name in names:
        key = name.lower()
        if key not in _FUNCTIONS:
            raise refuse(node, f"its activation {name!r} is not known", f"Use one of {', '.join(sorted(_FUNCTIONS))}")
        alpha, beta = (
            _parameter(node, name, taken.get(key), given) for taken, given in ((_ALPHA, alphas), (_BETA, betas))
        )
        made.append(Activation(key, alpha, beta, clip))
    return [made[i : i + len(default)] for i in range(0, len(made), len(default))]


def _parameter(node: ir.Node, name: str, default: float | str | None, given: list[float]) -> float:
    if default is None:
        return 0.0
    if given:
        return given.pop(0)
    if isinstance(default, str):
        raise refuse(
            node,
            f"its activation {name!r} is given no {default}, and the standard's default is not that of the runtimes",
            "Write activation_alpha and activation_beta into the model",
        )
    return default


def _floats(node: ir.Node, name: str) -> list[float]:
    return list(node.attributes[name].as_floats()) if name in node.attributes else []


def _mask(op: OpBuilder, condition: ir.Value, like: ir.Value) -> ir.Value:
    return cast_like(op, condition, like)


def _leaky(op: OpBuilder, z: ir.Value, y: ir.Value, alpha: float, beta: float) -> ir.Value:
    positive = _mask(op, op.Greater(z, 0.0), z)
    return op.Add(op.Mul(positive, 1.0 - alpha), alpha)


def _elu(op: OpBuilder, z: ir.Value, y: ir.Value, alpha: float, beta: float) -> ir.Value:
    return op.Where(op.Greater(z, 0.0), 1.0, op.Add(y, alpha))


def _hard_sigmoid(op: OpBuilder, z: ir.Value, y: ir.Value, alpha: float, beta: float) -> ir.Value:
    inside = op.And(op.Greater(y, 0.0), op.Less(y, 1.0))
    return op.Mul(_mask(op, inside, z), alpha)


def _scaled_tanh(op: OpBuilder, z: ir.Value, y: ir.Value, alpha: float, beta: float) -> ir.Value:
    return op.Sub(alpha * beta, op.Mul(op.Mul(y, y), beta / alpha))


def _softsign(op: OpBuilder, z: ir.Value, y: ir.Value, alpha: float, beta: float) -> ir.Value:
    room = op.Sub(1.0, op.Abs(y))
    return op.Mul(room, room)


# A number: the default of the standard and of the runtimes. A string: the parameter must be given.
_ALPHA: dict[str, float | str] = {
    "affine": "alpha",
    "leakyrelu": 0.01,
    "thresholdedrelu": "alpha",
    "scaledtanh": "alpha",
    "hardsigmoid": 0.2,
    "elu": 1.0,
}
_BETA: dict[str, float | str] = {"affine": "beta", "scaledtanh": "beta", "hardsigmoid": 0.5}

_Value = Callable[[OpBuilder, ir.Value, float, float], ir.Value]
_Slope = Callable[[OpBuilder, ir.Value, ir.Value, float, float], ir.Value]

_FUNCTIONS: dict[str, tuple[_Value, _Slope]] = {
    "relu": (lambda op, z, a, b: op.Relu(z), lambda op, z, y, a, b: _mask(op, op.Greater(z, 0.0), z)),
    "tanh": (lambda op, z, a, b: op.Tanh(z), lambda op, z, y, a, b: op.Sub(1.0, op.Mul(y, y))),
    "sigmoid": (lambda op, z, a, b: op.Sigmoid(z), lambda op, z, y, a, b: op.Mul(y, op.Sub(1.0, y))),
    "affine": (
        lambda op, z, a, b: op.Add(op.Mul(z, a), b),
        lambda op, z, y, a, b: op.Expand(op.CastLike(a, z), op.Shape(z)),
    ),
    "leakyrelu": (lambda op, z, a, b: op.LeakyRelu(z, alpha=a), _leaky),
    "thresholdedrelu": (
        lambda op, z, a, b: op.ThresholdedRelu(z, alpha=a),
        lambda op, z, y, a, b: _mask(op, op.Greater(z, a), z),
    ),
    "scaledtanh": (lambda op, z, a, b: op.Mul(op.Tanh(op.Mul(z, b)), a), _scaled_tanh),
    "hardsigmoid": (lambda op, z, a, b: op.HardSigmoid(z, alpha=a, beta=b), _hard_sigmoid),
    "elu": (lambda op, z, a, b: op.Elu(z, alpha=a), _elu),
    "softsign": (lambda op, z, a, b: op.Softsign(z), _softsign),
    "softplus": (lambda op, z, a, b: op.Softplus(z), lambda op, z, y, a, b: op.Sigmoid(z)),
}
