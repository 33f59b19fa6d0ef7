"""What one attribution run found, as plain data: everything a report is written from and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.data.pictures import Picture
from onnx_ig.data.series import Series
from onnx_ig.data.table import Rows
from onnx_ig.data.text import Words
from onnx_ig.errors import InputError
from onnx_ig.graph.declared import kind_of
from onnx_ig.report.classes import ClassShares
from onnx_ig.report.finding import Finding
from onnx_ig.report.labels import FeatureNames, check_names, is_per_example, names_of
from onnx_ig.report.style import Style

_OF_EXAMPLES = ("score", "target", "baseline_score", "convergence_delta", "error_estimate", "steps_used",
                "example_names", "words", "classes")  # fmt: skip


def known_to_numpy(value: Any) -> Any:
    """An array in float32 if it is bfloat16, which is no type of numpy's own; anything else as it is."""
    is_foreign = isinstance(value, np.ndarray) and kind_of(value.dtype) != value.dtype.kind
    return value.astype(np.float32) if is_foreign else value


def _lies_over(summed: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an array of the first shape is one of the second, or the sum of it over an axis that stays."""
    differing = [a for a, b in zip(summed, shape, strict=False) if a != b]
    return len(summed) == len(shape) and differing in ([], [1])


@dataclass(frozen=True, kw_only=True)
class AttributionReport(Finding):
    """A finding with all that is needed to read it.

    ``inputs`` holds the values of the model's inputs. ``feature_names`` names axis 1 of a tensor (table
    columns, tokens), in one list for all examples or one for each, ``class_names`` the targets, ``example_names`` the
    examples; ``pictures`` says how a picture became an array, ``series`` what the axes of a sound are.
    ``table`` says of which file's rows the examples are, as which the attributions are written too; ``words`` are the
    examples' texts; ``classes`` are those that the model finds strongest, of the first examples or none.
    ``seconds`` maps a phase to its duration. ``first`` is the number of the first example, where they are
    a piece of more. ``targets``: each example stands so often in a row, once for each of its targets. ``style`` is how
    pictures are drawn.

    What is bfloat16 is held in float32: numpy can neither print it in every version nor say its type in a file.

    Raises InputError when shapes or names contradict one another.
    """

    model: str
    model_sha256: str | None = None
    exporter: str | None = None
    inputs: Mapping[str, Array] = field(default_factory=dict)
    feature_names: Mapping[str, FeatureNames] = field(default_factory=dict)
    class_names: Sequence[str] | None = None
    example_names: Sequence[str] = ()
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)
    table: Rows | None = None
    words: Sequence[Words] = ()
    classes: Sequence[ClassShares] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    first: int = 0
    targets: int = 1
    style: Style = field(default_factory=Style)

    def __post_init__(self) -> None:
        for word in ("score", "baseline_score", "convergence_delta"):
            object.__setattr__(self, word, known_to_numpy(getattr(self, word)))
        object.__setattr__(self, "attributions", {n: known_to_numpy(a) for n, a in self.attributions.items()})
        if not self.attributions:
            raise InputError("a report needs the attributions of at least one tensor")
        if np.ndim(self.score) != 1:
            raise InputError(f"score has shape {list(np.shape(self.score))}, expected [N]")
        per_example = {"target": self.target, "baseline_score": self.baseline_score,
                       "convergence_delta": self.convergence_delta, "error_estimate": self.error_estimate,
                       "steps_used": self.steps_used}  # fmt: skip
        for word, array in per_example.items():
            if array is not None and np.shape(array)[:1] != (self.examples,):
                raise InputError(
                    f"{word} has shape {list(np.shape(array))}, expected {self.examples} examples on axis 0"
                )
        if self.example_names and len(self.example_names) != self.examples:
            raise InputError(f"{len(self.example_names)} names for {self.examples} examples: one for each is needed")
        for name, array in self.attributions.items():
            given = self.inputs.get(name)
            if given is not None and not _lies_over(array.shape, given.shape):
                raise InputError(
                    f"attributions of {name!r} have shape {list(array.shape)}, the input {list(given.shape)}"
                )
            if len(self.rows(array)) != self.examples:
                raise InputError(
                    f"attributions of {name!r} have shape {list(array.shape)}, expected {self.examples} examples"
                )
            names = self.feature_names.get(name)
            if names is not None:
                shape = self.rows(array).shape
                check_names(name, names, len(shape), shape[1] if len(shape) > 1 else None, self.examples)

    @property
    def examples(self) -> int:
        """N."""
        return len(self.score)

    def number(self, example: int) -> int:
        """That of an example among those of all pieces."""
        return self.first + example // self.targets

    def rows(self, array: Array) -> Array:
        """The array with examples on axis 0."""
        return array if self.batched else array[np.newaxis]

    def values_of(self, name: str) -> Array | None:
        """What the model was given where ``name`` was attributed, element by element; None of a tensor inside the
        graph, and where attributions were summed over an axis.
        """
        given = self.inputs.get(name)
        return given if given is not None and given.shape == self.attributions[name].shape else None

    def alone(self, name: str) -> AttributionReport:
        """The same report about one attributed tensor only."""
        return replace(self, attributions={name: self.attributions[name]})

    def head(self, count: int) -> AttributionReport:
        """The same report about the first ``count`` examples only."""
        if not self.batched or count >= self.examples:
            return self
        names = {n: v[:count] if is_per_example(v) else v for n, v in self.feature_names.items()}
        cut: dict[str, Any] = {word: None if (v := getattr(self, word)) is None else v[:count] for word in _OF_EXAMPLES}
        return replace(
            self,
            attributions={name: array[:count] for name, array in self.attributions.items()},
            inputs={name: array[:count] for name, array in self.inputs.items()},
            feature_names=names,
            table=None if self.table is None else self.table.head(count),
            **cut,
        )

    def relative_delta(self) -> Array | None:
        """|convergence delta| / |F(x) − F(x')| per example, NaN where the scores are equal."""
        if self.convergence_delta is None or self.baseline_score is None:
            return None
        change = np.abs(np.asarray(self.score, np.float64) - np.asarray(self.baseline_score, np.float64))
        delta = np.abs(np.asarray(self.convergence_delta, np.float64))
        return np.divide(delta, change, out=np.full_like(delta, np.nan), where=change > 0)

    def names_of(self, tensor: str, example: int) -> Sequence[str] | None:
        """The names along axis 1 of a tensor in one example, None if it has none."""
        names = self.feature_names.get(tensor)
        return None if names is None else names_of(names, example)

    def example_name(self, example: int) -> str | None:
        """The name of an example, None if it has none."""
        if self.example_names:
            return self.example_names[example]
        return None if self.table is None or not self.table.named else f"row {self.table.numbers[example]}"

    def describe_example(self, example: int) -> str:
        """``0``, or ``0 (cat.png)``."""
        name = self.example_name(example)
        number = self.number(example)
        return str(number) if name is None else f"{number} ({name})"

    def describe_target(self, example: int) -> str:
        """``7``, ``7 (seven)``, ``3, 4``, or ``none`` for one number per example."""
        if self.target is None:
            return "none"
        indices = np.atleast_1d(self.target[example])
        text = ", ".join(str(int(index)) for index in indices)
        name = self.class_name(int(indices[0])) if len(indices) == 1 else None
        return text if name is None else f"{text} ({name})"

    def class_name(self, target: int) -> str | None:
        """The name of a target, None if it has none."""
        names = self.class_names or ()
        return names[target] if 0 <= target < len(names) else None
