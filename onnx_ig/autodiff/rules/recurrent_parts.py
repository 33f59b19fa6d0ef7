"""What the rules of RNN, GRU and LSTM share: one direction at a time, all steps at once, and the sums over steps.

The one idea: the hidden states that the node gives out are all that is needed to recompute its gates with one matrix
product for all steps; only the recurrent product of the adjoint is left to walk step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.builder import OpBuilder
from onnx_ig.autodiff.masks import cast_like
from onnx_ig.autodiff.node import attr_int, attr_str, given, optional, output
from onnx_ig.autodiff.registry import Cotangent, preparation
from onnx_ig.autodiff.rules.recurrent_activations import Activation, activations
from onnx_ig.autodiff.shapes import INT64_MAX

_INITIAL = (5, 6)  # initial_h, initial_c
_RANKS = (3, 3, 3, 2, 1, 3, 3, 2)  # of the inputs, by the standard


@dataclass
class Direction:
    """One direction of a recurrent node in layout 0, its axis of directions taken away.

    Attributes:
        x: [T, N, I]; ``w``, ``r``: [G·H, I], [G·H, H]; ``biases``: the input's and the recurrent, [G·H], or None.
        h, h_before: the state after and before each step, [T, N, H]; ``c0``: [N, H]; ``peepholes``: [3·H] or None.
        dh: cotangent of h, None where nothing reads Y; ``dh_last``, ``dc_last``: of the final states, [N, H].
        mask: 1 where a step is within its row's sequence_lens, [T, N, 1], else 0; None where all are.
        backwards: whether the steps are walked from the last to the first.
    """

    x: ir.Value
    w: ir.Value
    r: ir.Value
    biases: list[ir.Value] | None
    h: ir.Value
    h_before: ir.Value
    c0: ir.Value
    peepholes: ir.Value | None
    dh: ir.Value | None
    dh_last: ir.Value
    dc_last: ir.Value
    mask: ir.Value | None
    backwards: bool
    functions: list[Activation]


def directions(
    op: OpBuilder,
    node: ir.Node,
    default: tuple[str, ...],
    dy: ir.Value | None,
    dh: ir.Value | None,
    dc: ir.Value | None,
) -> list[Direction]:
    """The node's directions; asks the node for Y if the model leaves it out."""
    x, y = given(node, 0), output(op, node, 0)
    y.type = y.type or x.type
    for value, rank in zip((y, dy, dh, dc, *node.inputs), (4, 4, 3, 3, *_RANKS), strict=False):
        if value is not None and value.shape is None:
            value.shape = ir.Shape([None] * rank)  # runtimes want the number of axes inside a Scan
    kinds = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    walks = kinds[attr_str(node, "direction", "forward")]
    functions = activations(node, len(walks), default)
    nothing = op.Expand(zero(op, x), op.Concat(op.dim(x, 1), op.dim(given(node, 2), 2), axis=0))

    def part(value: ir.Value | None, d: int, axis: int = 0) -> ir.Value | None:
        if value is None:
            return None
        if len(walks) == 1:
            return op.Squeeze(value, [axis])
        return op.Gather(value, op.constant(np.array(d, np.int64)), axis=axis)

    made = []
    for d, backwards in enumerate(walks):
        bias, h0, h = part(optional(node, 3), d), part(optional(node, 5), d), part(y, d, 1)
        assert h is not None
        mask = _mask(op, node, x)
        h0 = nothing if h0 is None else h0
        made.append(
            Direction(
                x=x,
                w=_some(part(given(node, 1), d)),
                r=_some(part(given(node, 2), d)),
                biases=None if bias is None else list(op.Split(bias, axis=0, num_outputs=2, _outputs=2)),
                h=h,
                h_before=_before(op, h, h0, mask, backwards),
                c0=part(optional(node, 6), d) or nothing,
                peepholes=part(optional(node, 7), d),
                dh=part(dy, d, 1),
                dh_last=part(dh, d) or nothing,
                dc_last=part(dc, d) or nothing,
                mask=mask,
                backwards=backwards,
                functions=functions[d],
            )
        )
    return made


def gates(op: OpBuilder, x: ir.Value, weight: ir.Value) -> ir.Value:
    """x[T, N, ·] @ weightᵀ for all steps at once: [T, N, G·H]."""
    return op.MatMul(x, op.Transpose(weight, perm=[1, 0]))


def shift(op: OpBuilder, states: ir.Value, first: ir.Value, backwards: bool) -> ir.Value:
    """The state before each step from the states after it, [T, N, H], and the initial one, [N, H]."""
    first = op.Unsqueeze(first, [0])
    if backwards:
        return op.Concat(op.Slice(states, [1], [INT64_MAX], [0]), first, axis=0)
    return op.Concat(first, op.Slice(states, [0], [-1], [0]), axis=0)


