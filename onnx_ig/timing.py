"""How long a model takes on this machine: its forward pass, and attributions of its predictions.

The one idea: calls are repeated until a given time is spent, after one that is not counted, because it opens the model,
builds the gradient and tries out what the later ones know.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx_ig.attribution import default_inputs
from onnx_ig.attribution.batch_axis import examples_first
from onnx_ig.common.types import Algorithm, Array, Provider
from onnx_ig.deployed.attribution_model import AttributionModel
from onnx_ig.engine.drawn_data import drawn, own_inputs, with_the_rest
from onnx_ig.engine.path_rule import AtInput, PathRule
from onnx_ig.graph.declared import InputSpec, spec_of
from onnx_ig.inspection import contract_of
from onnx_ig.loading.model import Model
from onnx_ig.methods.by_algorithm import method_for
from onnx_ig.methods.requests import Arguments

_LEAST_CALLS = 3
_OPEN_AXIS = 16  # the size of an axis, not that of the examples, which the model leaves open


@dataclass(frozen=True)
class Timing:
    """What one kind of call took: ``first`` in seconds, opening included, then ``seconds`` of each.

    ``points``: path points evaluated for each example, where there is a path.
    """

    what: str
    provider: str
    examples: int
    first: float
    seconds: tuple[float, ...]
    points: float | None = None

    @property
    def median(self) -> float:
        """Seconds of the call in the middle."""
        return float(np.median(self.seconds))

    def percentile(self, q: float) -> float:
        """Seconds that q per cent of the calls took at most."""
        return float(np.percentile(self.seconds, q))

    @property
    def examples_per_second(self) -> float:
        """At the median."""
        return self.examples / self.median

    def to_dict(self) -> dict[str, Any]:
        """For JSON: times in seconds."""
        return {
            "what": self.what,
            "provider": self.provider,
            "examples": self.examples,
            "path_points": self.points,
            "calls": len(self.seconds),
            "first": self.first,
            "least": min(self.seconds),
            "median": self.median,
            "p90": self.percentile(90),
            "p99": self.percentile(99),
            "examples_per_second": self.examples_per_second,
        }


def time_model(
    model: Model,
    rule: PathRule,
    *,
    algorithm: Algorithm = "integrated-gradients",
    provider: Provider = "auto",
    examples: int = 1,
    values: Mapping[str, Array] | None = None,
    output: str | None = None,
    at: list[str] | None = None,
    batch_axis: int | None = 0,
    seconds: float = 3.0,
) -> list[Timing]:
    """The forward pass and the attributions of ``examples`` examples in one call; of an attribution model, its Run.

    Args:
        rule: the path of Integrated Gradients; :class:`AtInput` for another ``algorithm``. An attribution model has its
            own.
        values: of the model's own inputs by name; the rest are drawn, with 16 for axes that the model leaves open.
        seconds: how long each kind of call is repeated, three times at least.

    Raises:
        InputError: values that do not fit, or an input for which none can be drawn; ProviderError, ModelError,
            NotDifferentiableError, OutOfMemoryError: see those classes.
    """
    if contract_of(model) is not None:
        return [_time_run(AttributionModel(model, provider=provider), examples, values or {}, seconds)]
    model = examples_first(model, batch_axis)
    fed = _values([spec_of(x) for x in model.inputs], examples, {**model.defaults, **(values or {})})
    attributed = default_inputs(model, at or ())
    method = method_for(algorithm)(model, output=output, at=at, provider=provider, batch_axis=batch_axis and 0)
    given = Arguments(
        {name: fed[name] for name in attributed},
        None,
        "predicted",
        {name: value for name, value in fed.items() if name not in attributed},
    )
    rows = len(given.inputs[attributed[0]]) if batch_axis is not None else 1
    first, answer = _timed(lambda: method.answer(given, rule))
    used = answer.found.steps_used
    points = None if isinstance(rule, AtInput) else float(len(rule.nodes) if used is None else np.mean(used) + 1)
    taken = _repeated(lambda: method.answer(given, rule), seconds)
    attribution = Timing(algorithm, answer.engine.provider, rows, first, taken, points)
    request = answer.request
    first, _ = _timed(lambda: answer.engine.outputs(request))
    passes = _repeated(lambda: answer.engine.outputs(request), seconds)
    return [Timing("forward pass", answer.engine.provider, rows, first, passes), attribution]


def _time_run(opened: AttributionModel, examples: int, values: Mapping[str, Array], seconds: float) -> Timing:
    contract = opened.contract
    fed = _values(own_inputs(contract), examples, {**opened.model.defaults, **values})
    feeds = {**with_the_rest(contract, fed, np.random.default_rng(0), points=1), **values}
    first, _ = _timed(lambda: opened.session.run(feeds))
    taken = _repeated(lambda: opened.session.run(feeds), seconds)
    rows = len(feeds[contract.named("attributed")[0]]) if contract.layout != "none" else 1
    return Timing(f"Run of {contract.algorithm}, {contract.form}", opened.session.provider, rows, first, taken)


def _values(specs: list[InputSpec], examples: int, given: Mapping[str, Array]) -> dict[str, Array]:
    """``given``, and drawn values for the other inputs, in the order of ``specs``."""
    missing = [spec for spec in specs if spec.name not in given]
    values = {**given, **drawn(missing, np.random.default_rng(0), rows=examples, size=_OPEN_AXIS)}
    return {spec.name: values[spec.name] for spec in specs}


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def _repeated(call: Callable[[], Any], seconds: float) -> tuple[float, ...]:
    taken: list[float] = []
    while sum(taken) < seconds or len(taken) < _LEAST_CALLS:
        taken.append(_timed(call)[0])
    return tuple(taken)
