"""Several nodes that are one function of one tensor, differentiated as one.

The one idea: exporters write GELU as five nodes, SiLU as two, Softmax with a guard against NaN as three, a division by
the root mean square as six, and so the transposed keys of attention. Taken one by one, each rule keeps its node's own
tensors until the backward pass and runtimes cannot fuse the nodes; taken as a whole, the derivative needs one tensor or
two. Which pointwise function a formula is, is found by evaluating it, however it is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.rules.normalisation.softmax import softmax_cotangent
from onnx_ig.autodiff.rules.normalisation.statistics import root_mean_square_cotangent
from onnx_ig.autodiff.rules.pointwise.activation import gelu_by_erf, gelu_cotangent, silu_cotangent
from onnx_ig.common.types import Array
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, constant


@dataclass(frozen=True)
class Composite:
    """Nodes that compute ``y`` from ``x`` and nothing that others read: dx = ``cotangent(op, dy)``.

    ``usual(op)`` writes y in the form that runtimes know and fuse; None: it is written so.
    """

    x: ir.Value
    inner: frozenset[ir.Value]
    cotangent: Callable[[OpBuilder, ir.Value], ir.Value]
    usual: Callable[[OpBuilder], ir.Value] | None = None


def composite_of(node: ir.Node) -> Composite | None:
    """The composite whose last node this is, None where there is none."""
    if node.domain != "":
        return None
    match node.op_type:
        case "Mul":
            return _gelu(node) or _silu(node) or _over_root_mean_square(node)
        case "Reshape":
            return _transposed_matrices(node)
        case "Where":
            return _guarded_softmax(node)
    return None


# -- softmax guarded against rows that are masked altogether ----------------------------------------------------------


def _guarded_softmax(node: ir.Node) -> Composite | None:
    """y = 0 where s is NaN, s else, of s = Softmax(x): the derivative is Softmax's in terms of y, zero where y is."""
    guard, zero, s = node.inputs
    softmax, asked = (None if v is None else v.producer() for v in (s, guard))
    if softmax is None or asked is None or softmax.op_type != "Softmax" or asked.op_type != "IsNaN":
        return None
    nought = None if zero is None else constant(zero)
    x, y, axis = softmax.inputs[0], node.outputs[0], attr_int(softmax, "axis", -1)
    if asked.inputs[0] is not s or x is None or nought is None or nought.size != 1 or nought.any():
        return None
    inner = _inner([softmax, asked], node)
    return None if inner is None else Composite(x, inner, lambda op, dy: softmax_cotangent(op, y, axis, dy))


# -- activations written out ------------------------------------------------------------------------------------------

_POINTWISE: dict[str, Callable[..., Array]] = {
    "Add": np.add,
    "Div": np.divide,
    "Erf": np.vectorize(math.erf),
    "Mul": np.multiply,
    "Neg": np.negative,
    "Pow": np.power,
    "Sub": np.subtract,
    "Tanh": np.tanh,
}
_LONGEST = 12  # nodes of an activation
_SAMPLES = np.linspace(-9.0, 9.0, 145)
_ERF = _SAMPLES * (1 + _POINTWISE["Erf"](_SAMPLES / math.sqrt(2))) / 2
_TANH = _SAMPLES * (1 + np.tanh(math.sqrt(2 / math.pi) * (_SAMPLES + 0.044715 * _SAMPLES**3))) / 2
_CLOSE = 1e-5  # the two forms are up to 5e-4 apart; float32 constants are off by 1e-7


def _gelu(node: ir.Node) -> Composite | None:
    """GELU of a tensor, by erf or by tanh."""
    y = node.outputs[0]
    for x in _read_twice(y):
        nodes: dict[ir.Node, None] = {}
        values = _evaluated(y, x, nodes)
        inner = None if values is None else _inner(nodes, node)
        if values is None or inner is None:
            continue
        for expected, usual in ((_ERF, partial(gelu_by_erf, x=x)), (_TANH, None)):
            if np.allclose(values, expected, rtol=_CLOSE, atol=_CLOSE):
                return Composite(x, inner, partial(_gelu_cotangent, x, usual is None), usual)
    return None


def _gelu_cotangent(x: ir.Value, tanh: bool, op: OpBuilder, dy: ir.Value) -> ir.Value:
    return gelu_cotangent(op, x, tanh, dy)


def _read_twice(y: ir.Value) -> Iterator[ir.Value]:
    """Values that a few pointwise nodes before ``y`` read, and more than one node reads; the nearest first."""
    seen, waiting = {y}, [y]
    for _ in range(_LONGEST):
        producer = waiting.pop(0).producer() if waiting else None
        if producer is None or producer.op_type not in _POINTWISE:
            continue
        for x in producer.inputs:
            if x is not None and x not in seen and constant(x) is None:
                seen.add(x)
                waiting.append(x)
                if len(x.uses()) > 1:
                    yield x


