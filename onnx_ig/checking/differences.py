"""Verify the gradient of an ONNX model against differences of its own forward pass.

The one idea: two questions are asked apart. Is the derivative right? That is told in float64, where differences agree
with a right one to many digits. Does the engine compute it? That is told by its numbers beside those of float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnx_ig.attribution import default_inputs
from onnx_ig.checking.comparison import Row, VerificationReport, report, samples
from onnx_ig.checking.exact.slopes import TOLERANCE, Exact, Slope, sizes, slopes
from onnx_ig.common.types import Array
from onnx_ig.engine.drawn_data import drawn, known_words
from onnx_ig.errors import InputError
from onnx_ig.graph.declared import kind_of, spec_of
from onnx_ig.loading.model import Model, with_observed_ranks
from onnx_ig.methods.gradients import InputXGradient

COMPUTED_TOLERANCE = 1e-2
_RULES = "derivative in float64"
_COMPUTED = "gradient as computed"
_BESIDE = (1e-3, 1e-2)  # of an element's size: how far off a kink its surroundings are asked
_INPUT_ROUNDING = 2.0**-20  # what rounding does to the layers of a float32 model, as a change of its inputs
_FLAT = 1e-5  # of |F|: attributions below are rounding in float32


def against_differences(
    model: Model,
    given: Any,
    additional: Any,
    target: Any,
    count: int,
    tolerance: float | None,
    shared: Mapping[str, Any],
    rng: np.random.Generator,
) -> VerificationReport:
    """Both questions for the data given (drawn where they are None) and for ``count`` variations of them.

    A variation's target is its own predicted class unless ``target`` is given. Where a derivative differs, at a kink of
    Relu or MaxPool perhaps, its surroundings decide: a wrong rule is wrong there too.

    Raises:
        InputError: no values can be drawn, nothing could be judged (F is flat or not finite there), or the model's
            gradient is that of its float equivalent.
        ModelError: the model does not run in float64.
    """
    method = InputXGradient(model, multiply_by_inputs=False, **shared)
    first = given
    if given is None:
        first, additional = _drawn(model, shared["at"], rng)
    rows: list[Row] = []
    exact: Exact | None = None
    for name, xs in samples(first, count, given is not None, rng):
        score = method.scorer(xs, target, additional)
        plan, request = score.engine.plan, score.request
        feeds = {**request.inputs, **request.per_example, **request.shared}
        chosen = request.target
        declared = next(x.shape for x in model.inputs if x.name == plan.attributed[0])
        n = declared[0] if plan.layout.kind != "none" and declared else None
        n = n if isinstance(n, int) else None  # float64 has the model with its batch
        if n is not None:  # a model of a fixed number of examples takes no more of them at once
            per_row = {*request.inputs, *request.per_example}
            feeds = {key: value[:n] if key in per_row else value for key, value in feeds.items()}
            chosen = None if chosen is None else chosen[:n]
        if exact is None:
            exact = Exact(with_observed_ranks(model, feeds), plan.output, plan.at)
            if exact.straight_through:
                raise InputError(
                    "the model rounds (it is quantised), and its gradient is that of its float equivalent, which no "
                    "differences tell: verify the float model"
                )
        values = exact.values(feeds)
        rows.append(_rules_row(exact, values, name, tolerance or TOLERANCE, rng))
        if not rows[-1].passed:
            continue  # what the engine makes of a wrong derivative tells nothing more
        computed = {key: value[:n] for key, value in score.engine.gradient(request).attributions.items()}
        rows.append(_computed_row(exact, values, chosen, computed, name, tolerance or COMPUTED_TOLERANCE, rng))
    if all(row.tolerance is None for row in rows if row.what.startswith(_RULES)):
        raise InputError(
            "nothing could be judged: at these inputs F is flat to within rounding, or not finite: give others (-i, "
            "inputs=), or another output"
        )
    against = "central differences of the model's own forward pass, in float64"
    return report(rows, against, every=[_RULES])


def _rules_row(exact: Exact, values: Mapping[str, Array], name: str, bound: float, rng: np.random.Generator) -> Row:
    found = slopes(exact, values, rng, bound)
    for distance in _BESIDE:
        if _worst(found) is None or _worst(found, 0.0) > bound:
            moved = {key: _moved(values[key], distance, rng) for key in exact.sources}
            beside = slopes(exact, {**values, **moved}, rng, bound)
            if _worst(beside, np.inf) <= bound:
                found = beside
    errors = [slope.error for slope in found if slope.error is not None]
    if not errors:
        return Row(f"{_RULES}, {name}", float("nan"), float("nan"), None, None, None, True)
    worst = max(errors)
    return Row(f"{_RULES}, {name}", worst, float(np.median(errors)), None, None, bound, worst <= bound)


def _worst(found: list[Slope], if_none: Any = None) -> Any:
    errors = [slope.error for slope in found if slope.error is not None]
    return max(errors) if errors else if_none


def _moved(x: Array, distance: float, rng: np.random.Generator) -> Array:
    return x if kind_of(x.dtype) != "f" else x + distance * sizes(x) * rng.standard_normal(x.shape)


def _computed_row(
    exact: Exact,
    values: Mapping[str, Array],
    target: Array | None,
    computed: Mapping[str, Array],
    name: str,
    bound: float,
    rng: np.random.Generator,
) -> Row:
    """The engine's ∇F beside that of float64, each element times its input's size, relative in the Euclidean norm.

    What rounding the inputs changes in float64 is allowed for ten times: a float32 model rounds in every layer.
    """
    output = exact(values)
    cotangent = _selected(output, target)
    wanted = exact.pulled_back(values, cotangent)
    rounded = {key: _moved(value, _INPUT_ROUNDING, rng) for key, value in values.items()}
    others = exact.pulled_back(rounded, cotangent)
    scale = {key: sizes(values[key]) for key in exact.sources}
    a, b, c = (
        np.concatenate([(np.asarray(part[key], np.float64) * scale[key]).ravel() for key in exact.sources])
        for part in (computed, wanted, others)
    )
    finite = np.isfinite(a) & np.isfinite(b) & np.isfinite(c)
    differ = float(np.linalg.norm((a - b)[finite]))
    norm = float(np.linalg.norm(b[finite]))
    if not np.array_equal(np.isfinite(a), np.isfinite(b)) and np.isfinite(b).all():
        differ = float("inf")
    scored = output[cotangent != 0]
    floor = _FLAT * float(np.max(np.abs(scored[np.isfinite(scored)]), initial=0.0))
    if differ <= floor and norm <= floor / bound:
        return Row(f"{_COMPUTED}, {name}", float("nan"), float("nan"), None, None, None, True)
    error = differ / norm if norm else (0.0 if differ == 0 else float("inf"))
    allowed = max(bound, 10 * float(np.linalg.norm((c - b)[finite])) / norm) if norm else bound
    both = float(np.linalg.norm(a[finite])) * norm
    cosine = float(a[finite] @ b[finite] / both) if both else None
    median = float(np.median(np.abs(a - b)[finite])) / norm if norm else error
    return Row(f"{_COMPUTED}, {name}", error, median, cosine, None, allowed, error <= allowed)


def _selected(output: Array, target: Array | None) -> Array:
    """A cotangent of 1 at each example's target; everywhere where there is one number per example."""
    if target is None:
        return np.ones_like(output)
    if output.ndim == target.ndim and target.ndim == 1:  # one example without an axis of its own
        output = output[np.newaxis]
        return _selected(output, target)[0]
    rows = np.zeros((len(target), int(output.size // len(target))))
    dims = output.shape[1:] if output.shape[0] == len(target) else output.shape
    flat = target if target.ndim == 1 else np.ravel_multi_index(tuple(target.T), dims)
    rows[np.arange(len(target)), flat] = 1
    return rows.reshape(output.shape)


def _drawn(model: Model, at: str | None, rng: np.random.Generator) -> tuple[dict[str, Array], dict[str, Array] | None]:
    """Values for every input: those that are attributed, and the others.

    Raises:
        InputError: a size is not declared.
    """
    inputs = model.required_inputs
    values = drawn([spec_of(x) for x in inputs], rng, rows=2, words={str(x.name): known_words(x) for x in inputs})
    attributed = default_inputs(model, [at]) if at else [n for n, v in values.items() if kind_of(v.dtype) == "f"]
    if not attributed:
        default_inputs(model, ())  # which says where else
    rest = {name: value for name, value in values.items() if name not in attributed}
    return {name: values[name] for name in attributed}, rest or None
