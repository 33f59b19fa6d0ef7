"""The exports that are tried for a model, in order: by which exporter, and along which axes of any length.

The one idea: torch tells by itself which of the axes that it may leave open are so, if the example leads it to nothing:
no axis of length one, which it takes for a constant, and no two of the same length, which it takes for one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from onnx_ig.pytorch.check import Argument, stretched
from onnx_ig.pytorch.exporters import EXPORTERS, Exporter


@dataclass(frozen=True)
class Candidate:
    """One way to export.

    Attributes:
        dynamic: the batch is, and the axes along which an argument has another length in its second value.
        arguments: the examples to export and check with.
        what: of what sizes the export would be.
    """

    exporter: Exporter
    dynamic: bool
    arguments: list[Argument]
    what: str


def candidates(
    arguments: Sequence[Argument], dynamic_batch: bool | Literal["auto"], *, any_length: bool = False
) -> list[Candidate]:
    """What is tried for ``arguments``; ``any_length``: first of all with the lengths of sequences dynamic as well."""
    found: list[Candidate] = []
    if any_length and dynamic_batch and (others := _with_other_lengths(arguments)):
        found.append(Candidate("dynamo", True, _some_examples(others), "any length"))
    for dynamic in [True, False] if dynamic_batch == "auto" else [dynamic_batch]:
        examples = _some_examples(arguments) if dynamic else list(arguments)
        what = "any batch size" if dynamic else "the examples' batch size"
        found += [Candidate(exporter, dynamic, examples, what) for exporter in EXPORTERS]
    return found


def _with_other_lengths(arguments: Sequence[Argument]) -> list[Argument] | None:
    """With a second value each, in which T is another number, for attributed sequences [N, T, H]; None without these.

    T is also the length of those axes of other arguments that are as long.
    """
    is_sequence = [a.attributed and a.example.is_floating_point() and a.example.dim() == 3 for a in arguments]
    lengths = {a.example.shape[1] for a, sequence in zip(arguments, is_sequence, strict=True) if sequence} - {0, 1}
    if not lengths:
        return None
    others = []
    for argument, sequence in zip(arguments, is_sequence, strict=True):
        value, rank = argument.example, 0 if argument.attributed else argument.example.dim()
        for axis in [1] if sequence else range(int(argument.per_example), rank):
            if value.shape[axis] in lengths:
                value = _of_another_length(value, axis)
        others.append(replace(argument, other=value))
    return others


def _of_another_length(value: Tensor, axis: int) -> Tensor:
    """Shorter by one, as a position may have no embedding behind the last; three of two, for one is a constant."""
    length = value.shape[axis]
    places = torch.arange(length - 1 if length > 2 else 3, device=value.device) % length
    return value.index_select(axis, places)


def _some_examples(arguments: Sequence[Argument]) -> list[Argument]:
    """The arguments with as many examples as no dynamic axis is long, and more than one.

    Equal examples are as good as others.
    """
    lengths = {argument.example.shape[axis] for argument in arguments for axis in argument.lengths}
    given = next((argument.example.shape[0] for argument in arguments if argument.per_example), 2)
    count = next(n for n in itertools.count(max(given, 2)) if n not in lengths)
    return [
        replace(a, example=a.example[stretched(given, count)]) if a.per_example and count != given else a
        for a in arguments
    ]
