"""A gradient against central differences of the model's own forward pass, both in float64.

The one idea: in float64 a right gradient meets the differences to many digits, so the tolerance can be so small that no
wrong one passes. For a random cotangent v and direction u, ⟨v, J u⟩ by differences is held against ⟨Jᵀ v, u⟩.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from onnx_ig.autodiff.gradient import COTANGENT, GRAD, STRAIGHT_THROUGH
from onnx_ig.checking.exact.forward import Forward
from onnx_ig.checking.exact.widening import as_float64
from onnx_ig.common.types import Array
from onnx_ig.differentiation import exact_gradient
from onnx_ig.errors import ModelError, NoGradientPathError, OnnxIgError, OnnxIgWarning
from onnx_ig.loading.model import Model, tensors_of

TOLERANCE = 1e-5
STEPS = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)  # of each element's size; a kink needs the small, curvature is met first
ROUNDING = 64 * np.finfo(np.float64).eps  # of a sum of the outputs, for each of the two evaluations
_LARGEST = 700_000_000  # bytes of weights, of which float64 needs twice as many


@dataclass(frozen=True)
class Slope:
    """One comparison: ``error`` is relative; None where F is flat to within rounding, or not finite."""

    tensor: str
    error: float | None


class Exact:
    """The tensor ``output`` of a model in float64 as a function of the tensors ``sources``, and its pull-back.

    ``sources`` are inputs or tensors inside the graph, which then become inputs: what they are computed from stays.

    Attributes:
        straight_through: operators whose derivative is that of their float equivalent: no differences tell it.

    Raises:
        ModelError: the model is too large, or holds what has no float64.
        NotDifferentiableError: see :func:`onnx_ig.differentiate`.
    """

    def __init__(self, model: Model, output: str, sources: Sequence[str]) -> None:
        tensors = (value.const_value for value in model.ir_model.graph.initializers.values())
        weights = sum(tensor.nbytes for tensor in tensors if tensor is not None)
        if weights > _LARGEST:
            raise ModelError(
                f"the model has {weights / 2**20:.0f} MB of weights: too much to be verified in float64, up to "
                f"{_LARGEST / 2**20:.0f} MB are"
            )
        self._model = model
        widened = as_float64(ir.to_proto(only(model.clone_ir(), [output], sources)), halves=True)
        self.output, self.sources = output, list(sources)
        self._forward = Forward(widened)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", OnnxIgWarning)
                gradient = exact_gradient(widened, wrt=self.sources, outputs=[output])
            self.straight_through = {p.value for p in gradient.metadata_props if p.key == STRAIGHT_THROUGH} - {"{}"}
            self._gradient: Forward | None = Forward(gradient)
        except NoGradientPathError:  # the derivative is zero
            self.straight_through, self._gradient = set(), None

    def values(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """``feeds``, values of the model's inputs, in float64 and with those of inner sources."""
        values = {name: wide(value) for name, value in feeds.items()}
        inner = [name for name in self.sources if name not in feeds]
        if not inner:
            return values
        found = run(Forward(as_float64(ir.to_proto(only(self._model.clone_ir(), inner, [])), halves=True)), values)
        return values | {name: found[name] for name in inner}

    def __call__(self, values: Mapping[str, Array]) -> Array:
        """The output."""
        return run(self._forward, values)[self.output]

    def pulled_back(self, values: Mapping[str, Array], cotangent: Array) -> dict[str, Array]:
        """Jᵀ v for each source."""
        if self._gradient is None:
            return {name: np.zeros_like(values[name]) for name in self.sources}
        found = run(self._gradient, {**values, COTANGENT + self.output: cotangent})
        return {name: found[GRAD + name] for name in self.sources}


