"""Which tensors among a function's arguments have a row per example.

The one idea: shapes tell it where they can; a vector of seven class weights beside seven examples looks like one with a
row for each, and then the function itself is asked, on other examples than all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from onnx_ig.errors import OnnxIgError

_MOST_AMBIGUOUS = 4  # arguments: each doubles the trials
_MOST_ELEMENTS = 1 << 21  # of all arguments, which are evaluated together
_CLOSE = {"rtol": 1e-4, "atol": 1e-6}

Evaluate = Callable[[Sequence[Any]], Tensor]  # the function's output for all its arguments


def rows_by_shape(arguments: Sequence[Any], attributed: int) -> list[bool]:
    """Of each argument, of which the first ``attributed`` are inputs: whether it is as long as the first input.

    A vector of one number beside one example is taken for a number that all share.
    """
    examples = _length(arguments[0])
    return [
        examples is not None
        and _length(a) == examples
        and (i < attributed or examples > 1 or (isinstance(a, Tensor) and a.dim() > 1))
        for i, a in enumerate(arguments)
    ]


def rows_of(arguments: Sequence[Any], attributed: int, evaluate: Evaluate, *, certain: int) -> list[bool]:
    """Of each argument whether it has a row per example: as shapes tell, unless the function shows otherwise.

    The function is evaluated on some of the examples in another order, with the rows of all arguments that have any
    picked alike. Of the choices of those that have, the first with which every example keeps its output is right. Where
    none is (rows that belong together, a fixed number of them), shapes decide.

    Args:
        attributed: how many of the arguments are inputs: these come first.
        certain: how many are known to have a row per example.
    """
    shaped = rows_by_shape(arguments, attributed)
    examples = _length(arguments[0])
    open_ = [i for i, a in enumerate(arguments) if i >= certain and examples is not None and _length(a) == examples]
    elements = sum(a.numel() for a in arguments if isinstance(a, Tensor))
    if not open_ or examples is None or len(open_) > _MOST_AMBIGUOUS or elements > _MOST_ELEMENTS:
        return shaped
    count = 3 if examples != 3 else 4  # never as many as there are: a shared vector then has the wrong length
    picked = (torch.arange(count) + 1) % examples
    try:
        whole = evaluate(arguments)
        wanted = whole[picked.to(whole.device)]
    except (OnnxIgError, IndexError):
        return shaped
    for flips in _fewest_first(len(open_)):
        rows = list(shaped)
        for i in flips:
            rows[open_[i]] = not rows[open_[i]]
        some = [a[picked.to(a.device)] if has else a for a, has in zip(arguments, rows, strict=True)]
        try:
            found = evaluate(some)
        except OnnxIgError:
            continue
        if found.shape == wanted.shape and torch.allclose(found.double(), wanted.double(), equal_nan=True, **_CLOSE):
            return rows
    return shaped


def _fewest_first(count: int) -> list[tuple[int, ...]]:
    """All subsets of so many, the empty one first."""
    return [subset for size in range(count + 1) for subset in itertools.combinations(range(count), size)]


def _length(a: Any) -> int | None:
    return a.shape[0] if isinstance(a, Tensor) and a.dim() else None
