"""The structural part of the table that random graphs are drawn from: products, windows, and the moving of elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.judging.graphs.draft import Draft, Tensor, Unfit
from tests.judging.graphs.pointwise import Step, positive

STRUCTURAL: dict[str, Step] = {}


def _entry(name: str) -> Callable[[Step], Step]:
    def register(step: Step) -> Step:
        STRUCTURAL[name] = step
        return step

    return register


def _matrix(g: Draft, *shape: int) -> Tensor:
    """A weight that keeps the size of what it multiplies: ``shape[-2]`` terms are added."""
    limit = 1.5 / float(np.sqrt(shape[-2] if len(shape) > 1 else shape[0]))
    return g.weight(*shape, low=-limit, high=limit)


@_entry("MatMul")
def _matmul(g: Draft) -> Tensor:
    x = g.tensor()
    kind = g.integer(0, 3)
    if kind == 0 or x.rank < 2:
        return g.add("MatMul", [x, _matrix(g, x.shape[-1], g.integer(1, 4)) if g.flag() else _matrix(g, x.shape[-1])])
    if kind == 1:
        return g.add("MatMul", [_matrix(g, g.integer(1, 4), x.shape[-2]), x])
    swapped = g.add("Transpose", [x], perm=[*range(x.rank - 2), x.rank - 1, x.rank - 2])
    if kind == 2:
        return g.add("Mul", [g.add("MatMul", [x, swapped]), g.scalar(1 / x.shape[-1])])
    return g.add("MatMul", [x, _matrix(g, *x.shape[:-2], x.shape[-1], g.integer(1, 3))])


@_entry("Gemm")
def _gemm(g: Draft) -> Tensor:
    x = g.tensor(2)
    a, b, n = g.integer(0, 1), g.integer(0, 1), g.integer(1, 4)
    rows, inner = x.shape[::-1] if a else x.shape
    c = [g.weight(*g.choice([(n,), (1, n), (rows, 1), (rows, n), (1,)]))] if g.flag() else []
    scales = {"alpha": 0.7, "beta": 1.3} if g.flag() else {}
    return g.add("Gemm", [x, _matrix(g, *((n, inner) if b else (inner, n))), *c], transA=a, transB=b, **scales)


@_entry("Einsum")
def _einsum(g: Draft) -> Tensor:
    equation = g.choice(
        ("ij->ji", "ij,jk->ik", "ij,ij->i", "bij,bkj->bik", "bij,jk->kbi", "...ij,jk->...ik", "ij,i->", "bij->bj")
    )
    first, *second = equation.split("->")[0].split(",")
    rank = len(first.replace("...", ""))
    x = g.tensor(rank, *([rank + 1] if "..." in first else []))
    sizes = dict(zip(reversed(first), reversed(x.shape), strict=False))
    others = [_matrix(g, *(sizes.get(letter, 3) for letter in letters)) for letters in second]
    return g.add("Einsum", [x, *others], equation=equation)


def _windows(g: Draft, x: Tensor, dilate: bool = True) -> dict[str, Any]:
    """Kernel, strides, dilations and pads that fit the axes of ``x`` after the first two."""
    spatial = x.shape[2:]
    kernel = [g.integer(1, min(3, d)) for d in spatial]
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    if g.flag():
        attributes["strides"] = [g.integer(1, 3) for _ in spatial]
    if dilate and g.integer(0, 3) == 0:
        attributes["dilations"] = [2 if 2 * (k - 1) < d else 1 for k, d in zip(kernel, spatial, strict=True)]
    elif g.integer(0, 2) == 0:
        attributes["auto_pad"] = g.choice(("SAME_UPPER", "SAME_LOWER", "VALID"))
        return attributes
    if g.flag():
        attributes["pads"] = [g.integer(0, k - 1) for k in kernel * 2]
    return attributes


@_entry("Conv")
def _conv(g: Draft) -> Tensor:
    x = g.tensor(3, 4)
    attributes = _windows(g, x)
    group = g.choice([n for n in range(1, x.shape[1] + 1) if x.shape[1] % n == 0])
    outs, ins = group * g.integer(1, 2), x.shape[1] // group
    limit = 1.5 / float(np.sqrt(ins * np.prod(attributes["kernel_shape"])))
    w = g.weight(outs, ins, *attributes["kernel_shape"], low=-limit, high=limit)
    return g.add("Conv", [x, w, g.weight(outs)] if g.flag() else [x, w], group=group, **attributes)


@_entry("ConvTranspose")
def _conv_transpose(g: Draft) -> Tensor:
    x = g.tensor(3, 4)
    spatial = x.rank - 2
    kernel, strides = [g.integer(1, 3) for _ in range(spatial)], [g.integer(1, 2) for _ in range(spatial)]
    pads = [0 if k == 1 else g.integer(0, 1) for k in kernel] * 2
    w = g.weight(x.shape[1], g.integer(1, 2), *kernel, low=-0.5, high=0.5)
    return g.add("ConvTranspose", [x, w], kernel_shape=kernel, strides=strides, pads=pads)


@_entry("pool")
def _pool(g: Draft) -> Tensor:
    x = g.tensor(3, 4)
    kind = g.choice(("MaxPool", "AveragePool", "LpPool"))
    attributes = _windows(g, x, dilate=kind == "MaxPool")
    if x.rank == 3:  # onnx's evaluator knows no automatic pads of one axis
        attributes.pop("auto_pad", None)
    within = max(attributes.get("strides", [1])) <= min(attributes["kernel_shape"])
    if (
        kind != "LpPool" and "auto_pad" not in attributes and within
    ):  # else runtimes and inference differ on the last window
        attributes["ceil_mode"] = g.integer(0, 1)
    if kind == "AveragePool":
        attributes["count_include_pad"] = g.integer(0, 1)
    return g.add(kind, [positive(g, x) if kind == "LpPool" else x], **attributes)


@_entry("global pool")
def _global_pool(g: Draft) -> Tensor:
    x = g.tensor(3, 4)
    kind = g.choice(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"))
    return g.add(kind, [positive(g, x) if kind == "GlobalLpPool" else x])


@_entry("Reshape")
def _reshape(g: Draft) -> Tensor:
    x = g.tensor(0, 1, 2, 3, 4, 5)
    size = int(np.prod(x.shape))
    first = g.choice([d for d in range(1, size + 1) if size % d == 0])
    second = g.choice([d for d in range(1, size // first + 1) if size // first % d == 0])
    shape = g.choice(([-1], [first, -1], [first, second, -1], [first, second, size // first // second]))
    if x.rank and g.flag():
        shape = [0, -1, *([1] if g.flag() else [])]
    return g.add("Reshape", [x, g.ints(shape)])


@_entry("Reshape by shape arithmetic")
def _reshape_computed(g: Draft) -> Tensor:
    """As exporters write view(x.shape[0], -1) and flatten(0, 1)."""
    x = g.tensor(2, 3, 4)
    if g.flag():
        first = g.add("Gather", [g.shape_of(x), g.ints([0])])
        shape = g.add("Concat", [first, g.ints([-1])], axis=0)
        return g.add("Reshape", [x, g.tell(shape, [x.shape[0], -1])])
    sizes = [g.add("Gather", [g.shape_of(x), g.ints(i)]) for i in (0, 1)]
    joined = g.add("Unsqueeze", [g.add("Mul", sizes), g.ints([0])])
    shape = g.add("Concat", [joined, g.shape_of(x, start=2)], axis=0)
    return g.add("Reshape", [x, g.tell(shape, [x.shape[0] * x.shape[1], *x.shape[2:]])])


@_entry("Flatten")
def _flatten(g: Draft) -> Tensor:
    x = g.tensor()
    return g.add("Flatten", [x], axis=g.integer(-x.rank, x.rank))


@_entry("Squeeze")
def _squeeze(g: Draft) -> Tensor:
    x = g.tensor(2, 3, 4, 5)
    ones = [a for a, d in enumerate(x.shape) if d == 1]
    if not ones:
        raise Unfit("no axis of one element")
    return g.add("Squeeze", [x, g.ints([g.choice(ones) - (x.rank if g.flag() else 0)])])


@_entry("Unsqueeze")
def _unsqueeze(g: Draft) -> Tensor:
    x = g.tensor(0, 1, 2, 3)
    return g.reranked(x, x.rank + g.integer(1, 2))


@_entry("Transpose")
def _transpose(g: Draft) -> Tensor:
    x = g.tensor(2, 3, 4, 5)
    perm = list(range(x.rank))
    for i in range(x.rank - 1):
        j = g.integer(i, x.rank - 1)
        perm[i], perm[j] = perm[j], perm[i]
    return g.add("Transpose", [x]) if g.integer(0, 3) == 0 else g.add("Transpose", [x], perm=perm)


@_entry("Expand")
def _expand(g: Draft) -> Tensor:
    x = g.tensor()
    shape = [g.integer(1, 3) if d == 1 else g.choice((1, d)) for d in x.shape]
    if g.flag():
        return g.add("Expand", [x, g.ints([2, *shape] if g.flag() else shape)])
    y = g.peer(x)
    return g.add("Expand", [x, g.shape_of(y)])


@_entry("Tile")
def _tile(g: Draft) -> Tensor:
    x = g.tensor()
    return g.add("Tile", [x, g.ints([g.integer(1, 3) for _ in x.shape])])


@_entry("Concat")
def _concat(g: Draft) -> Tensor:
    x, axis = g.tensor(), 0
    axis = g.axis(x)
    i = axis % x.rank
    fits = [
        t for t in g.tensors if t.rank == x.rank and t.shape[:i] + t.shape[i + 1 :] == x.shape[:i] + x.shape[i + 1 :]
    ]
    parts = [g.choice(fits) for _ in range(g.integer(1, 2))]
    parts.append(g.weight(*x.shape[:i], g.integer(1, 2), *x.shape[i + 1 :]))
    return g.add("Concat", [x, *parts], axis=axis)


@_entry("Split")
def _split(g: Draft) -> list[Tensor]:
    x = g.tensor()
    axis = g.axis(x)
    size = x.shape[axis]
    if size < 2:
        raise Unfit("nothing to split")
    if g.opset >= 18 and g.flag():
        parts = g.choice([n for n in range(2, size + 1) if -(-size // n) * (n - 1) < size])
        return g.add_many("Split", [x], parts, axis=axis, num_outputs=parts)
    first = g.integer(1, size - 1)
    return g.add_many("Split", [x, g.ints([first, size - first])], 2, axis=axis)


@_entry("Slice")
def _slice(g: Draft) -> Tensor:
    x = g.tensor()
    axis = g.axis(x)
    size = x.shape[axis]
    start = g.integer(0, size - 1)
    stop = g.integer(start + 1, size)
    step = g.integer(1, 2)
    if g.flag():  # backwards
        bounds = stop - 1, (start - 1 if start else -(10**9)), -step
    else:
        bounds = g.choice((start, start - size)), g.choice((stop, stop + 100 if stop == size else stop)), step
    begin, end, stride = (g.ints([b]) for b in bounds)
    return g.add("Slice", [x, begin, end, g.ints([axis]), stride])


@_entry("Pad")
def _pad(g: Draft) -> Tensor:
    x = g.tensor()
    mode = g.choice(("constant", "reflect", "edge", *(["wrap"] if g.opset >= 19 else [])))
    most = [0 if mode == "reflect" and d == 1 else min(2, d - 1 if mode == "reflect" else d) for d in x.shape]
    low = -1 if mode == "constant" else 0
    begin, end = ([g.integer(low if m and d > 2 else 0, m) for m, d in zip(most, x.shape, strict=True)] for _ in "ab")
    value = [g.scalar(0.3)] if mode == "constant" and g.flag() else []
    return g.add("Pad", [x, g.ints(begin + end), *value], mode=mode)
