"""What a verification found, and the inputs it looks at: a row for each quantity and sample."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx_ig.common import arrays
from onnx_ig.errors import VerificationError
from onnx_ig.methods import arguments


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        what: the quantity and the sample.
        max_relative_error: largest difference, relative to the largest element of the reference.
        median_relative_error: median difference, relative to the same.
        cosine: of the two as vectors; None for single numbers.
        delta: the convergence delta of the sample, largest over examples; None for gradients.
        tolerance: what ``max_relative_error`` is held against; None where it only informs.
    """

    what: str
    max_relative_error: float
    median_relative_error: float
    cosine: float | None
    delta: float | None
    tolerance: float | None
    passed: bool


@dataclass(frozen=True)
class VerificationReport:
    """All comparisons; ``passed`` when every quantity passed in the median sample; ``note``: against what, and how."""

    rows: list[Row]
    passed: bool
    note: str

    def require(self) -> None:
        """Raise VerificationError unless everything passed."""
        if not self.passed:
            failed = next(row for row in self.rows if not row.passed)
            raise VerificationError(
                f"{failed.what} differs from the reference by {failed.max_relative_error:.2e} of its largest element, "
                f"tolerance {failed.tolerance:.0e}"
            )


def report(rows: list[Row], against: str, every: Collection[str] = ()) -> VerificationReport:
    """Each quantity passes if its median sample does; one in ``every`` if every sample does."""
    quantities: dict[str, list[Row]] = {}
    for row in rows:
        quantities.setdefault(row.what.rpartition(", ")[0], []).append(row)
    passed = all(
        all(row.passed for row in group) if what in every else _median_passes(group)
        for what, group in quantities.items()
    )
    decides = "the median sample decides" + (f", of the {' and the '.join(every)} every sample" if every else "")
    return VerificationReport(rows, passed and bool(rows), f"compared with {against}; {decides}")


def _median_passes(rows: list[Row]) -> bool:
    ordered = sorted(rows, key=lambda row: row.max_relative_error if np.isfinite(row.max_relative_error) else np.inf)
    return ordered[len(ordered) // 2].passed


def samples(first: Any, count: int, given: bool, rng: np.random.Generator) -> list[tuple[str, Any]]:
    """The first inputs, and ``count`` random ones around them."""
    drawn = [("given" if given else "random 0", first)]
    for i in range(1, count + 1):
        drawn.append((f"random {i}", _map(first, lambda x: redrawn(x, rng))))
    return drawn


def redrawn(x: Any, rng: np.random.Generator) -> Any:
    array = arrays.to_array(x)
    if not arguments.is_floating(array.dtype):
        return x
    wide = array.astype(np.float64)
    # about the given value, element by element: features differ by orders of magnitude
    fresh = wide * (1 + 0.3 * rng.standard_normal(array.shape)) + 0.01 * float(
        np.median(np.abs(wide))
    ) * rng.standard_normal(array.shape)
    if not arrays.is_torch(x):
        return fresh.astype(array.dtype)
    import torch

    return torch.as_tensor(fresh).to(x.dtype)


def _map(inputs: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(inputs, Mapping):
        return {name: change(value) for name, value in inputs.items()}
    return tuple(change(value) for value in inputs) if isinstance(inputs, tuple) else change(inputs)
