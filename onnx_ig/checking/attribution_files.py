"""Verify an attribution model from its file alone: its attributions against differences of its own scores, in float64.

The one idea: the file holds F too. Where the path's nodes and weights are known, Σ_k w_k · ∂F along a direction at
every path point is told by differences of F, and by the attributions: a wrong rule in the file sets them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import Contract
from onnx_ig.checking.comparison import Row, VerificationReport, redrawn, report
from onnx_ig.checking.exact.forward import Forward
from onnx_ig.checking.exact.slopes import ROUNDING, STEPS, TOLERANCE, only, run, sizes, wide
from onnx_ig.checking.exact.widening import as_float64
from onnx_ig.common.arrays import named_arrays
from onnx_ig.common.types import Array
from onnx_ig.engine.drawn_data import drawn, known_words, own_inputs, with_the_rest
from onnx_ig.engine.forward import select
from onnx_ig.errors import InputError, UsageError
from onnx_ig.loading.model import Model
from onnx_ig.quadrature import path_nodes_and_weights

_POINTS = 5  # of a path that is an input
_BESIDE_KINKS = (0, 1e-3, 1e-2)  # of an element's size: how far off its place an input is asked
_BESIDE = "verify the model that it was made of instead"
Scores = Callable[[Mapping[str, Array]], Array]


def written_contract(model: Model) -> Contract | None:
    """The contract of an attribution model, None of another model."""
    said = model.ir_model.metadata_props.get(names.KEY)
    return None if said is None else Contract.from_json(said)


def against_own_scores(
    model: Model,
    contract: Contract,
    given: Any,
    additional: Any,
    target: Any,
    count: int,
    tolerance: float | None,
    rng: np.random.Generator,
) -> VerificationReport:
    """⟨v, A r⟩ against Σ_k w_k ⟨v, dF(p_k + h d)/dh⟩, d = r · (x − x'), for random v of examples and r of elements.

    Input×Gradient has one point, x, and x' = 0; without the factor d is r times each element's size. Computed in
    float64 from the file's own graph, for the data given (drawn where they are None) and ``count`` variations.

    Args:
        model, contract: an attribution model, loaded, and what it says of itself.

    Raises:
        UsageError: a file whose path points, baselines or F cannot be told from it.
        InputError: no values can be drawn, or F is flat to within rounding at all of them.
    """
    _refuse_untold(contract)
    wanted = tolerance or TOLERANCE
    whole = _widened(model, [str(y.name) for y in model.outputs])
    rows = []
    for i in range(count + 1):
        feeds = _feeds(model, contract, given, additional, rng)
        if target is not None:
            feeds |= {name: _targets(target, feeds[name]) for name in _target_inputs(contract)}
        if i:
            feeds |= {name: redrawn(feeds[name], rng) for name in contract.named("attributed")}
        error = None
        for distance in _BESIDE_KINKS:  # where a right gradient may differ; a wrong rule is wrong beside them too
            for name in contract.at if distance else ():
                feeds[name] = feeds[name] + distance * sizes(feeds[name]) * rng.standard_normal(feeds[name].shape)
            beside = _error(contract, _scores(model, contract), run(whole, feeds), feeds, wanted, rng)
            error = beside if error is None or (beside is not None and beside <= wanted) else error
            if error is None or error <= wanted:
                break
        bound = None if error is None else wanted
        shown = float("nan") if error is None else error
        kind = "given" if given is not None and not i else f"random {i}"
        rows.append(Row(f"attributions, {kind}", shown, shown, None, None, bound, bound is None or shown <= bound))
    if all(row.tolerance is None for row in rows):
        raise InputError("nothing could be judged: F is flat to within rounding, or not finite: give other inputs (-i)")
    return report(rows, "differences of the file's own scores along its path, in float64", every=["attributions"])


def _refuse_untold(contract: Contract) -> None:
    """Refuse the files that cannot be judged by themselves, by name."""
    if contract.straight_through:
        raise UsageError(f"the model is quantised, and no differences tell its gradient: {_BESIDE}, in float")
    if contract.algorithm not in ("integrated-gradients", "input-x-gradient"):
        raise UsageError(f"{contract.algorithm} is no sum of slopes of F: {_BESIDE}")
    if contract.at != contract.named("attributed"):
        raise UsageError(f"it attributes {', '.join(contract.at)}, a tensor inside the model: {_BESIDE}, with --at")
    if "tolerance" in (contract.baked.get("path") or {}):
        raise UsageError(f"its number of path points follows the error, and is not known before: {_BESIDE}")
    for name in contract.at if contract.algorithm == "integrated-gradients" else ():
        baked = contract.baked.get(names.BASELINE + name)
        taken = contract.prefix + names.BASELINE + name in contract.named("baseline")
        if not taken and not isinstance(baked, (int, float)):
            raise UsageError(f"the baseline of {name} is baked into its graph: {_BESIDE}, or export with one as input")


def _scores(model: Model, contract: Contract) -> Scores:
    """F of the file's target at given values of its inputs, [N] or [N, targets]; the target is that of the first."""
    outputs = [str(y.name) for y in model.outputs]
    score, path_scores, used = (contract.prefix + n for n in (names.SCORE, names.PATH_SCORES, names.TARGET_USED))
    if used not in outputs:
        name = score if score in outputs else path_scores
        forward = _widened(model, [name])

        def at(feeds: Mapping[str, Array]) -> Array:
            one = {contract.prefix + names.PATH_NODES: np.ones(1), contract.prefix + names.PATH_WEIGHTS: np.ones(1)}
            found: Array = run(forward, {**feeds, **one} if name == path_scores else feeds)[name]
            return found[0] if name == path_scores else found

        return at
    if contract.output not in outputs:
        raise UsageError(f"it chooses its target, and does not give {contract.output!r} to tell F by: {_BESIDE}")
    forward, chosen = _widened(model, [contract.output]), _widened(model, [used])
    first: list[Array] = []

    def of_first_target(feeds: Mapping[str, Array]) -> Array:
        if not first:
            first.append(run(chosen, feeds)[used])
        output = run(forward, feeds)[contract.output]
        output = output[np.newaxis] if contract.layout == "none" else output
        if contract.targets == 1:
            return select(output, first[0])
        return np.stack([select(output, first[0][:, k]) for k in range(contract.targets)], axis=1)

    return of_first_target


def _widened(model: Model, outputs: list[str]) -> Forward:
    return Forward(as_float64(ir.to_proto(only(model.clone_ir(), outputs, [])), halves=True))


def _feeds(model: Model, contract: Contract, given: Any, additional: Any, rng: np.random.Generator) -> dict[str, Array]:
    specs, attributed = own_inputs(contract), contract.named("attributed")
    rest = [spec.name for spec in specs if spec.name not in attributed]
    own = {**model.defaults}
    if given is None:
        words = {str(x.name): known_words(x) for x in model.inputs}
        own |= drawn([spec for spec in specs if spec.name not in own], rng, rows=2, words=words)
    else:
        own |= named_arrays(given, attributed, "inputs") | named_arrays(additional, rest, "additional_forward_args")
    own = {spec.name: own[spec.name] for spec in specs}
    return {name: wide(value) for name, value in with_the_rest(contract, own, rng, points=_POINTS).items()}


def _target_inputs(contract: Contract) -> list[str]:
    """The input that says the target.

    Raises:
        UsageError: the file has none.
    """
    taken = contract.named("target")
    if not taken:
        raise UsageError("the file has its target baked in, or chooses it: leave the target out")
    return taken


def _targets(target: Any, like: Array) -> Array:
    """The target of all examples, or of each, in the form of the file's input."""
    given = np.asarray(target, np.int64)
    try:
        return np.broadcast_to(given.reshape(-1, *[1] * (like.ndim - given.ndim)) if given.ndim else given, like.shape)
    except ValueError:
        raise InputError(f"the target has shape {list(given.shape)}, the file wants {list(like.shape)}") from None


def _path(contract: Contract, feeds: Mapping[str, Array]) -> list[tuple[float, float]]:
    if contract.algorithm == "input-x-gradient":
        return [(1.0, 1.0)]
    path = contract.baked.get("path")
    if path:
        nodes, weights = path_nodes_and_weights(path["method"], path["n_steps"])
    else:
        nodes, weights = (feeds[contract.prefix + name] for name in (names.PATH_NODES, names.PATH_WEIGHTS))
    return list(zip(nodes.tolist(), weights.tolist(), strict=True))


def _error(
    contract: Contract, scores: Scores, found: Mapping[str, Array], feeds: Mapping[str, Array], tolerance: float,
    rng: np.random.Generator,
) -> float | None:  # fmt: skip
    """The relative difference along a random direction, None where rounding hides F's slope there."""
    ends = {name: feeds[name] for name in contract.at}
    starts = {name: _start(contract, name, feeds) for name in contract.at}
    factors = {n: x - starts[n] if contract.multiply_by_inputs else sizes(x) for n, x in ends.items()}
    # the same all along an axis that is summed over, of which the file tells the sum alone
    r = {name: np.asarray(rng.standard_normal(contract.summed(name, x.shape))) for name, x in ends.items()}
    reference = scores(feeds)
    v: Array = np.asarray(rng.standard_normal(reference.shape))
    terms = np.concatenate([_terms(contract, name, found, v, r[name], factors[name]) for name in contract.at])
    if not np.isfinite(terms).all():
        return float("inf") if np.isfinite(reference).all() else None
    claimed, typical = float(terms.sum()), float(np.sqrt(np.square(terms).sum()))
    along_path = contract.algorithm == "integrated-gradients"
    best, hidden = float("inf"), True
    for h in STEPS:
        told = 0.0
        for node, weight in _path(contract, feeds):
            points: dict[str, Array] = {
                n: starts[n] + node * (x - starts[n]) if along_path else x for n, x in ends.items()
            }
            moved: list[dict[str, Array]] = [
                {n: p + sign * h * r[n] * factors[n] for n, p in points.items()} for sign in (1.0, -1.0)
            ]
            above, below = (scores({**feeds, **one}) for one in moved)
            told += weight * float(np.sum(v * (above - below))) / (2 * h)
        gap, scale = abs(told - claimed), max(abs(told), abs(claimed), typical)
        noise = ROUNDING * float(np.sum(np.abs(v * reference))) / h
        hidden = hidden and bool(gap <= noise)
        if scale > 0 and noise <= scale:
            best = min(best, gap / scale)
        if best <= tolerance:
            return best
    return None if hidden else best


def _start(contract: Contract, name: str, feeds: Mapping[str, Array]) -> Array:
    """Where the path of an input begins, in its shape; zero where there is no path."""
    if contract.algorithm != "integrated-gradients":
        return np.zeros_like(feeds[name])
    given = feeds.get(contract.prefix + names.BASELINE + name)
    start = float(contract.baked[names.BASELINE + name]) if given is None else given
    return np.broadcast_to(start, feeds[name].shape)


def _terms(
    contract: Contract, name: str, found: Mapping[str, Array], v: Array, r: Array, factor: Array
) -> Array:  # fmt: skip
    """What each element adds to ⟨v, A r⟩; without the factor in A it is put to it here."""
    attributions, moved = found[contract.prefix + names.ATTRIBUTION + name], r
    if not contract.multiply_by_inputs:
        moved = r * factor
    if contract.layout == "none":
        attributions, moved = attributions[np.newaxis], moved[np.newaxis]
    if contract.targets > 1:
        moved = moved[:, np.newaxis]
    weights = v.reshape(*v.shape, *[1] * (attributions.ndim - v.ndim))
    return np.asarray(weights * attributions * moved, np.float64).ravel()
