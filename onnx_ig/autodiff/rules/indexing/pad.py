"""The VJP rule of Pad in all its modes."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder, is_static, rank_of, static_shape
from onnx_ig.graph.node import attr_str, constant, given, optional
from onnx_ig.graph.shapes import INT64_MAX, INT64_MIN, add_at, cut, pad, positions
from onnx_ig.graph.sizes import Size, minus, size


@vjp("Pad")
def pad_(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = x with b elements put before and e behind it along each axis (negative: cut off).

    constant: dx = the middle of dy; d constant_value = the sum of the rest.
    reflect, edge, wrap: dx = the middle of dy, plus each border piece where its elements were copied from.
    """
    x, mode = given(node, 0), attr_str(node, "mode", "constant")
    amounts = _amounts(node)
    if mode == "constant":

        def dx() -> ir.Value:
            if amounts is not None and all(p >= 0 for pair in amounts.values() for p in pair):
                return _middle(op, dy, amounts)
            axes = optional(node, 3)
            return op.Pad(dy, op.Neg(given(node, 1)), None, *([] if axes is None else [axes]))

        def dvalue() -> ir.Value:
            value = given(node, 2)
            rest = op.Sub(op.ReduceSum(dy, keepdims=0), op.ReduceSum(dx(), keepdims=0))
            return op.reshape_like(rest, value) if rank_of(value) != 0 else rest

        return (dx, None, dvalue, None)[: len(node.inputs)]
    others = [None] * (len(node.inputs) - 1)
    if amounts is None or not _folds_once(x, amounts, mode):
        axes = optional(node, 3)
        moved = op.Pad(positions(op, x), given(node, 1), None, *([] if axes is None else [axes]), mode=mode)
        return (add_at(op, x, moved, dy), *others)
    result = dy
    for axis, (before, after) in amounts.items():
        if before or after:
            result = _folded_back(op, result, axis, before, after, size(op, x, axis), mode)
    return (result, *others)


def _amounts(node: ir.Node) -> dict[int, tuple[int, int]] | None:
    """axis → (before, after), None where they are only known at run time."""
    pads, axes = constant(given(node, 1)), constant(optional(node, 3))
    if pads is None or (axes is None and optional(node, 3) is not None):
        return None
    half = len(pads) // 2
    where = range(half) if axes is None else axes.tolist()
    return {int(axis): (int(pads[i]), int(pads[half + i])) for i, axis in enumerate(where)}


def _middle(op: OpBuilder, dy: ir.Value, amounts: dict[int, tuple[int, int]]) -> ir.Value:
    used = {axis: pair for axis, pair in amounts.items() if pair != (0, 0)}
    if not used:
        return dy
    starts = [before for before, _ in used.values()]
    ends = [-after if after else INT64_MAX for _, after in used.values()]
    return op.Slice(dy, starts, ends, list(used))


def _folds_once(x: ir.Value, amounts: dict[int, tuple[int, int]], mode: str) -> bool:
    """Whether each border is at most one copy of x and nothing is cut off."""
    if any(p < 0 for pair in amounts.values() for p in pair):
        return False
    if mode == "edge":
        return True
    if not is_static(x):
        return mode == "reflect"  # runtimes refuse a reflection longer than the axis, but not a wrap
    spare = 1 if mode == "reflect" else 0
    return all(max(pair) <= static_shape(x)[axis] - spare for axis, pair in amounts.items())


def _folded_back(op: OpBuilder, dy: ir.Value, axis: int, before: int, after: int, length: Size, mode: str) -> ir.Value:
    """``dy`` of length before + D + after along ``axis`` with its borders added to where they came from."""
    total = cut(op, dy, axis, before, -after if after else INT64_MAX)
    if before:
        border = (
            op.Slice(dy, [before - 1], [INT64_MIN], [axis], [-1]) if mode == "reflect" else cut(op, dy, axis, 0, before)
        )
        if mode == "reflect":  # came from 1 .. before, back to front
            moved = pad(op, border, {axis: (1, minus(op, length, before + 1))})
        elif mode == "edge":
            moved = pad(op, op.ReduceSum(border, [axis], keepdims=1), {axis: (0, minus(op, length, 1))})
        else:  # came from the last ones
            moved = pad(op, border, {axis: (minus(op, length, before), 0)})
        total = op.Add(total, moved)
    if after:
        border = (
            op.Slice(dy, [-1], [-after - 1], [axis], [-1])
            if mode == "reflect"
            else cut(op, dy, axis, -after, INT64_MAX)
        )
        if mode == "reflect":  # came from D − 1 − after .. D − 2, back to front
            moved = pad(op, border, {axis: (minus(op, length, after + 1), 1)})
        elif mode == "edge":
            moved = pad(op, op.ReduceSum(border, [axis], keepdims=1), {axis: (minus(op, length, 1), 0)})
        else:  # came from the first ones
            moved = pad(op, border, {axis: (0, minus(op, length, after))})
        total = op.Add(total, moved)
    return total
