"""From ``--algorithm``, ``--method``, ``--n-steps`` and ``--tolerance`` to how the path is evaluated."""

from __future__ import annotations

from collections.abc import Sequence

from onnx_ig.cli.options.shared import DEFAULT_ALGORITHM
from onnx_ig.engine.path_rule import AtInput, PathRule, path_rule
from onnx_ig.errors import UsageError


def requested_rule(
    algorithm: str | None,
    method: str | None,
    n_steps: int | None,
    tolerance: float | None,
    max_steps: int | None,
    baselines: Sequence[str] = (),
) -> PathRule:
    """How the path is evaluated; None stands for "not given".

    Raises:
        UsageError: options of a path where there is none, or that contradict each other.
    """
    if (algorithm or DEFAULT_ALGORITHM) == DEFAULT_ALGORITHM:
        return path_rule(n_steps, method, tolerance, max_steps)  # type: ignore[arg-type]
    given = {
        "--method": method,
        "--n-steps": n_steps,
        "--tolerance": tolerance,
        "--max-steps": max_steps,
        "--baseline": baselines,
    }
    for name, value in given.items():
        if value:
            raise UsageError(f"{name} goes with integrated-gradients: {algorithm} has no path and no baseline")
    return AtInput()
