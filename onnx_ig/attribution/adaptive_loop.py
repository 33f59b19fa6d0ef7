"""Path points inside the file until the attributions of each example are exact enough: a Loop that ends by itself.

The one idea: which points a turn takes, and whether a level of the nested rule ends with it, is known before: it is
read from tables at the turn's number. What only the data tell is which examples are done; their values are then frozen,
and the Loop ends when all are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_ig.attribution.layout import Layout
from onnx_ig.attribution.precision import accumulator_type, zeros
from onnx_ig.attribution.step import rank
from onnx_ig.common.types import Array
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.quadrature import FEWEST_INTERVALS, is_between, nested_factors, nested_levels, nested_points
from onnx_ig.stopping import (
    BETWEEN,
    CANCELLED,
    DELTA_TELLS,
    FASTEST,
    LEAST_BETWEEN,
    ROUNDINGS,
    SLOWEST,
    SMOOTH,
    SMOOTH_LEFT,
)

# For each target Σ_k w_k · attribution over path points a [K] of weights w [K], one per tensor, and F there, [K, N].
Chunk = Callable[[OpBuilder, ir.Value, ir.Value], list[tuple[list[ir.Value], ir.Value]]]
# Of a target: attributions, the relative error as estimated, [N], and the steps, int64 [N].
Integrated = tuple[list[ir.Value], ir.Value, ir.Value]


@dataclass(frozen=True)
class Turns:
    """The tables of the Loop, an element per turn: first the ends of the path, x before the baseline, then the levels.

    Attributes:
        first, behind: the turn's points are ``nodes[first:behind]``.
        at_x, at_start: whether the first of them is x, and the last the baseline.
        ends_level: whether a level is complete after the turn; the others tell of that level:
        intervals, before, factor, end: see :func:`onnx_ig.quadrature.nested_factors`.
        between: :func:`onnx_ig.quadrature.is_between`. alone, second: whether no level, and one, was before.
        delta_tells: whether the convergence delta is a sign of what was missed. last: no level follows.
    """

    first: Array
    behind: Array
    at_x: Array
    at_start: Array
    ends_level: Array
    intervals: Array
    before: Array
    factor: Array
    end: Array
    between: Array
    alone: Array
    second: Array
    delta_tells: Array
    last: Array

    def __len__(self) -> int:
        return len(self.first)


def turns_of(max_steps: int, at_once: int) -> tuple[Array, Array, Turns]:
    """Path nodes and the weights of their sums, float64 [points], and the turns, of at most ``at_once`` points each."""
    nodes, weights = [np.array([1.0, 0.0])], [np.ones(2)]
    rows: list[dict[str, Any]] = []
    kinds = {name.name: 0 for name in fields(Turns)}
    ends = [(0, 2)] if at_once > 1 else [(0, 1), (1, 2)]
    for first, behind in ends:
        rows.append(kinds | {"first": first, "behind": behind, "at_x": first == 0, "at_start": behind == 2})
    levels, place = list(nested_levels(max_steps)), 2
    for intervals in levels:
        points, weight = nested_points(intervals)
        nodes.append(points)
        weights.append(weight)
        before, factor, end = nested_factors(intervals)
        level = {
            "intervals": intervals, "before": before, "factor": factor, "end": end, "between": is_between(intervals),
            "alone": intervals == FEWEST_INTERVALS, "second": intervals == 2 * FEWEST_INTERVALS,
            "delta_tells": intervals < DELTA_TELLS, "last": intervals == levels[-1],
        }  # fmt: skip
        for part in np.array_split(np.arange(place, place + len(points)), -(-len(points) // at_once)):
            behind = int(part[-1]) + 1
            whole = behind == place + len(points)
            rows.append(kinds | level | {"first": int(part[0]), "behind": behind, "ends_level": whole})
        place += len(points)
    numbers, counts = ("before", "factor", "end"), ("first", "behind", "intervals")
    tables = {
        name: np.array([row[name] for row in rows], float if name in numbers else np.int64 if name in counts else bool)
        for name in kinds
    }
    return np.concatenate(nodes), np.concatenate(weights), Turns(**tables)


@dataclass(frozen=True)
class ToTolerance:
    """What the Loop is built from.

    Attributes:
        at: the attributed tensors; ``layout``: of their examples.
        tolerance, max_steps, at_once: see :func:`turns_of`.
        rounding: of F, relative; None: the convergence delta does not tell what was missed.
        spread: x − baseline of each tensor, where the attributions lack this factor.
        dtype: of the path.
    """

    at: Sequence[ir.Value]
    layout: Layout
    tolerance: float
    max_steps: int
    at_once: int
    rounding: float | None
    spread: Sequence[ir.Value] | None
    dtype: ir.DataType

    @property
    def wide(self) -> ir.DataType:
        """The type of the numbers of an example."""
        return accumulator_type(self.at[0])

    def integrate(self, op: OpBuilder, chunk: Chunk, scores: Sequence[ir.Value]) -> list[Integrated]:
        """The attributions at the level at which each example ended, its relative error in L1 as estimated, its steps.

        The rule is that of :func:`onnx_ig.engine.adaptive.integrate_to_tolerance`. Examples that are done go on being
        evaluated with the others, to no effect; so are the targets of an example.

        Args:
            scores: F(x) for each target, [N]; their shape tells N.

        Returns:
            Of each target tensors like ``at`` in the types that sums are kept in, [N] in that of the first, int64 [N].
        """
        nodes, weights, turns = turns_of(self.max_steps, self.at_once)
        tables = {field.name: self._constant(op, getattr(turns, field.name)) for field in fields(Turns)}
        path = [op.constant(values.astype(self.dtype.numpy())) for values in (nodes, weights)]
        starts = [self._state_before(op, score) for score in scores]
        index = ir.val(op.fresh("turn"), dtype=ir.DataType.INT64, shape=[])
        going = ir.val(op.fresh("going"), dtype=ir.DataType.BOOL, shape=[])
        states = [
            {
                name: ir.Value(
                    name=op.fresh(f"carried_{name}"), type=ir.TensorType(value.dtype), shape=self._shape(name)
                )
                for name, value in start.items()
                if value.dtype is not None
            }
            for start in starts
        ]
        carried = [value for state in states for value in state.values()]
        body = op.subgraph("path", [index, going, *carried])
        turn = {name: body.Gather(table, index, axis=0) for name, table in tables.items()}
        bounds = [body.Reshape(turn[name], [1]) for name in ("first", "behind")]
        chosen = [body.Slice(values, *bounds, [0]) for values in path]
        for values in chosen:
            values.shape = ir.Shape([None if self.layout.batched else 1])
        late: ir.Value | None = None
        after: list[ir.Value] = []
        for state, (parts, along) in zip(states, chunk(body, *chosen), strict=True):
            own = self._after(body, state, turn, parts, body.Cast(along, to=self.wide))
            undone = body.Cast(body.Not(own["done"]), to=ir.DataType.FLOAT)
            one_late = body.Greater(body.ReduceSum(undone, keepdims=0), 0.0)
            late = one_late if late is None else body.Or(late, one_late)
            after += [own[name] for name in state]
        assert late is not None
        body.graph.outputs.append(late)
        for before, value in zip(carried, after, strict=True):
            out = body.Identity(value)
            out.type, out.shape = before.type, before.shape
            body.graph.outputs.append(out)
        first = [op.constant(np.array(len(turns))), op.constant(np.array(True))]
        begun = [value for start in starts for value in start.values()]
        made = op.add_node("Loop", [*first, *begun], {"body": body.graph}, len(begun))
        for before, value in zip(carried, made, strict=True):
            value.type, value.shape = before.type, before.shape
        results = iter(made)
        found = [{name: next(results) for name in state} for state in states]
        return [([own[f"found_{i}"] for i in range(len(self.at))], own["error"], own["steps"]) for own in found]

    # -- what is carried from turn to turn ----------------------------------------------------------------------------

    def _state_before(self, op: OpBuilder, score: ir.Value) -> dict[str, ir.Value]:
        """By tensor: the sums over the ends, over the points of complete levels and over those of this one, the value
        at the last of 4, 8, 16, ... intervals, the value of examples that are done; and numbers of each example.
        """
        kept = ("at_ends", "inner", "added", "doubled", "found")
        start = {f"{name}_{i}": zeros(op, tensor) for name in kept for i, tensor in enumerate(self.at)}
        rows, wide = op.Shape(score), self.wide.numpy()
        types = {"done": np.dtype(bool), "steps": np.dtype(np.int64)}
        for name in ("score", "baseline_score", "change", "estimate", "error", "steps", "done"):
            empty = np.zeros(1, types.get(name, wide))
            start[name] = op.ConstantOfShape(rows, value=ir.tensor(empty))
        for name, value in start.items():
            value.dtype = value.dtype or ir.DataType.from_numpy(types.get(name, wide))
        return start

    def _shape(self, name: str) -> ir.Shape | None:
        stem, _, place = name.rpartition("_")
        if place.isdecimal() and stem:
            shape = self.at[int(place)].shape
            return None if shape is None else shape.copy()
        return ir.Shape([1 if self.layout.kind == "none" else self.layout.n or self.layout.symbol])

    def _after(
        self,
        op: OpBuilder,
        state: Mapping[str, ir.Value],
        turn: Mapping[str, ir.Value],
        parts: Sequence[ir.Value],
        scores: ir.Value,
    ) -> dict[str, ir.Value]:
        """The state after a turn."""
        is_end = op.Or(turn["at_x"], turn["at_start"])
        after: dict[str, ir.Value] = {
            "score": op.Where(turn["at_x"], op.Gather(scores, 0, axis=0), state["score"]),
            "baseline_score": op.Where(turn["at_start"], op.Gather(scores, -1, axis=0), state["baseline_score"]),
        }
        values, changes = [], []
        for i, part in enumerate(parts):
            at_ends, inner, added, doubled = (state[f"{n}_{i}"] for n in ("at_ends", "inner", "added", "doubled"))
            after[f"at_ends_{i}"] = at_ends = op.Where(is_end, op.Add(at_ends, part), at_ends)
            added = op.Where(is_end, added, op.Add(added, part))
            values.append(self._integral(op, inner, added, at_ends, turn))
            changes.append(op.Sub(values[-1], doubled))
            after[f"inner_{i}"] = op.Where(turn["ends_level"], op.Add(inner, added), inner)
            after[f"added_{i}"] = op.Where(turn["ends_level"], op.constant(np.zeros(1), like=inner), added)
            is_doubled = op.And(turn["ends_level"], op.Not(turn["between"]))
            after[f"doubled_{i}"] = op.Where(is_doubled, values[-1], doubled)
        size = self._l1(op, values)
        change = _ratio(op, self._l1(op, changes), size)
        estimate = self._estimate(op, change, state, turn)
        usual = op.Max(change, op.Mul(FASTEST, state["change"]))
        to_keep = op.And(is_doubled, op.Not(turn["alone"]))  # the first value is no change
        after["change"] = op.Where(to_keep, usual, state["change"])
        after["estimate"] = op.Where(turn["ends_level"], estimate, state["estimate"])
        error = self._not_below_what_lacks(op, estimate, values, size, after, turn)
        finite = _is_finite(op, size)
        error = op.Where(finite, error, op.constant(np.array(np.nan), like=error))
        ended = op.Or(op.Or(op.Not(op.Greater(error, self.tolerance)), turn["last"]), op.Not(finite))
        if self.layout.whole:  # no example can leave the others
            late = op.ReduceSum(op.Cast(op.Not(ended), to=ir.DataType.FLOAT), keepdims=0)
            ended = op.And(ended, op.Equal(late, 0.0))
        frozen = op.Or(state["done"], op.Not(turn["ends_level"]))
        after["error"] = op.Where(frozen, state["error"], error)
        after["steps"] = op.Where(frozen, state["steps"], turn["intervals"])
        after["done"] = op.Or(state["done"], op.And(turn["ends_level"], ended))
        for i, (tensor, value) in enumerate(zip(self.at, values, strict=True)):
            ones = [1] * rank(tensor) if self.layout.kind == "none" else [-1] + [1] * (rank(tensor) - 1)
            after[f"found_{i}"] = op.Where(op.Reshape(frozen, ones), state[f"found_{i}"], value)
        return after

    def _integral(
        self, op: OpBuilder, inner: ir.Value, added: ir.Value, at_ends: ir.Value, turn: Mapping[str, ir.Value]
    ) -> ir.Value:
        """The nested rule; the inner points alone where the gradient at an end is not finite (of a root at 0)."""
        before, factor, end = (op.Cast(turn[name], to=inner.dtype) for name in ("before", "factor", "end"))
        whole = op.Add(op.Mul(before, inner), op.Mul(factor, added))
        alone = op.Div(whole, op.Sub(1.0, op.Mul(2.0, end)))
        value: ir.Value = op.Where(_is_finite(op, at_ends), op.Add(whole, op.Mul(end, at_ends)), alone)
        return value

    def _estimate(
        self, op: OpBuilder, change: ir.Value, state: Mapping[str, ir.Value], turn: Mapping[str, ir.Value]
    ) -> ir.Value:
        """The error that the changes between levels tell, infinite before there is one."""
        between = op.Max(op.Mul(BETWEEN, change), op.Mul(LEAST_BETWEEN, state["estimate"]))
        fastest = op.constant(np.array(FASTEST), like=change)
        rate = op.Where(turn["second"], fastest, _ratio(op, change, state["change"]))
        held = op.Min(op.Max(rate, FASTEST), SLOWEST)
        left = op.Where(
            op.Less(rate, SMOOTH), op.constant(np.array(SMOOTH_LEFT), like=change), op.Div(held, op.Sub(1.0, held))
        )
        doubled = op.Mul(change, left)
        infinite = op.constant(np.array(np.inf), like=change)
        estimate: ir.Value = op.Where(turn["alone"], infinite, op.Where(turn["between"], between, doubled))
        return estimate

    def _not_below_what_lacks(
        self,
        op: OpBuilder,
        error: ir.Value,
        values: Sequence[ir.Value],
        size: ir.Value,
        ends: Mapping[str, ir.Value],
        turn: Mapping[str, ir.Value],
    ) -> ir.Value:
        """``error``, or three times the relative convergence delta that rounding does not explain, if that is more."""
        if self.rounding is None:
            return error
        if self.spread is not None:
            values = [op.Mul(value, factor) for value, factor in zip(values, self.spread, strict=True)]
            size = self._l1(op, values)
        total = self._summed(op, values)
        score, start = ends["score"], ends["baseline_score"]
        rounding = op.Mul(ROUNDINGS * self.rounding, op.Max(op.Abs(score), op.Abs(start)))
        lack = op.Sub(op.Abs(op.Sub(total, op.Sub(score, start))), rounding)
        lack = op.Where(op.Greater(lack, 0.0), lack, op.constant(np.zeros(1), like=lack))  # 0 of NaN too
        least = op.Mul(CANCELLED, _ratio(op, lack, size))
        known: ir.Value = op.Where(op.And(turn["delta_tells"], op.Greater(least, error)), least, error)
        return known

    # -- numbers of an example ----------------------------------------------------------------------------------------

    def _l1(self, op: OpBuilder, values: Sequence[ir.Value]) -> ir.Value:
        """Σ |values| of each example, over all tensors."""
        return self._summed(op, [op.Abs(value) for value in values])

    def _summed(self, op: OpBuilder, values: Sequence[ir.Value]) -> ir.Value:
        return sum_by_example(op, values, self.layout)

    def _constant(self, op: OpBuilder, table: Array) -> ir.Value:
        return op.constant(table.astype(self.wide.numpy()) if table.dtype.kind == "f" else table)


def sum_by_example(op: OpBuilder, values: Sequence[ir.Value], layout: Layout) -> ir.Value:
    """Σ over every element of all ``values`` of an example, [N], in the type of the first."""
    rows = [1, -1] if layout.kind == "none" else [0, -1]
    sums = [op.ReduceSum(op.Reshape(op.Unsqueeze(a, [-1]), rows, allowzero=0), [1], keepdims=0) for a in values]
    total = sums[0]
    for other in sums[1:]:
        total = op.Add(total, op.Cast(other, to=sums[0].dtype))
    total.dtype = sums[0].dtype
    return total


def _ratio(op: OpBuilder, part: ir.Value, of: ir.Value) -> ir.Value:
    """part / of, 0 for 0 / 0."""
    zero = op.constant(np.zeros(1), like=part)
    result: ir.Value = op.Where(op.Equal(part, 0.0), zero, op.Div(part, of))
    return result


def _is_finite(op: OpBuilder, x: ir.Value) -> ir.Value:
    """Neither infinite nor NaN, elementwise."""
    finite: ir.Value = op.Less(op.Abs(x), op.constant(np.array(np.inf), like=x))
    return finite
