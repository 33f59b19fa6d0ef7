"""The part of the table that random graphs are drawn from whose operators pick, place and resample elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.judging.graphs.draft import Draft, Tensor, Unfit
from tests.judging.graphs.pointwise import Step

INDEXING: dict[str, Step] = {}


def _entry(name: str) -> Callable[[Step], Step]:
    def register(step: Step) -> Step:
        INDEXING[name] = step
        return step

    return register


def _indices(g: Draft, size: int, *shape: int) -> Tensor:
    """Indices of [−size, size): constants, or an integer input of the model."""
    return g.leaf(g.rng.integers(-size, size, shape).astype(np.int64))


@_entry("Gather")
def _gather(g: Draft) -> Tensor:
    x = g.tensor()
    axis = g.axis(x)
    return g.add("Gather", [x, _indices(g, x.shape[axis], *g.choice(((), (1,), (3,), (2, 2))))], axis=axis)


@_entry("GatherElements")
def _gather_elements(g: Draft) -> Tensor:
    x = g.tensor()
    axis = g.axis(x)
    shape = [g.integer(1, 4) if a == axis % x.rank else d for a, d in enumerate(x.shape)]
    return g.add("GatherElements", [x, _indices(g, x.shape[axis], *shape)], axis=axis)


@_entry("GatherND")
def _gather_nd(g: Draft) -> Tensor:
    x = g.tensor(1, 2, 3)
    batch = g.integer(0, x.rank - 1)
    depth = g.integer(1, x.rank - batch)
    rows = (*x.shape[:batch], g.integer(1, 3))
    columns = [g.rng.integers(-d, d, rows) for d in x.shape[batch : batch + depth]]
    return g.add("GatherND", [x, g.leaf(np.stack(columns, -1).astype(np.int64))], batch_dims=batch)


@_entry("ScatterElements")
def _scatter_elements(g: Draft) -> Tensor:
    x = g.tensor(1, 2, 3)
    axis = g.axis(x)
    i, size = axis % x.rank, x.shape[axis]
    reduction = g.choice(("none", "add", "mul", *(("max", "min") if g.opset >= 18 else ())))
    shape = [*x.shape]
    if reduction == "none":  # each place once: what a second write leaves is not defined
        shape[i] = g.integer(1, size)
        order = g.rng.permuted(np.broadcast_to(np.arange(size).reshape(-1, *[1] * (x.rank - 1 - i)), x.shape), axis=i)
        indices = g.leaf(np.take(order, range(shape[i]), axis=i).astype(np.int64))
    else:
        shape[i] = g.integer(1, size + 1)
        indices = _indices(g, size, *shape)
    return g.add("ScatterElements", [x, indices, g.weight(*shape)], axis=axis, reduction=reduction)


@_entry("ScatterND")
def _scatter_nd(g: Draft) -> Tensor:
    x = g.tensor(1, 2, 3)
    reduction = g.choice(("none", "add", "mul", *(("max", "min") if g.opset >= 18 else ())))
    count = g.integer(1, x.shape[0])
    rows = g.rng.choice(x.shape[0], count, replace=reduction != "none").reshape(-1, 1).astype(np.int64)
    return g.add("ScatterND", [x, g.leaf(rows), g.weight(count, *x.shape[1:])], reduction=reduction)


@_entry("TopK")
def _top_k(g: Draft) -> Tensor:
    x = g.tensor()
    axis = g.axis(x)
    k, largest = g.integer(1, x.shape[axis]), g.integer(0, 1)
    values, indices = g.add_many("TopK", [x, g.ints([k])], 2, axis=axis, largest=largest)
    return g.add("GatherElements", [x, indices], axis=axis) if g.flag() else values


@_entry("ArgMax")
def _arg_max(g: Draft) -> Tensor:
    x = g.tensor()
    axis = g.axis(x)
    picked = g.add(g.choice(("ArgMax", "ArgMin")), [x], axis=axis, keepdims=1)
    return g.add("GatherElements", [x, picked], axis=axis)


@_entry("OneHot")
def _one_hot(g: Draft) -> Tensor:
    values = g.add("Slice", [g.reranked(g.tensor(), 1), g.ints([0]), g.ints([2])]) if g.flag() else g.weight(2)
    if values.shape != (2,):
        raise Unfit("one element only")
    return g.add("OneHot", [_indices(g, 3, 2, 2), g.ints(3), values], axis=g.integer(-3, 2))


@_entry("Compress")
def _compress(g: Draft) -> Tensor:
    x = g.tensor()
    axis = g.axis(x)
    chosen = g.rng.random(x.shape[axis]) < 0.6
    chosen[0] = True
    mask = g.leaf(chosen)
    i = axis % x.rank
    shape = (*x.shape[:i], int(chosen.sum()), *x.shape[i + 1 :])
    return g.add("Compress", [x, mask], axis=axis, known_shape=shape)


@_entry("Trilu")
def _trilu(g: Draft) -> Tensor:
    x = g.tensor(2, 3, 4)
    return g.add("Trilu", [x, g.ints(g.integer(-2, 2))] if g.flag() else [x], upper=g.integer(0, 1))


@_entry("ReverseSequence")
def _reverse_sequence(g: Draft) -> Tensor:
    x = g.tensor(2, 3, 4)
    batch = g.integer(0, 1)
    lengths = g.rng.integers(1, x.shape[1 - batch] + 1, x.shape[batch]).astype(np.int64)
    return g.add("ReverseSequence", [x, g.leaf(lengths)], batch_axis=batch, time_axis=1 - batch)


@_entry("depth and space")
def _depth_space(g: Draft) -> Tensor:
    x = g.tensor(4)
    if x.shape[1] % 4 == 0:
        return g.add("DepthToSpace", [x], blocksize=2, mode=g.choice(("DCR", "CRD")))
    if x.shape[2] % 2 or x.shape[3] % 2:
        raise Unfit("odd sizes")
    return g.add("SpaceToDepth", [x], blocksize=2)


@_entry("Resize")
def _resize(g: Draft) -> Tensor:
    x = g.tensor(3, 4)
    mode = g.choice(("nearest", "linear", "cubic") if x.rank == 4 else ("nearest", "linear"))
    how = g.choice(("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"))
    spatial = x.shape[2:]
    rounding = {"nearest_mode": g.choice(("round_prefer_floor", "floor"))} if mode == "nearest" else {}
    attributes = {"mode": mode, "coordinate_transformation_mode": how, **rounding}
    if g.flag():
        sizes = [*x.shape[:2], *(g.integer(1, 6) for _ in spatial)]
        return g.add("Resize", [x, None, None, g.ints(sizes)], **attributes)
    scales = np.array([1, 1, *(g.choice((0.5, 1.0, 1.5, 2.0, 3.0)) for _ in spatial)], np.float32)
    return g.add("Resize", [x, None, g.leaf(scales, kinds=2)], **attributes)


@_entry("Det")
def _det(g: Draft) -> Tensor:
    x = g.tensor(2, 3)
    n = min(*x.shape[-2:], 3)
    square = g.add("Slice", [x, g.ints([0, 0]), g.ints([n, n]), g.ints([-2, -1])])
    eye = g.leaf(2 * np.eye(n, dtype=np.float32), kinds=2)
    return g.add("Det", [g.add("Add", [g.add("Tanh", [square]), eye])])


@_entry("loss")
def _loss(g: Draft) -> Tensor:
    x = g.tensor(2, 3)
    labels = g.leaf(g.rng.integers(0, x.shape[1], (x.shape[0], *x.shape[2:])).astype(np.int64))
    reduction = g.choice(("none", "mean", "sum"))
    if g.flag():
        return g.add("SoftmaxCrossEntropyLoss", [x, labels], reduction=reduction)
    weight = [g.weight(x.shape[1], low=0.5, high=1.5)] if g.flag() else []
    return g.add("NegativeLogLikelihoodLoss", [x, labels, *weight], reduction=reduction)


@_entry("sequence")
def _sequence(g: Draft) -> Tensor:
    """Tensors through a sequence and out again."""
    x = g.tensor(1, 2, 3)
    axis, size = (a := g.axis(x)), x.shape[a]
    if g.flag():
        packed, length, item = g.add("SequenceConstruct", [x, g.weight(*x.shape), x]), 3, size
    else:
        packed, length, item = g.add("SplitToSequence", [x, g.ints(1)], axis=axis), size, 1

    def resized(to: int) -> tuple[int, ...]:
        i = axis % x.rank
        return (*x.shape[:i], to, *x.shape[i + 1 :])

    if g.flag():
        return g.add("SequenceAt", [packed, g.ints(g.integer(-length, length - 1))], known_shape=resized(item))
    return g.add("ConcatFromSequence", [packed], axis=axis, known_shape=resized(length * item))


@_entry("recurrent")
def _recurrent(g: Draft) -> Tensor:
    x = g.tensor(3)
    kind, gates = g.choice((("RNN", 1), ("GRU", 3), ("LSTM", 4)))
    hidden, both = g.integer(1, 3), g.integer(1, 2)
    w = g.weight(both, gates * hidden, x.shape[2], low=-0.5, high=0.5)
    r = g.weight(both, gates * hidden, hidden, low=-0.5, high=0.5)
    bias = [g.weight(both, 2 * gates * hidden)] if g.flag() else []
    direction = "bidirectional" if both == 2 else g.choice(("forward", "reverse"))
    reset: dict[str, Any] = {"linear_before_reset": g.integer(0, 1)} if kind == "GRU" else {}
    return g.choice(g.add_many(kind, [x, w, r, *bias], 2, hidden_size=hidden, direction=direction, **reset))
