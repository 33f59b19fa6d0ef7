"""The step: Σ_k w_k · cotangent at the frontier over a set of path points, and F at each of them.

The one idea: path points ride as further examples (example k·N + n is path point k of example n) and the quadrature
weights ride in the cotangent of the output, so that one backward pass and one sum over k give the whole chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from onnx_ig.attribution import target as targets
from onnx_ig.attribution.layout import Layout
from onnx_ig.attribution.precision import accumulator_type, half_cotangents, is_half
from onnx_ig.attribution.target import Selection
from onnx_ig.errors import InputError
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.copying import Copy, needed_for
from onnx_ig.graph.reading import all_dependents, read_by

_END = 2**63 - 1
Bounds = tuple[ir.Value, ir.Value]  # int64 [1] each


@dataclass(frozen=True)
class GradientGraph:
    """A differentiated model, taken apart into the values that the parts of an attribution model join.

    Attributes:
        nodes: all nodes in topological order, forward and adjoint.
        output: the tensor F is selected from; ``seed``: the value that stands for its cotangent.
        target_rank: how many axes of ``output`` a target selects from; 0: one number per example.
        frontier: the tensors at which the path is laid, each with the axis of its examples; ``grads``: the cotangents
            there, in the same order.
    """

    nodes: list[ir.Node]
    output: ir.Value
    seed: ir.Value
    target_rank: int
    frontier: dict[ir.Value, int]
    grads: list[ir.Value]


@dataclass(frozen=True)
class Question:
    """What a step finds for one target of each example.

    Attributes:
        sums: of each part of the path Σ_k w_k · cotangent at each frontier tensor (its shape, at least float32).
        scores: F, [K, N].
    """

    selection: Selection
    sums: list[list[ir.Value]]
    scores: ir.Value


def run_step(
    op: OpBuilder,
    graph: GradientGraph,
    layout: Layout,
    ends: Sequence[tuple[ir.Value, ir.Value]],
    per_example: Mapping[ir.Value, ir.Value],
    select: Callable[[ir.Value], Sequence[Selection]],
    nodes: ir.Value,
    weights: ir.Value,
    parts: Sequence[Bounds] = (),
) -> list[Question]:
    """Append one step to op's graph: one forward pass, and a backward pass for each selection.

    Args:
        ends: at each frontier tensor its value at the baseline (of N examples or 1) and at x (of N).
        per_example: model inputs with one row per example → their value; repeated for each path point.
        select: the selections, of N targets each, given the output at the path points.
        nodes: a_k, [K]; K is 1 unless the layout is batched.
        weights: w_k, [K].
        parts: of the points that are summed apart, the first and the one behind the last; none: all together.
    """
    replaced = {
        f: _path_points(op, f, axis, start, end, nodes, layout)
        for (f, axis), (start, end) in zip(graph.frontier.items(), ends, strict=True)
    }
    for value, given in per_example.items():
        replaced.setdefault(value, _per_point(op, given, nodes, layout))
    copy = Copy(op, graph.nodes, replaced)
    (output,) = copy.of([graph.output])
    output.shape = output.shape or _with_points(graph.output, layout)
    selections = select(output)
    points = op.Shape(nodes)
    grid = (points, op.Div(op.dim(output, 0), points)) if layout.batched else None
    if len(selections) > 1:
        copy.of(_whatever_the_seed(graph))

    each, several = len(graph.frontier), max(1, len(parts))

    def sums(o: OpBuilder, grads: Sequence[ir.Value]) -> list[ir.Value]:
        """Those of each part, of which each has all tensors."""
        of_tensors = [
            _sums_over_path(o, g, f, axis, nodes, half, layout, parts)
            for g, (f, axis) in zip(grads, graph.frontier.items(), strict=True)
        ]
        return [of_parts[part] for part in range(several) for of_parts in of_tensors]

    half = weights if is_half(graph.nodes) else None  # the weights' bits would be lost in the seed

    def asked(selection: Selection) -> Question:
        own = copy.within(op)
        scores = targets.score(op, output, selection, grid)
        by_point = scores if grid is not None else op.Unsqueeze(scores, [0])
        if half is not None:
            ones = targets.seed(op, output, selection, None, grid)
            like = list(graph.frontier) * several
            summed = half_cotangents(own, op, graph.nodes, graph.seed, ones, graph.grads, like, sums)
        else:
            own.replace(graph.seed, targets.seed(op, output, selection, op.Cast(weights, to=graph.output.dtype), grid))
            summed = sums(op, own.of(graph.grads))
        return Question(selection, [summed[i : i + each] for i in range(0, len(summed), each)], by_point)

    return [asked(selection) for selection in selections]


def _whatever_the_seed(graph: GradientGraph) -> list[ir.Value]:
    """What the cotangents read that is the same for every target: the forward values, and what is made of them."""
    of_the_seed = all_dependents(graph.nodes, [graph.seed])
    adjoint = [node for node in graph.nodes if any(y in of_the_seed for y in node.outputs)]
    read = dict.fromkeys(x for node in needed_for(graph.grads, [], adjoint) for x in read_by(node))
    return [x for x in read if x not in of_the_seed]


def _with_points(output: ir.Value, layout: Layout) -> ir.Shape | None:
    """The shape of ``output`` at the path points, of which axis 0 and what goes with the examples is not known."""
    if output.shape is None or not layout.batched:
        return output.shape
    return ir.Shape([None, *(d if isinstance(d, int) else None for d in list(output.shape)[1:])])


def rank(value: ir.Value) -> int:
    """The number of axes of a tensor the path is laid at.

    Raises:
        InputError: the model does not tell.
    """
    if value.shape is None:
        raise InputError(f"the number of axes of {value.name!r} is unknown; declare its shape in the model")
    return len(value.shape)


def _path_points(
    op: OpBuilder, frontier: ir.Value, axis: int, start: ir.Value, end: ir.Value, nodes: ir.Value, layout: Layout
) -> ir.Value:
    """(1 − a_k) · start + a_k · end: K·N examples on ``axis`` when batched, else the frontier's own shape (K = 1).

    Exact at both ends and wherever start and end are: ties that the model has there (a MaxPool over a plain background)
    stay ties, which start + a · (end − start) would break by rounding. Half precision is left for the result alone.
    """
    wide = accumulator_type(frontier)
    narrow = frontier.dtype != wide
    a = op.Cast(nodes, to=wide)
    start, end = (op.Cast(x, to=wide) if narrow else x for x in (start, end))
    if layout.batched:
        a = op.Reshape(a, [-1] + [1] * (rank(frontier) - axis))  # of [..., K, N, ...]
        from_start = op.Mul(op.Sub(1.0, a), op.Unsqueeze(start, [axis]))
        points = op.Add(from_start, op.Mul(a, op.Unsqueeze(end, [axis])))
        points = _merge_examples(op, points, end, axis)
    else:
        a = op.Squeeze(a, [0]) if rank(frontier) == 0 else a
        points = op.Add(op.Mul(op.Sub(1.0, a), start), op.Mul(a, end))
    return op.Cast(points, to=frontier.dtype) if narrow else points


def _per_point(op: OpBuilder, value: ir.Value, nodes: ir.Value, layout: Layout) -> ir.Value:
    """``value`` [N, ...] repeated for each path point: [K·N, ...]."""
    if not layout.batched:
        return value
    shape = op.Concat(op.Shape(nodes), op.Shape(value), axis=0)
    return _merge_examples(op, op.Expand(op.Unsqueeze(value, [0]), shape), value, 0)


def _merge_examples(op: OpBuilder, x: ir.Value, like: ir.Value, axis: int) -> ir.Value:
    """[..., K, N, ...] → [..., K·N, ...], the dimensions before and behind ``axis`` being those of ``like``."""
    return op.Reshape(x, _around(op, like, axis, [-1]))


def _around(op: OpBuilder, like: ir.Value, axis: int, *between: Any) -> ir.Value:
    """The shape of ``like`` with the dimensions ``between`` instead of the one of ``axis``."""
    shape = op.Shape(like)
    before = [op.Slice(shape, [0], [axis], [0])] if axis else []
    return op.Concat(*before, *between, op.Slice(shape, [axis + 1], [_END], [0]), axis=0)


def _sums_over_path(
    op: OpBuilder,
    grad: ir.Value,
    frontier: ir.Value,
    axis: int,
    nodes: ir.Value,
    weights: ir.Value | None,
    layout: Layout,
    parts: Sequence[Bounds],
) -> list[ir.Value]:
    """Σ over the K path points of ``grad`` [..., K·N, ...], or over those of each part, at least in float32.

    Without ``weights`` [K] it is weighted already.
    """
    wide = accumulator_type(frontier)
    if frontier.dtype != wide:
        grad = op.Cast(grad, to=wide)
    if not layout.batched:
        return [grad if weights is None else op.Mul(grad, op.Cast(op.Squeeze(weights, [0]), to=wide))]
    by_point = op.Reshape(grad, _around(op, grad, axis, op.Shape(nodes), [-1]))
    if weights is not None:
        by_point = op.Mul(by_point, op.Reshape(op.Cast(weights, to=wide), [-1] + [1] * (rank(frontier) - axis)))
    chosen = [op.Slice(by_point, first, behind, [axis]) for first, behind in parts] or [by_point]
    return [op.ReduceSum(points, [axis], keepdims=0) for points in chosen]
