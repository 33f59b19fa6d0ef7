"""What the scores at the ends of the path tell of the error of attributions: a part that they do not add up to.

The one idea: relative to Σ |attributions|, |Σ attributions − (F(x) − F(x'))| is a lower bound of their error, from
which the rounding of F has to be taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.engine.engine import Engine
from onnx_ig.engine.request import Request
from onnx_ig.stopping import ROUNDINGS


class Lacking:
    """How far attributions are from adding up to F(x) − F(x'), which rounding of F does not explain.

    Args:
        path_ends: F at x and at x', [2, N].
    """

    def __init__(self, engine: Engine, request: Request, path_ends: Array) -> None:
        self._spread = None if engine.plan.multiply_by_inputs else request  # local ones get the factor (x − x') here
        self._explained = path_ends[0] - path_ends[1]
        self._rounding = ROUNDINGS * engine.output_rounding * np.abs(path_ends).max(axis=0)
        self.tells = not engine.straight_through and (engine.plan.multiply_by_inputs or at_inputs(engine, request))

    def relative(self, attributions: Mapping[str, Array], examples: Array) -> Array:
        """|Σ attributions − (F(x) − F(x'))| / Σ |attributions| of each of some ``examples``."""
        parts = [v if self._spread is None else v * self._factor(n, examples) for n, v in attributions.items()]
        total = sum(p.reshape(len(p), -1).sum(axis=1, dtype=np.float64) for p in parts)
        lack = np.abs(total - self._explained[examples]) - self._rounding[examples]
        return ratio(np.fmax(lack, 0), l1(parts))

    def _factor(self, name: str, examples: Array) -> Array:
        assert self._spread is not None
        x, start = self._spread.inputs[name], self._spread.baselines[name]
        if len(examples) == self._spread.examples:
            return x - start
        return np.asarray(x[examples] - (start if len(start) == 1 else start[examples]))


def at_inputs(engine: Engine, request: Request) -> bool:
    """Whether the path is laid at the inputs, so that F at its ends is the model's at x and x'."""
    return set(engine.plan.at) == set(request.inputs)


def l1(values: Iterable[Array]) -> Array:
    """Σ |values| of each example, over all tensors: float64 [N]."""
    return np.asarray(sum(np.abs(v).reshape(len(v), -1).sum(axis=1, dtype=np.float64) for v in values))


def ratio(part: Array, of: Array) -> Array:
    """part / of, 0 for 0 / 0."""
    if np.min(of, initial=np.inf) > 0 and np.max(of, initial=0.0) < np.inf:
        return np.asarray(part / of)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((part == 0) & (of == 0), 0.0, part / of)


def by_example(sums: Mapping[str, Array], alone: bool) -> dict[str, Array]:
    """``sums`` with an axis of examples in front, which those of a model without one (``alone``) lack."""
    return {name: s[np.newaxis] if alone else s for name, s in sums.items()}
