"""What RNN, GRU and LSTM share: one direction as a Scan in the order of its steps, and the sums over steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.masks import cast_like
from onnx_ig.autodiff.registry import VjpRule, with_rule
from onnx_ig.autodiff.rules.loops.activations import Activation, activations
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, attr_str, given, optional
from onnx_ig.graph.scan import Step, scan, stacked
from onnx_ig.graph.shapes import reverse

_RANKS = (3, 3, 3, 2, 1, 3, 3, 2)  # of the inputs, by the standard


@dataclass(frozen=True)
class Direction:
    """One direction of a recurrent node, its steps in the order in which they are walked.

    Attributes:
        x: [T, N, I]; ``w``, ``r``: [G·H, I], [G·H, H]; ``biases``: the input's and the recurrent, [G·H], or None.
        h0, c0: the initial states, [N, H]; ``nothing``: zeros of their shape; ``peepholes``: [3·H] or None.
        mask: 1 where a step is within its row's sequence_lens, [T, N, 1], else 0; None where all are.
    """

    x: ir.Value
    w: ir.Value
    r: ir.Value
    biases: list[ir.Value] | None
    h0: ir.Value
    c0: ir.Value
    nothing: ir.Value
    peepholes: ir.Value | None
    mask: ir.Value | None
    functions: list[Activation]


@dataclass(frozen=True)
class Walked:
    """A direction's Scan: the states after its last step, and h after each step, [T, N, H]."""

    states: list[ir.Value]
    y: ir.Value

    def differentiated_by(self, rule: VjpRule) -> Walked:
        """The same, with ``rule`` for the Scan: from the cotangents of the last states and of ``y``."""
        node = self.y.producer()
        assert node is not None
        with_rule(node, rule)
        return self


def lowered(
    op: OpBuilder, node: ir.Node, default: tuple[str, ...], walk_direction: Callable[[OpBuilder, Direction], Walked]
) -> list[ir.Value | None]:
    """The node's outputs, from what ``walk_direction`` makes of each direction."""
    for value, rank in zip(node.inputs, _RANKS, strict=False):
        if value is not None and value.shape is None:
            value.shape = ir.Shape([None] * rank)  # runtimes want the number of axes inside a Scan
    rows_first = attr_int(node, "layout", 0) == 1

    def steps_first(value: ir.Value | None) -> ir.Value | None:
        return op.Transpose(value, perm=[1, 0, 2]) if rows_first and value is not None else value

    x = _some(steps_first(given(node, 0)))
    kinds = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    walks = kinds[attr_str(node, "direction", "forward")]
    functions = activations(node, len(walks), default)
    nothing = op.Expand(zero(op, x), op.Concat(op.dim(x, 1), op.dim(given(node, 2), 2), axis=0))
    mask = _mask(op, node, x)

    def part(value: ir.Value | None, d: int) -> ir.Value | None:
        if value is None or len(walks) == 1:
            return None if value is None else op.Squeeze(value, [0])
        return op.Gather(value, op.constant(np.array(d, np.int64)), axis=0)

    def walked(d: int, backwards: bool) -> Walked:
        def turned(value: ir.Value) -> ir.Value:
            return reverse(op, value, [0]) if backwards else value

        bias = part(optional(node, 3), d)
        direction = Direction(
            x=turned(x),
            w=_some(part(given(node, 1), d)),
            r=_some(part(given(node, 2), d)),
            biases=None if bias is None else list(op.Split(bias, axis=0, num_outputs=2, _outputs=2)),
            h0=part(steps_first(optional(node, 5)), d) or nothing,
            c0=part(steps_first(optional(node, 6)), d) or nothing,
            nothing=nothing,
            peepholes=part(optional(node, 7), d),
            mask=None if mask is None else turned(mask),
            functions=functions[d],
        )
        made = walk_direction(op, direction)
        return Walked(made.states, turned(times_mask(op, made.y, direction.mask)))

    made = [walked(d, backwards) for d, backwards in enumerate(walks)]
    y = _joined(op, [m.y for m in made], 1)
    ends = [_joined(op, list(states), 0) for states in zip(*(m.states for m in made), strict=True)]
    if rows_first:
        y, ends = op.Transpose(y, perm=[2, 0, 1, 3]), [op.Transpose(end, perm=[1, 0, 2]) for end in ends]
    return [new if old.name else None for new, old in zip((y, *ends), node.outputs, strict=False)]


