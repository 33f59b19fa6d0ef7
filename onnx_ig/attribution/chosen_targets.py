"""Which element of a model's output is explained, or which several, as far as it is settled before there are data."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnx_ig.errors import InputError, UsageError

TargetSpec = str | int | tuple[int, ...] | None
TargetsSpec = int | str | Sequence[int | tuple[int, ...]]
# an input of the attribution model, "predicted", indices, those of each of several targets, or none to choose
ChosenTarget = str | tuple[int, ...] | list[tuple[int, ...]] | None


def targets_said(text: str) -> tuple[str, int] | None:
    """``top-3`` or ``input-3`` as its word and number; None: it is neither."""
    found = re.fullmatch("(top|input)-([1-9][0-9]*)", text)
    return None if found is None else (found[1], int(found[2]))


def several_targets(targets: TargetsSpec, dims: list[int | None], output: ir.Value) -> tuple[int, ChosenTarget]:
    """How many targets an example has, and which; one alone has no axis of targets.

    Args:
        targets: a number of them, as an input; ``input-3``, the same; ``top-3``, those of the largest outputs; a list.

    Raises:
        UsageError, InputError: none of these, or they do not fit the output.
    """
    if isinstance(targets, (int, np.integer)) and not isinstance(targets, bool):
        if targets < 1:
            raise UsageError(f"targets is {targets}: a number of targets is 1 or more")
        return (1, None) if not dims else (int(targets), "input")
    if not dims or all(d == 1 for d in dims):
        raise InputError(f"output {output.name!r} is one number per example: there are no several targets to choose")
    if isinstance(targets, str):
        said = targets_said(targets)
        if said is None:
            raise UsageError(f"targets {targets!r}: give 'top-3', 'input-3', or a list of targets such as [3, 5, 9]")
        word, count = said
        if word == "input":
            return count, "input"
        if len(dims) != 1 or (dims[0] is not None and count > dims[0]):
            raise InputError(f"targets {targets!r}: output {output.name!r} {output.shape} has not that many classes")
        return count, "predicted"
    if isinstance(targets, bool) or not isinstance(targets, Sequence) or not len(targets):
        raise UsageError(f"targets is {targets!r}: give 'top-3', 'input-3', or a list of targets such as [3, 5, 9]")
    known = [one_target(one, dims, output) for one in targets]
    for one, found in zip(targets, known, strict=True):
        if not isinstance(found, tuple):
            raise UsageError(f"target {one!r} among several: give an index, or one per axis")
    each = [found for found in known if isinstance(found, tuple)]
    return (1, each[0]) if len(each) == 1 else (len(each), each)


def one_target(target: TargetSpec, dims: list[int | None], output: ir.Value) -> ChosenTarget:
    """``input``, ``predicted`` or the indices, one per axis; None: the output is one number per example.

    Raises:
        InputError: it does not fit the output.
    """
    if not dims:
        return None
    if target == "input" or (target == "predicted" and len(dims) == 1):
        return str(target)
    if target == "predicted":
        raise InputError(f"target 'predicted' needs an output of rank 2; {output.name!r} has shape {output.shape}")
    if target is None or isinstance(target, (str, bool)):
        raise InputError(
            f"target {target!r}: give 'input', 'predicted', an int or a tuple of ints for output {output.shape}"
        )
    indices = whole_numbers(target)
    if indices is None:
        raise InputError(f"target {target!r}: give an index of output {output.name!r} {output.shape}, or one per axis")
    if len(indices) == len(dims):  # from the end, where the end is known
        indices = tuple(t + d if d is not None and -d <= t < 0 else t for t, d in zip(indices, dims, strict=True))
    if len(indices) != len(dims) or any(
        t < 0 or (d is not None and t >= d) for t, d in zip(indices, dims, strict=False)
    ):
        raise InputError(
            f"target {indices} does not select one element per example of output {output.name!r} {output.shape}"
        )
    return indices


def whole_numbers(target: object) -> tuple[int, ...] | None:
    """An index, or one per axis, as a tuple; None: it is neither."""
    numbers = target if isinstance(target, (tuple, list)) else (target,)
    if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in numbers):
        return None
    return tuple(int(n) for n in numbers)
