"""What one ``attribute`` command asks for and what it finds, between the command and the two ways to compute it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnx_ig.cli.names import Names
from onnx_ig.common.types import Array, Provider
from onnx_ig.data import FileOptions, Picture, PictureOptions, Rows, Series, Words


@dataclass(frozen=True)
class AttributeOptions:
    """The options of ``attribute``; None stands for "not given": an attribution model has its own baked in."""

    inputs: Sequence[str]
    extra: Sequence[str] = ()
    baselines: Sequence[str] = ()
    target: Any = None
    algorithm: str | None = None
    method: str | None = None
    n_steps: int | None = None
    tolerance: float | None = None
    max_steps: int | None = None
    output: str | None = None
    at: Sequence[str] = ()
    per_example: Sequence[str] = ()
    batch_axis: int | None = 0
    multiply_by_inputs: bool | None = None
    internal_batch_size: int | None = None
    provider: Provider = "auto"
    pictures: PictureOptions = field(default_factory=PictureOptions)
    files: FileOptions = field(default_factory=FileOptions)
    allow_nonfinite: bool = False
    names: Names = field(default_factory=Names)


@dataclass(frozen=True)
class Found:
    """The result of one attribution, in the words of :class:`onnx_ig.report.AttributionReport`.

    ``missed``: a sentence where it is less exact than was asked for.
    """

    algorithm: str
    attributions: Mapping[str, Array]
    score: Array
    provider: str
    inputs: Mapping[str, Array]
    batched: bool
    target: Array | None = None
    baseline_score: Array | None = None
    convergence_delta: Array | None = None
    method: str | None = None
    n_steps: int | None = None
    tolerance: float | None = None
    error_estimate: Array | None = None
    steps_used: Array | None = None
    missed: str | None = None
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)
    example_names: Sequence[str] = ()
    features: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rows: Rows | None = None
    words: Sequence[Words] = ()
    notes: tuple[str, ...] = ()
    straight_through: Mapping[str, int] = field(default_factory=dict)