def over_steps(op: OpBuilder, dz: ir.Value, inputs: ir.Value) -> ir.Value:
    """Σ over steps and rows of dz[T, N, G]ᵀ inputs[T, N, I]: [G, I], as one matrix product."""
    return op.Gemm(_rows(op, dz), _rows(op, inputs), transA=1)


def bias_sum(op: OpBuilder, dz: ir.Value) -> ir.Value:
    """Σ over steps and rows of dz[T, N, G]: [G]."""
    return op.ReduceSum(dz, [0, 1], keepdims=0)


def outside(op: OpBuilder, mask: ir.Value | None) -> list[ir.Value]:
    """[1 − mask], as one more sequence for a Scan; nothing where every step counts."""
    return [] if mask is None else [op.Sub(1.0, mask)]


def times_mask(op: OpBuilder, value: ir.Value, mask: ir.Value | None) -> ir.Value:
    """``value`` at the steps that count, else 0."""
    return value if mask is None else op.Mul(value, mask)


def hold(op: OpBuilder, value: ir.Value, mask: ir.Value | None, off: list[ir.Value]) -> ir.Value:
    """``value`` at the steps that count, else 1: the factor by which a state passes through a step."""
    return value if mask is None else op.Add(op.Mul(value, mask), off[0])


def carried(op: OpBuilder, carry: ir.Value, dh: ir.Value, rest: list[ir.Value]) -> ir.Value:
    """The cotangent that leaves a step towards the one before: past a step that does not count, dh itself."""
    return op.Add(carry, op.Mul(dh, rest[0])) if rest else carry


def zero(op: OpBuilder, like: ir.Value) -> ir.Value:
    """The number 0 in the type of ``like``."""
    return cast_like(op, op.constant(np.zeros((), np.float32), like), like)


def together(op: OpBuilder, node: ir.Node, made: list[dict[int, Callable[[], ir.Value]]]) -> list[Cotangent]:
    """One cotangent per input from what each direction gives: summed for X, side by side for all others.

    ``made[d][i]`` is a callable that builds direction d's cotangent of input i.
    """

    def join(index: int) -> Cotangent:
        def build() -> ir.Value:
            parts: list[ir.Value] = [d[index]() for d in made]
            if index == 0:
                return parts[0] if len(parts) == 1 else op.Add(*parts)
            parts = [op.Unsqueeze(p, [0]) for p in parts]
            return parts[0] if len(parts) == 1 else op.Concat(*parts, axis=0)

        return build

    return [join(i) if i in made[0] else None for i in range(len(node.inputs))]


@preparation("RNN", "GRU", "LSTM")
def in_layout_0(op: OpBuilder, node: ir.Node) -> list[ir.Value | None] | None:
    """layout 1 (rows first) as layout 0 (steps first) between transpositions: most runtimes have only the latter."""
    if attr_int(node, "layout", 0) == 0:
        return None
    swap = [1, 0, 2]
    inputs = [
        op.Transpose(v, perm=swap) if v is not None and i in (0, *_INITIAL) else v for i, v in enumerate(node.inputs)
    ]
    attributes = {name: a for name, a in node.attributes.items() if name != "layout"}
    y, *ends = op.add_node(node.op_type, inputs, attributes, len(node.outputs))
    swapped = [op.Transpose(y, perm=[2, 0, 1, 3]), *(op.Transpose(end, perm=swap) for end in ends)]
    return [new if old.name else None for new, old in zip(swapped, node.outputs, strict=True)]


def _rows(op: OpBuilder, x: ir.Value) -> ir.Value:
    """x[T, N, K] as [T·N, K]."""
    return op.Flatten(x, axis=2)


def _mask(op: OpBuilder, node: ir.Node, x: ir.Value) -> ir.Value | None:
    lens = optional(node, 4)
    if lens is None:
        return None
    start, one = op.constant(np.array(0, np.int64)), op.constant(np.array(1, np.int64))
    steps = op.Range(start, op.Squeeze(op.dim(x, 0), [0]), one)
    within = op.Less(op.Unsqueeze(steps, [1, 2]), op.Unsqueeze(op.Cast(lens, to=ir.DataType.INT64), [0, 2]))
    return cast_like(op, within, x)


def _before(op: OpBuilder, h: ir.Value, h0: ir.Value, mask: ir.Value | None, backwards: bool) -> ir.Value:
    before = shift(op, h, h0, backwards)
    if mask is None or not backwards:
        return before
    # A shorter row starts at its own last step, after which Y is zero: the initial state is put there.
    after = op.Concat(
        op.Slice(mask, [1], [INT64_MAX], [0]), op.Slice(op.Add(mask, 1.0), [-1], [INT64_MAX], [0]), axis=0
    )
    starts = op.Sub(1.0, op.Min(after, 1.0))
    return op.Add(before, op.Mul(starts, op.Unsqueeze(h0, [0])))


def _some(value: ir.Value | None) -> ir.Value:
    assert value is not None
    return value
