"""What an engine is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

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

    def repeated(self, targets: Array) -> Request:
        """Each example with each of its ``targets``, [N, K] or [N, K, rank]: N·K examples, those of one in a row."""
        each = targets.shape[1]

        def rows(values: Mapping[str, Array]) -> dict[str, Array]:
            return {
                name: value if len(value) == 1 else np.repeat(value, each, axis=0) for name, value in values.items()
            }

        return replace(
            self,
            inputs={name: np.repeat(value, each, axis=0) for name, value in self.inputs.items()},
            baselines=rows(self.baselines),
            per_example=rows(self.per_example),
            target=targets.reshape(-1, *targets.shape[2:]),
            examples=self.examples * each,
        )

    def every(self, each: int) -> Request:
        """What :meth:`repeated` was called of, with the targets [N, K] or [N, K, rank], K = ``each``."""
        if each == 1:
            return self

        def rows(values: Mapping[str, Array]) -> dict[str, Array]:
            return {name: value if len(value) == 1 else value[::each] for name, value in values.items()}

        return replace(
            self,
            inputs=rows(self.inputs),
            baselines=rows(self.baselines),
            per_example=rows(self.per_example),
            target=None if self.target is None else self.target.reshape(-1, each, *self.target.shape[1:]),
            examples=self.examples // each,
        )


@dataclass
class Attribution:
    """What one call computed: arrays by tensor name, and per example F(x), F(baseline) and the convergence delta.

    Where path points were added until a tolerance was met, also per example the estimated relative error and the steps.
    ``outputs``: the model's whole output at x, [N, ...], where it was computed anyway.
    """

    attributions: dict[str, Array]
    scores: Array | None = None
    baseline_scores: Array | None = None
    delta: Array | None = None
    error_estimate: Array | None = None
    steps_used: Array | None = None
    outputs: Array | None = None
