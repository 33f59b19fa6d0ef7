"""Cotangents of models that compute in half precision: scaled where float16 would underflow, summed in float32.

The one idea: a gradient is linear in its seed. float16 loses what is smaller than 6e-8, and all but a few bits of what
is smaller than 6e-5, so the seed is a power of two. A scale that makes anything overflow is seen by the infinities
and NaN that it leaves, and lowered. (bfloat16 has the range of float32, and needs none.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.copying import Copy

_FIRST_SCALE, _FACTOR, _TRIALS = 2.0**10, 2.0**-6, 4  # 1024, 16, 1/4, 1/256

Reduction = Callable[[OpBuilder, Sequence[ir.Value]], list[ir.Value]]


def accumulator_type(value: ir.Value) -> ir.DataType:
    """The element type that sums over the path are kept in: float64 for float64, else float32."""
    return ir.DataType.DOUBLE if value.dtype == ir.DataType.DOUBLE else ir.DataType.FLOAT


def is_half(nodes: Iterable[ir.Node]) -> bool:
    """Whether any of the nodes computes in half precision."""
    return bool(_types(nodes) & {ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


def widened(op: OpBuilder, values: Sequence[ir.Value]) -> list[ir.Value]:
    """The values in the types that sums are kept in."""
    return [x if x.dtype == accumulator_type(x) else op.Cast(x, to=accumulator_type(x)) for x in values]


def zeros(op: OpBuilder, like: ir.Value) -> ir.Value:
    """An empty sum of ``like``'s shape."""
    dtype = accumulator_type(like)
    made: ir.Value = op.ConstantOfShape(op.Shape(like), value=ir.tensor(np.zeros(1, dtype.numpy()), dtype=dtype))
    return made


def half_cotangents(
    copy: Copy, op: OpBuilder, nodes: Sequence[ir.Node], seed: ir.Value, ones: ir.Value, wanted: Sequence[ir.Value],
    like: Sequence[ir.Value], reduce: Reduction,
) -> list[ir.Value]:  # fmt: skip
    """``reduce`` of the cotangents ``wanted`` for the seed ``ones``.

    Args:
        copy: holds the forward values; it goes on in ``op``'s graph, or in the body of a Loop over scales there.
        nodes: forward and adjoint; ``seed``: the value among their inputs that ``ones`` takes the place of.
        like: a tensor of the shape and kind of each result.
        reduce: linear; gives float32 or float64.
    """
    if ir.DataType.FLOAT16 not in _types(nodes):
        copy.replace(seed, ones)
        return reduce(op, copy.of(wanted))
    index = ir.val(op.fresh("trial"), dtype=ir.DataType.INT64, shape=[])
    going = ir.val(op.fresh("going"), dtype=ir.DataType.BOOL, shape=[])
    scale = ir.val(op.fresh("scale"), dtype=ir.DataType.FLOAT, shape=[])
    carried = [ir.val(op.fresh("unscaled"), dtype=accumulator_type(x), shape=x.shape) for x in like]
    body = op.subgraph("scales", [index, going, scale, *carried])
    inner = copy.within(body)
    inner.replace(seed, body.Mul(ones, body.Cast(scale, to=ones.dtype)))
    reduced = reduce(body, inner.of(wanted))
    results = [body.Div(r, body.Cast(scale, to=accumulator_type(x))) for r, x in zip(reduced, like, strict=True)]
    overflows = [body.Not(body.Equal(body.ReduceSum(body.Mul(r, 0.0), keepdims=0), 0.0)) for r in results]  # inf · 0
    again = overflows[0]
    for other in overflows[1:]:
        again = body.Or(again, other)
    body.graph.outputs.extend([again, body.Mul(scale, _FACTOR)])
    for value, result in zip(carried, results, strict=True):
        result.type, result.shape = value.type, value.shape
        body.graph.outputs.append(result)
    first = op.constant(np.array(_FIRST_SCALE, np.float32))
    start = [op.constant(np.array(_TRIALS)), op.constant(np.array(True)), first, *(zeros(op, x) for x in like)]
    found = op.add_node("Loop", start, {"body": body.graph}, 1 + len(like))[1:]
    for made, value in zip(found, carried, strict=True):
        made.type, made.shape = value.type, value.shape
    return list(found)


def _types(nodes: Iterable[ir.Node]) -> set[ir.DataType | None]:
    return {y.dtype for node in nodes for y in node.outputs}
