"""Names for the entries of axis 1 of a tensor: one list that all examples share, or one list for each.

The one idea: columns of a table and channels of a picture are the same in every example, the words of a sentence are
not; so where axis 1 holds positions of a sequence, one list names one example only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from onnx_ig.errors import InputError

FeatureNames: TypeAlias = Sequence[str] | Sequence[Sequence[str]]
_SEQUENCE_RANK = 3  # [N, T, H]
PER_EXAMPLE = '{"features": [[names of example 0], [names of example 1], ...]}'


def is_per_example(names: FeatureNames) -> bool:
    """Whether there is one list for each example."""
    return bool(names) and not isinstance(names[0], str)


def names_of(names: FeatureNames, example: int) -> Sequence[str]:
    """The names of one example's entries."""
    chosen = names[example] if is_per_example(names) else names
    return [str(name) for name in chosen]


def check_names(tensor: str, names: FeatureNames, rank: int, entries: int | None, examples: int) -> None:
    """Whether ``names`` name the entries of axis 1 of ``tensor``, which has ``rank`` axes, axis 0 the examples.

    Args:
        entries: the size of axis 1; None where it is not known yet.

    Raises:
        InputError: too few or too many, or one list for the positions of several sequences.
    """
    if is_per_example(names):
        if len(names) != examples:
            raise InputError(
                f"{len(names)} lists of feature names for the {examples} example(s) of {tensor!r}: one list for each "
                "example is needed, or one list that all share"
            )
    elif examples > 1 and rank == _SEQUENCE_RANK:
        raise InputError(
            f"one list of feature names for {examples} examples of {tensor!r}, a sequence: its positions hold "
            f"something else in each example. Give one list for each, {PER_EXAMPLE}; the same one again where they are "
            "alike"
        )
    for example in range(examples if is_per_example(names) else 1):
        count = len(names_of(names, example))
        if rank < 2 or (entries is not None and count != entries):
            whose = f" of example {example}" if is_per_example(names) else ""
            size = "has no axis to name" if rank < 2 else f"has {entries} features or positions: one each is needed"
            raise InputError(f"{count} feature names{whose} for {tensor!r}, which {size}")
