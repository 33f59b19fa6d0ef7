"""What an engine is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx_ig.common.types import Array


@dataclass(frozen=True)
class Request:
    """The arguments of one call, checked and in graph terms.

    Attributes:
        inputs: attributed inputs by name, N rows each.
        baselines: their baselines by name, 1 or N rows.
        per_example: additional inputs with one row per example; ``shared``: the other additional inputs.
        target: int64 [N] or [N, rank]; None for outputs of one number per example.
        examples: N.
    """

    inputs: dict[str, Array]
    target: Array | None
    examples: int
    baselines: dict[str, Array] = field(default_factory=dict)
    per_example: dict[str, Array] = field(default_factory=dict)
    shared: dict[str, Array] = field(default_factory=dict)


@dataclass
class Attribution:
    """What one call computed: arrays by tensor name, and per example F(x), F(baseline) and the convergence delta.

    Where path points were added until a tolerance was met, also per example the estimated relative error and the steps.
    """

    attributions: dict[str, Array]
    scores: Array | None = None
    baseline_scores: Array | None = None
    delta: Array | None = None
    error_estimate: Array | None = None
    steps_used: Array | None = None
