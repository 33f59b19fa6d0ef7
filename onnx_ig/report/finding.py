"""What was found for one target of some examples, whoever found it: an engine, or an exported file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from onnx_ig.common.types import Array


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Attributions and the numbers beside them. N is the number of examples, on axis 0 everywhere.

    Attributes:
        attributions: of each attributed tensor, an array of its shape, with size 1 along an axis that was summed over.
        score: F(x) [N]; ``baseline_score``: F(x') [N], None where the algorithm has none (input-x-gradient), as are
            ``convergence_delta`` [N], ``method`` and ``n_steps``.
        target: None, [N], or [N, axes].
        error_estimate: relative, [N]; it and ``steps_used`` [N] are there where path points were added until a
            ``tolerance`` was met.
        batched: False for models without a batch axis: their arrays have exactly the tensor's shape, and N is 1.
        straight_through: operators, and the number of their nodes whose derivative is that of the float equivalent.
    """

    algorithm: str
    attributions: Mapping[str, Array]
    score: Array
    provider: str
    target: Array | None = None
    baseline_score: Array | None = None
    convergence_delta: Array | None = None
    method: str | None = None
    n_steps: int | None = None
    tolerance: float | None = None
    error_estimate: Array | None = None
    steps_used: Array | None = None
    batched: bool = True
    straight_through: Mapping[str, int] = field(default_factory=dict)

    def finding(self) -> dict[str, Any]:
        """All of it by name, from which records that hold more are made."""
        return {one.name: getattr(self, one.name) for one in fields(Finding)}