def walk(
    op: OpBuilder,
    d: Direction,
    states: list[ir.Value],
    sequences: list[ir.Value],
    step: Callable[[OpBuilder, list[ir.Value], list[ir.Value], ir.Value | None], list[ir.Value]],
) -> Walked:
    """The Scan whose step gives the next states, the first of them h; past a row's last step its states stay.

    The step is given the states before, the elements of the sequences, and the mask at this step, [N, 1] or None.
    """

    def masked(body: OpBuilder, before: list[ir.Value], now: list[ir.Value]) -> tuple[list[ir.Value], list[ir.Value]]:
        mask = None if d.mask is None else now.pop()
        after = step(body, before, now, mask)
        if mask is not None:
            after = [body.Add(b, body.Mul(mask, body.Sub(a, b))) for a, b in zip(after, before, strict=True)]
        return after, [after[0]]

    sequences = [*sequences, *([] if d.mask is None else [d.mask])]
    forwards = [False] * len(sequences)
    for value, rank in (*((s, 2) for s in states), *((s, 3) for s in sequences)):
        value.shape = value.shape or ir.Shape([None] * rank)
    ends, (y,) = scan(op, states, sequences, masked, backwards=forwards, emit_backwards=[False])
    rows, size = (None, None) if d.nothing.shape is None else d.nothing.shape
    y.shape = ir.Shape([None if d.x.shape is None else d.x.shape[0], rows, size])
    return Walked(ends, y)


def walk_back(
    op: OpBuilder,
    d: Direction,
    states: Sequence[ir.Value | None],
    dy: ir.Value | None,
    sequences: list[ir.Value],
    step: Step,
    emitted: int,
) -> tuple[list[ir.Value], list[ir.Value]]:
    """Walk from the last step to the first; the cotangent of h at each step comes first among the sequences."""
    sequences = sequences if dy is None else [dy, *sequences]
    starts = [d.nothing if state is None else state for state in states]
    return scan(op, starts, sequences, step, backwards=[True] * len(sequences), emit_backwards=[True] * emitted)


class Inside:
    """The body of a Scan, to compute there what its adjoint will read: ``keep`` gives a value at every step, [T, N, ·].

    Of one step a tensor fits in the cache; the same formulas for all steps at once would pass over memory each time.
    """

    def __init__(self, op: OpBuilder, node: ir.Node) -> None:
        self._outer, self._node = op, node
        self.op = OpBuilder(node.attributes["body"].as_graph(), parent=op)

    def keep(self, value: ir.Value) -> ir.Value:
        """A value of the body at every step, as one more output of the Scan."""
        return stacked(self._outer, self._node, value)


def arriving(
    body: OpBuilder, dy: ir.Value | None, carry: ir.Value, now: list[ir.Value]
) -> tuple[ir.Value, list[ir.Value]]:
    """The cotangent of h at this step (from the step after and from Y), and the remaining sequences."""
    return (carry, now) if dy is None else (body.Add(carry, now[0]), now[1:])


def gates(op: OpBuilder, x: ir.Value, weight: ir.Value) -> ir.Value:
    """x[T, N, ·] @ weightᵀ for all steps at once: [T, N, G·H]."""
    return op.MatMul(x, op.Transpose(weight, perm=[1, 0]))


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


def hold(op: OpBuilder, value: ir.Value, mask: ir.Value | None) -> ir.Value:
    """``value`` at the steps that count, else 1: the factor by which a state passes through a step."""
    return value if mask is None else op.Add(op.Mul(value, mask), op.Sub(1.0, mask))


def carried(body: OpBuilder, carry: ir.Value, dh: ir.Value, off: list[ir.Value]) -> ir.Value:
    """The cotangent that leaves a step towards the one before: past a step that does not count, dh itself."""
    return body.Add(carry, body.Mul(dh, off[0])) if off else carry


def zero(op: OpBuilder, like: ir.Value) -> ir.Value:
    """The number 0 in the type of ``like``."""
    return cast_like(op, op.constant(np.zeros((), np.float32), like), like)


def _joined(op: OpBuilder, values: list[ir.Value], axis: int) -> ir.Value:
    """One tensor of all directions', side by side along a new axis."""
    values = [op.Unsqueeze(v, [axis]) for v in values]
    return values[0] if len(values) == 1 else op.Concat(*values, axis=axis)


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


def _some(value: ir.Value | None) -> ir.Value:
    assert value is not None
    return value
