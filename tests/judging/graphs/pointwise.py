"""The pointwise part of the table that random graphs are drawn from: functions, normalisers and reductions.

Each entry adds its operator to a draft, after whatever keeps the operator's input in its domain and the values tame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from tests.judging.graphs.draft import FLOAT, Draft, Tensor, Unfit

Step = Callable[[Draft], object]
POINTWISE: dict[str, Step] = {}


def _entry(name: str) -> Callable[[Step], Step]:
    def register(step: Step) -> Step:
        POINTWISE[name] = step
        return step

    return register


def bounded(g: Draft, x: Tensor, limit: float = 0.9) -> Tensor:
    """Values in (−limit, limit)."""
    return g.add("Mul", [g.add("Tanh", [x]), g.scalar(limit)])


def positive(g: Draft, x: Tensor, above: float = 0.3) -> Tensor:
    """Values above ``above``."""
    return g.add("Add", [g.add(g.choice(("Softplus", "Sigmoid", "Abs")), [x]), g.scalar(above)])


def _plain(g: Draft, x: Tensor) -> Tensor:
    return x


def _beyond_one(g: Draft, x: Tensor) -> Tensor:
    return positive(g, x, 1.2)


# operator: (what its input is moved through, its attributes as ranges, the opset that brought it)
_UNARY: dict[str, tuple[Callable[[Draft, Tensor], Tensor], dict[str, tuple[float, float]], int]] = {
    **dict.fromkeys(
        (
            "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Erf", "Sin", "Cos", "Atan", "Asinh", "Neg", "Identity",
            "Abs", "Sign", "Floor", "Ceil", "Round", "HardSwish", "Selu",
        ),
        (_plain, {}, 1),
    ),
    "Mish": (_plain, {}, 18),
    "Gelu": (_plain, {}, 20),
    "Elu": (_plain, {"alpha": (0.5, 2)}, 1),
    "Celu": (_plain, {"alpha": (0.5, 2)}, 1),
    "LeakyRelu": (_plain, {"alpha": (0.01, 0.5)}, 1),
    "ThresholdedRelu": (_plain, {"alpha": (0.1, 0.5)}, 1),
    "HardSigmoid": (_plain, {"alpha": (0.1, 0.5), "beta": (0.3, 0.6)}, 1),
    "Shrink": (_plain, {"lambd": (0.1, 0.5), "bias": (0, 0.5)}, 1),
    **dict.fromkeys(("Exp", "Sinh", "Cosh", "Tan", "Asin", "Acos", "Atanh"), (bounded, {}, 1)),
    **dict.fromkeys(("Log", "Sqrt", "Reciprocal"), (positive, {}, 1)),
    "Acosh": (_beyond_one, {}, 1),
}  # fmt: skip


def _unary(op_type: str) -> Step:
    def step(g: Draft) -> Tensor:
        move, ranges, since = _UNARY[op_type]
        if g.opset < since:
            raise Unfit("a later operator")
        attributes = {k: float(g.rng.uniform(*r)) for k, r in ranges.items() if g.flag()}
        return g.add(op_type, [move(g, g.tensor(0, 1, 2, 3, 4))], **attributes)

    return step


POINTWISE.update({op_type: _unary(op_type) for op_type in _UNARY})


def _pair(g: Draft) -> list[Tensor]:
    """A tensor and one that broadcasts with it, in either order."""
    x = g.tensor()
    pair = [x, g.peer(x)]
    return pair[::-1] if g.flag() else pair


def _binary(op_type: str) -> Step:
    return lambda g: g.add(op_type, _pair(g))


POINTWISE.update({op_type: _binary(op_type) for op_type in ("Add", "Sub", "Mul")})


def _variadic(op_type: str) -> Step:
    def step(g: Draft) -> Tensor:
        x = g.tensor()
        return g.add(op_type, [x, *(g.peer(x) for _ in range(g.integer(0, 1))), g.weight(*x.shape[1:])])

    return step


POINTWISE.update({op_type: _variadic(op_type) for op_type in ("Sum", "Mean", "Max", "Min")})


@_entry("Div")
def _div(g: Draft) -> Tensor:
    a, b = _pair(g)
    return g.add("Div", [a, positive(g, b)])


@_entry("Pow")
def _pow(g: Draft) -> Tensor:
    a, b = _pair(g)
    if g.flag():
        return g.add("Pow", [positive(g, a), bounded(g, b, 2.0)])
    return g.add("Pow", [bounded(g, a, 1.5), g.scalar(g.choice((1.0, 2.0, 3.0)))])


@_entry("Mod")
def _mod(g: Draft) -> Tensor:
    a, b = _pair(g)
    return g.add("Mod", [a, positive(g, b)], fmod=1)


@_entry("PRelu")
def _prelu(g: Draft) -> Tensor:
    x = g.tensor()
    return g.add("PRelu", [x, g.weight(*(d if g.flag() else 1 for d in x.shape), low=0.05, high=0.5)])


@_entry("Clip")
def _clip(g: Draft) -> Tensor:
    low = g.scalar(-0.7) if g.flag() else None
    return g.add("Clip", [g.tensor(), low, g.scalar(0.8)] if g.flag() else [g.tensor(), low])


@_entry("Where")
def _where(g: Draft) -> Tensor:
    a, b = _pair(g)
    if g.flag():
        mask = g.add(g.choice(("Greater", "Less", "GreaterOrEqual", "LessOrEqual")), [a, b])
        mask = g.add("Not", [mask]) if g.flag() else mask
    else:
        mask = g.leaf(g.rng.random(a.shape) < 0.5)
    return g.add("Where", [mask, a, b])


@_entry("mask from a comparison")
def _mask(g: Draft) -> Tensor:
    a, b = _pair(g)
    both = g.add(g.choice(("And", "Or", "Xor")), [g.add("Greater", [a, b]), g.add("Less", [a, g.scalar(0.4)])])
    return g.add("Mul", [a, g.add("Cast", [both], to=FLOAT)])


@_entry("Dropout")
def _dropout(g: Draft) -> Tensor:
    return g.add("Dropout", [g.tensor(), g.scalar(0.4)] if g.flag() else [g.tensor()])


@_entry("Cast")
def _cast(g: Draft) -> Tensor:
    return g.add("CastLike", [x := g.tensor(), x]) if g.flag() else g.add("Cast", [g.tensor()], to=FLOAT)


@_entry("integers on the side")
def _integers(g: Draft) -> Tensor:
    """Float to integer and back (derivative zero), added to the float path."""
    x = g.tensor()
    halves = g.add("Cast", [g.add("Mul", [x, g.scalar(3.7)])], to=onnx.TensorProto.INT32)
    return g.add("Add", [x, g.add("Cast", [halves], to=FLOAT)])


@_entry("Softmax")
def _softmax(g: Draft) -> Tensor:
    x = g.tensor()
    return g.add(g.choice(("Softmax", "LogSoftmax")), [x], axis=g.axis(x))


@_entry("CumSum")
def _cumsum(g: Draft) -> Tensor:
    x = g.tensor()
    return g.add("CumSum", [x, g.ints(g.axis(x))], exclusive=g.integer(0, 1), reverse=g.integer(0, 1))


@_entry("LayerNormalization")
def _layer_norm(g: Draft) -> Tensor:
    x = g.tensor(2, 3, 4)
    first = g.integer(1, x.rank - 1)
    kept = x.shape[first:]
    bias = [g.weight(*kept)] if g.flag() else []
    axis = first - x.rank if g.flag() else first
    scale = g.weight(*kept, low=0.5, high=1.5)
    return g.add("LayerNormalization", [x, scale, *bias], axis=axis, epsilon=1e-2)


@_entry("RMSNormalization")
def _rms_norm(g: Draft) -> Tensor:
    if g.opset < 23:
        raise Unfit("a later operator")
    x = g.tensor(2, 3, 4)
    return g.add("RMSNormalization", [x, g.weight(x.shape[-1], low=0.5, high=1.5)], axis=-1, epsilon=1e-2)


@_entry("channel normalisation")
def _channel_norm(g: Draft) -> Tensor:
    """BatchNormalization, InstanceNormalization, GroupNormalization: statistics given or taken per channel."""
    x = g.tensor(3, 4)
    channels = x.shape[1]
    scale, bias = g.weight(channels, low=0.5, high=1.5), g.weight(channels)
    kind = g.choice(("BatchNormalization", "InstanceNormalization", "GroupNormalization"))
    if kind == "BatchNormalization":
        return g.add(kind, [x, scale, bias, g.weight(channels), g.weight(channels, low=0.5, high=2)], epsilon=1e-3)
    if kind == "InstanceNormalization":
        return g.add(kind, [x, scale, bias], epsilon=1e-2)
    if g.opset < 21:
        raise Unfit("its scale was per group before")
    groups = g.choice([n for n in range(1, channels + 1) if channels % n == 0])
    return g.add(kind, [x, scale, bias], num_groups=groups, epsilon=1e-2)


@_entry("LpNormalization")
def _lp_norm(g: Draft) -> Tensor:
    x = positive(g, g.tensor())
    return g.add("LpNormalization", [x], axis=g.axis(x), p=g.integer(1, 2))


@_entry("MeanVarianceNormalization")
def _mvn(g: Draft) -> Tensor:
    x = g.tensor(3, 4)
    axes = sorted(a % x.rank for a in g.axes(x))
    if np.prod([x.shape[a] for a in axes]) < 3:
        raise Unfit("no variance in so few elements")
    return g.add("MeanVarianceNormalization", [x], axes=axes)


@_entry("LRN")
def _lrn(g: Draft) -> Tensor:
    return g.add("LRN", [g.tensor(4)], size=g.choice((1, 3, 5)), alpha=0.3, beta=0.6, bias=1.5)


_REDUCTIONS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare", "ReduceL1", "ReduceL2",
    "ReduceLogSum", "ReduceLogSumExp",
)  # fmt: skip


def _reduction(op_type: str) -> Step:
    def step(g: Draft) -> Tensor:
        x = g.tensor()
        if op_type in ("ReduceLogSum", "ReduceL2"):
            x = positive(g, x)
        elif op_type in ("ReduceProd", "ReduceSumSquare"):
            x = bounded(g, x, 1.2)
        keepdims = {} if g.flag() else {"keepdims": g.integer(0, 1)}
        if g.integer(0, 3) == 0:
            return g.add(op_type, [x], **keepdims)
        axes = g.axes(x)
        if g.opset < 18 and op_type != "ReduceSum":
            return g.add(op_type, [x], axes=axes, **keepdims)
        return g.add(op_type, [x, g.ints(axes)], **keepdims)

    return step


POINTWISE.update({op_type: _reduction(op_type) for op_type in _REDUCTIONS})