def slopes(exact: Exact, values: Mapping[str, Array], rng: np.random.Generator, tolerance: float) -> list[Slope]:
    """Compare along two random directions of each source, one of which moves only half of its elements.

    The error is the difference of the two slopes, relative to the larger of them and to what the elements would come to
    if their signs were random.
    """
    reference = exact(values)
    cotangent = np.where(np.isfinite(reference), rng.standard_normal(reference.shape), 0)
    gradients = exact.pulled_back(values, cotangent)
    found = []
    for name in exact.sources:
        for share in (1.0, 0.5):
            x = values[name]
            direction = rng.standard_normal(x.shape) * sizes(x) * (rng.random(x.shape) < share)
            found.append(_slope(exact, values, name, direction, cotangent, gradients[name], tolerance))
    return found


def _slope(
    exact: Exact,
    values: Mapping[str, Array],
    name: str,
    direction: Array,
    cotangent: Array,
    gradient: Array,
    tolerance: float,
) -> Slope:
    if gradient.shape != direction.shape or not np.isfinite(gradient).all():
        return Slope(name, None if gradient.shape == direction.shape else float("inf"))
    terms = gradient * direction
    claimed, typical = float(terms.sum()), float(np.sqrt(np.square(terms).sum()))
    best, hidden = float("inf"), True
    for step in STEPS:
        ends = [exact({**values, name: values[name] + sign * step * direction}) for sign in (1.0, -1.0)]
        if not all(np.isfinite(end[cotangent != 0]).all() for end in ends):
            continue
        # subtracting before weighting keeps the digits that a large common value would eat
        slope = float(np.sum(np.where(cotangent != 0, cotangent * (ends[0] - ends[1]), 0))) / (2 * step)
        noise = ROUNDING * float(np.sum(np.abs(cotangent) * np.nan_to_num(np.abs(ends[0])))) / step
        gap, scale = abs(slope - claimed), max(abs(slope), abs(claimed), typical)
        if scale > 0 and gap <= tolerance * scale and noise <= scale:
            return Slope(name, gap / scale)
        hidden = hidden and bool(gap <= noise)
        best = min(best, gap / scale) if scale else best
    return Slope(name, None if hidden else best)


def sizes(x: Array) -> Array:
    """Each element's own size, by which it is moved: features differ by orders of magnitude."""
    size = np.abs(x.astype(np.float64))
    typical = float(np.median(size[size > 0])) if np.any(size > 0) else 1.0
    return np.where(size > 0, np.maximum(size, 1e-3 * typical), typical)


def only(model: ir.Model, outputs: Sequence[str], cut_at: Sequence[str]) -> ir.Model:
    """``model``, changed, with these outputs; tensors inside it named in ``cut_at`` become inputs."""
    graph = model.graph
    by_name = {str(value.name): value for value in tensors_of(graph)}
    kept = [by_name[name] for name in outputs]
    for name in cut_at:
        value = by_name[name]
        if value.producer() is None:
            continue
        fresh = ir.Value(type=value.type, shape=value.shape)
        ir.convenience.replace_all_uses_with(value, fresh)
        value.name, fresh.name = f"{name} as computed", name
        kept = [fresh if one is value else one for one in kept]
        graph.inputs.append(fresh)
    graph.outputs.clear()
    graph.outputs.extend(kept)
    return passes.RemoveUnusedNodesPass()(model).model


def wide(value: Array) -> Array:
    """Floats of fewer bits in float64, and others as they are."""
    narrow = value.dtype.kind == "V" or value.dtype in (np.float16, np.float32)
    return value.astype(np.float64) if narrow else value


def run(forward: Forward, values: Mapping[str, Array]) -> dict[str, Any]:
    """The outputs for those of ``values`` that the model takes.

    Raises:
        ModelError: it does not run in float64.
    """
    try:
        return forward({name: value for name, value in values.items() if name in forward.input_names})
    except OnnxIgError:
        raise
    except Exception as error:  # the reference evaluator's, of many kinds
        raise ModelError(f"the model does not run in float64: {type(error).__name__}: {error}") from error
