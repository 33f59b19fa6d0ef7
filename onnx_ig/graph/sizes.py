"""Arithmetic on sizes that may be known or not.

The one idea: a size is a Python int while it is known and an int64 [1] tensor once it is not; the same formula then
yields constants for a static model and shape arithmetic for a dynamic one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder

Size: TypeAlias = "int | ir.Value"


def size(op: OpBuilder, x: ir.Value, axis: int) -> Size:
    """The size of ``x`` along ``axis``."""
    if x.shape is not None and isinstance(known := x.shape[axis], int):
        return known
    return op.dim(x, axis)


def sizes(op: OpBuilder, x: ir.Value) -> list[Size]:
    """The size of each axis of ``x``, whose rank must be known."""
    assert x.shape is not None
    return [size(op, x, axis) for axis in range(len(x.shape))]


def _binary(
    of_numbers: Callable[[int, int], int], op_type: str, *, left: int | None = None, right: int | None = None
) -> Callable[[OpBuilder, Size, Size], Size]:
    """The operation with nothing to do for a neutral number at its ``left`` or ``right``."""

    def apply(op: OpBuilder, a: Size, b: Size) -> Size:
        if isinstance(a, int) and isinstance(b, int):
            return of_numbers(a, b)
        if right is not None and is_number(b, right):
            return a
        if left is not None and is_number(a, left):
            return b
        result: ir.Value = getattr(op, op_type)(a, b)
        known = result.const_value
        return int(known.numpy().item()) if known is not None and known.size == 1 else result

    return apply


plus = _binary(lambda a, b: a + b, "Add", left=0, right=0)
minus = _binary(lambda a, b: a - b, "Sub", right=0)
times = _binary(lambda a, b: a * b, "Mul", left=1, right=1)
floordiv = _binary(lambda a, b: a // b, "Div", right=1)  # of non-negative numbers: Div rounds towards zero
lower_of = _binary(min, "Min")
higher_of = _binary(max, "Max")


def from_front(op: OpBuilder, position: Size, length: Size) -> Size:
    """``position`` counted from the front: plus ``length`` where it is negative."""
    if isinstance(position, int):
        return plus(op, position, length) if position < 0 else position
    return op.Where(op.Less(position, 0), op.Add(position, length), position)


def vector(op: OpBuilder, parts: Sequence[Size]) -> ir.Value:
    """The sizes as one int64 tensor [len(parts)]."""
    if all(isinstance(p, int) for p in parts):
        return op.constant(np.array(parts, np.int64))
    values = [op.constant(np.array([p], np.int64)) if isinstance(p, int) else p for p in parts]
    return op.Concat(*values, axis=0) if len(values) > 1 else values[0]


def is_number(p: Size, number: int) -> bool:
    """Whether the size is known, and that number."""
    return isinstance(p, int) and p == number
