"""What one ``attribute`` command asks for and what it finds, between the command and the two ways to compute it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from onnx_ig.cli.reading.names import Names
from onnx_ig.cli.reading.values import Values
from onnx_ig.common.types import Algorithm, Array, Progress, Provider, SumOver
from onnx_ig.data import FileOptions, PictureOptions, Window
from onnx_ig.engine.averaged import NoiseKind
from onnx_ig.engine.note import COUNT, WHICH, Counted, Note
from onnx_ig.report.classes import ClassShares
from onnx_ig.report.finding import Finding
from onnx_ig.report.style import Style

_NUMBERS = ("score", "target", "baseline_score", "convergence_delta", "error_estimate", "steps_used")


@dataclass(frozen=True)
class AttributeOptions:
    """The options of ``attribute``; None stands for "not given": an attribution model has its own baked in."""

    inputs: Sequence[str]
    extra: Sequence[str] = ()
    baselines: Sequence[str] = ()
    target: Any = None
    targets: Any = None
    algorithm: Algorithm | None = None
    method: str | None = None
    n_steps: int | None = None
    tolerance: float | None = None
    max_steps: int | None = None
    output: str | None = None
    at: Sequence[str] = ()
    sum_over: SumOver | None = None
    per_example: Sequence[str] = ()
    batch_axis: int | None = 0
    multiply_by_inputs: bool | None = None
    internal_batch_size: int | None = None
    provider: Provider = "auto"
    noise_samples: int | None = None
    noise_std: float | None = None
    noise_kind: NoiseKind | None = None
    seed: int = 0
    pictures: PictureOptions = field(default_factory=PictureOptions)
    files: FileOptions = field(default_factory=FileOptions)
    allow_nonfinite: bool = False
    names: Names = field(default_factory=Names)
    form: str = "npz"
    draw: int = 16
    style: Style = field(default_factory=Style)


@dataclass(frozen=True, kw_only=True)
class Found(Finding):
    """What was found of some examples, for all their targets.

    ``missed``: a sentence where it is less exact than was asked for; ``notes`` are others. ``targets``: how many an
    example has; several are on axis 1 of all arrays. ``classes``: the strongest ones, of the first examples or none.
    """

    missed: str | None = None
    notes: tuple[str, ...] = ()
    targets: int = 1
    classes: tuple[ClassShares, ...] = ()

    def of_target(self, k: int) -> Found:
        """What was found for the ``k``-th of several targets."""
        numbers: dict[str, Any] = {n: None if (v := getattr(self, n)) is None else v[:, k] for n in _NUMBERS}
        attributions = {n: array[:, k] if self.batched else array[0, k] for n, array in self.attributions.items()}
        return replace(self, attributions=attributions, targets=1, **numbers)

    def said(self) -> dict[str, Any]:
        """What of it is no array, as JSON takes it."""
        words = ("algorithm", "provider", "batched", "method", "n_steps", "tolerance", "targets")
        said: dict[str, Any] = {word: getattr(self, word) for word in words}
        said["missed"] = None if self.missed is None else _counted(self.missed)
        said["notes"] = [_counted(note) for note in self.notes]
        classes = [asdict(one) for one in self.classes]
        return said | {"straight_through": dict(self.straight_through), "classes": classes}


def of_several(each: Sequence[Found]) -> Found:
    """What was found for each of several targets of some examples, together."""
    first = each[0]
    if len(each) == 1:
        return first
    attributions = {
        name: np.stack([one.attributions[name] if one.batched else one.attributions[name][None] for one in each], 1)
        for name in first.attributions
    }
    numbers: dict[str, Any] = {
        name: None if getattr(first, name) is None else np.stack([getattr(one, name) for one in each], axis=1)
        for name in _NUMBERS
    }
    missed = _for_the_worst([() if one.missed is None else (one.missed,) for one in each])
    notes = _for_the_worst([one.notes for one in each])
    return replace(
        first,
        attributions=attributions,
        targets=len(each),
        missed=next(iter(missed), None),
        notes=notes,
        **numbers,
    )


def _for_the_worst(each: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The notes on all targets, of each kind the one on the target of which it says the worst.

    It names no number of examples: those of which one target is so are not counted apart from those of which two are.
    """
    found: dict[str, Counted | str] = {}
    for note in (note for notes in each for note in notes):
        if not isinstance(note, Note):
            found.setdefault(note, note)
            continue
        before = found.get(note.counted.kind)
        if not isinstance(before, Counted) or note.counted.worst > before.worst:
            found[note.counted.kind] = note.counted
    of = " (the worst of the targets)"

    def said(note: Counted) -> Note:
        several = "some examples" if note.of > 1 else WHICH
        return Note(note._replace(text=note.text.replace(WHICH, several).replace(COUNT, "some") + of))

    return tuple(said(note) if isinstance(note, Counted) else note for note in found.values())


def found_before(said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Found:
    """What was found by an earlier run: what it said, and its arrays by their names in the file."""
    prefix = "attribution_"
    own: dict[str, Any] = {name: array for name, array in arrays.items() if not name.startswith(prefix)}
    classes = tuple(ClassShares(c["kind"], tuple(c["classes"]), tuple(c["shares"]), c["why"]) for c in said["classes"])
    words = {
        **said,
        "classes": classes,
        "notes": tuple(map(_note, said["notes"])),
        "missed": said["missed"] and _note(said["missed"]),
    }
    attributions = {name.removeprefix(prefix): array for name, array in arrays.items() if name not in own}
    return Found(attributions=attributions, **own, **words)


def _counted(note: str) -> Any:
    return [*note.counted] if isinstance(note, Note) else note


def _note(said: Any) -> str:
    return str(said) if isinstance(said, str) else Note(Counted(*said))


class Explainer(Protocol):
    """A model with what was asked of it, that reads and explains any of the examples."""

    def cut(self) -> Collection[str] | None:
        """The inputs with a row for each example, so far as is known without data; None: all is read at once."""

    def row_bytes(self) -> int:
        """About how many bytes an example and its attributions take."""

    def read(self, window: Window | None) -> Values:
        """The values of some examples.

        Raises:
            UsageError, InputError: see :func:`onnx_ig.cli.reading.values.read_values`.
        """

    def found(self, values: Values, progress: Progress) -> Found:
        """Attributions of these.

        Raises:
            UsageError, InputError, NotDifferentiableError, ProviderError, OutOfMemoryError: see those classes.
        """
