"""What a source of any kind gives a method: a model with one call's arrays, and whether it still is the function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from onnx_ig.common.kept import Kept
from onnx_ig.common.types import Array
from onnx_ig.loading.model import Model

ENGINES_KEPT = 4  # a session holds the model's weights; a loop over many signatures must not collect them
# The attributed inputs at a point of the path from the baselines (0) to the inputs (1), by name.
Path: TypeAlias = Callable[[float], dict[str, Array]]
# The model's output [N, ...] for each of several such values.
Outputs: TypeAlias = Callable[[Sequence[Mapping[str, Array]]], list[Array]]
# The targets of each example that are explained, from the output [N, ...] at the inputs.
Chosen: TypeAlias = Callable[[Array], list[Array | None]]


class Guard(Protocol):
    """Holds a model against the function that it was made from."""

    def agrees(self, path: Path, nodes: Sequence[float], outputs: Outputs, chosen: Chosen, rounding: float) -> bool:
        """Whether the model still computes the function where an answer on ``nodes`` of ``path`` rests on it.

        If not, binding the same arguments again gives another model. ``rounding``: how far, relative to the largest
        output, the model's provider rounds.
        """


@dataclass(frozen=True)
class Bound:
    """A model with the arrays of one call put to its inputs.

    Attributes:
        key: equal for calls that the same built model serves.
        inputs: the attributed inputs by name, in the caller's order; ``extra``: the additional ones.
        names_given: the caller named the inputs (a dict), so the answer is a dict too.
        guard: tells whether the model still is what the caller gave; None where it cannot change.
        engines: those opened for the model, whichever object opened them; None: each object keeps its own.
    """

    model: Model
    key: tuple[Any, ...]
    inputs: dict[str, Array]
    extra: dict[str, Array]
    names_given: bool
    guard: Guard | None = None
    engines: Kept[Any] | None = None


class Forward(Protocol):
    """What a method needs of a source.

    Attributes:
        output: the name of the tensor that F is selected from; None: the model's only float output.
    """

    @property
    def output(self) -> str | None:
        """See above."""

    def bind(self, inputs: Any, additional_forward_args: Any) -> Bound:
        """Put one call's arguments to the model's inputs."""