def _evaluated(y: ir.Value, x: ir.Value, nodes: dict[ir.Node, None]) -> Array | None:
    """``y`` at sample values of ``x``, collecting the nodes between; None where it depends on anything else."""
    if y is x:
        return _SAMPLES
    number = constant(y)
    if number is not None:
        return number.astype(np.float64).reshape(()) if number.size == 1 else None
    node = y.producer()
    if node is None or node.op_type not in _POINTWISE or node.domain != "" or len(nodes) > _LONGEST:
        return None
    nodes[node] = None
    arguments = [None if v is None else _evaluated(v, x, nodes) for v in node.inputs]
    if any(a is None for a in arguments):
        return None
    with np.errstate(all="ignore"):
        return _POINTWISE[node.op_type](*arguments)


def _silu(node: ir.Node) -> Composite | None:
    """y = x·s with s = σ(x): the derivative needs y and s, where the product's and the sigmoid's would keep three."""
    for x, s in (node.inputs, reversed(node.inputs)):
        sigmoid = _producer(s, "Sigmoid")
        if sigmoid is not None and x is not None and sigmoid.inputs[0] is x:
            inner, y = _inner([sigmoid], node), node.outputs[0]
            if inner is not None:
                return Composite(x, inner, partial(_silu_cotangent, sigmoid.outputs[0], y))
    return None


def _silu_cotangent(s: ir.Value, y: ir.Value, op: OpBuilder, dy: ir.Value) -> ir.Value:
    return silu_cotangent(op, s, y, dy)


# -- a tensor over the root of its mean square -------------------------------------------------------------------------


def _over_root_mean_square(node: ir.Node) -> Composite | None:
    """y = x·r with r = (mean x² + ε)^(−½):  dx = r·dy − r³·x·mean(dy·x), as of RMSNormalization."""
    for x, r in (node.inputs, reversed(node.inputs)):
        inverse = _producer(r, "Reciprocal") or _producer(r, "Div")
        root = None if inverse is None else _producer(inverse.inputs[-1], "Sqrt")
        total = None if root is None else _producer(root.inputs[0], "Add")
        mean = None if total is None else _producer(total.inputs[0], "ReduceMean")
        if inverse is None or root is None or total is None or mean is None or x is None or r is None:
            continue
        square = _producer(mean.inputs[0], "Pow") or _producer(mean.inputs[0], "Mul")
        axes = constant(mean.inputs[1]) if len(mean.inputs) > 1 and mean.inputs[1] is not None else None
        if square is None or square.inputs[0] is not x or axes is None or attr_int(mean, "keepdims", 1) != 1:
            continue
        one = inverse.op_type == "Reciprocal" or _is_number(inverse.inputs[0], 1.0)
        squared = square.inputs[1] is x if square.op_type == "Mul" else _is_number(square.inputs[1], 2.0)
        inner = _inner([inverse, root, total, mean, square], node)
        if one and squared and inner is not None and total.inputs[1] is not None and _is_number(total.inputs[1]):
            return Composite(x, inner, partial(_over_root_mean_square_cotangent, x, r, axes.tolist()))
    return None


def _over_root_mean_square_cotangent(
    x: ir.Value, r: ir.Value, axes: list[int], op: OpBuilder, dy: ir.Value
) -> ir.Value:
    return root_mean_square_cotangent(op, x, r, axes, dy)


def _is_number(value: ir.Value | None, wanted: float | None = None) -> bool:
    """Whether ``value`` is a constant of one number: ``wanted``, if that is given."""
    known = None if value is None else constant(value)
    return known is not None and known.size == 1 and (wanted is None or float(known.item()) == wanted)


# -- matrices transposed in three dimensions ---------------------------------------------------------------------------


def _transposed_matrices(node: ir.Node) -> Composite | None:
    """y [..., q, p] = the matrices of x [..., p, q] transposed: x reshaped to [-1, p, q], transposed, reshaped to y."""
    turn = _producer(node.inputs[0], "Transpose")
    flat = None if turn is None else _producer(turn.inputs[0], "Reshape")
    if turn is None or flat is None or "perm" not in turn.attributes:
        return None
    x, inner = flat.inputs[0], _inner([flat, turn], node)
    before, between, after = (_dims(v) for v in (x, flat.outputs[0], node.outputs[0]))
    if x is None or inner is None or len(before) < 3 or None in before:
        return None
    *examples, p, q = before
    if turn.attributes["perm"].as_ints() != (0, 2, 1) or between[1:] != [p, q] or after != [*examples, q, p]:
        return None
    perm = [*range(len(examples)), len(examples) + 1, len(examples)]
    return Composite(
        x, inner, cotangent=lambda op, dy: op.Transpose(dy, perm=perm), usual=lambda op: op.Transpose(x, perm=perm)
    )


def _producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type and node.domain == "" else None


def _dims(value: ir.Value | None) -> list[int | str | None]:
    """Numbers and names, and None for what is unknown; none where the rank is."""
    if value is None or value.shape is None:
        return []
    return [d if isinstance(d, int) else d.value for d in value.shape]


def _inner(nodes: Iterable[ir.Node], last: ir.Node) -> frozenset[ir.Value] | None:
    """What ``nodes`` compute beside the last one's output; None if others read it."""
    members = {*nodes, last}
    values = frozenset(y for node in members if node is not last for y in node.outputs)
    closed = all(not v.is_graph_output() and {user for user, _ in v.uses()} <= members for v in values)
    return values if closed else None
