"""Check the engine against something that shares no code with it: the torch reference, or finite differences.

The one idea: a wrong gradient agrees with nothing, while a right one in float32 can differ by much in single elements
(a ReLU that flips), so the median sample decides and the worst is shown.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig import arguments
from onnx_ig.attribution.batch_axis import examples_first
from onnx_ig.errors import InputError, UsageError, VerificationError
from onnx_ig.gradients import InputXGradient
from onnx_ig.methods import IntegratedGradients
from onnx_ig.model import Model, is_torch_source, load_with_output
from onnx_ig.runtime.session import ProviderSpec
from onnx_ig.types import Array, Rule

_TOLERANCE = {"torch": 1e-4, "differences": 1e-2}
_LEAST_COSINE = 0.999
_DIFFERENCE_STEPS = (3e-2, 1e-2, 3e-3, 1e-3)  # of the input's scale; rounding spoils the small, curvature the large


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


def verify(
    source: Any,
    *,
    inputs: Any = None,
    additional_forward_args: Any = None,
    baselines: Any = None,
    target: Any = None,
    example_inputs: Any = None,
    weights: str | os.PathLike[str] | None = None,
    n_steps: int = 50,
    method: Rule = "gausslegendre",
    tolerance: float | None = None,
    float64: bool = False,
    samples: int = 3,
    provider: ProviderSpec = "cpu",
    output: str | int | None = None,
    at: str | None = None,
    batch_axis: int | None = 0,
    seed: int = 0,
) -> VerificationReport:
    """Compare the engine's attributions with an independent computation, on the given inputs and on random ones.

    A PyTorch source is compared with torch autograd (:mod:`onnx_ig.reference`): Input×Gradient, Integrated Gradients
    and the convergence delta. An ONNX source is compared with central differences of its own forward pass along random
    directions u: ⟨∇F, u⟩ against (F(x + h u) − F(x − h u)) / 2h.

    Args:
        source: anything :func:`onnx_ig.load` takes.
        inputs: the inputs to verify on, as for ``attribute``; default: ``example_inputs``, else random ones.
        target: as for ``attribute``; default: the largest output where it is needed.
        samples: how many random inputs beside the given one.
        tolerance: on the largest difference relative to the largest element; 1e-4 against torch, 1e-2 against
            differences.
        float64: the torch reference computes in float64.
        batch_axis: where the examples lie in an ONNX model's inputs, as for :class:`onnx_ig.IntegratedGradients`.

    Raises:
        InputError: an ONNX model with undeclared dimensions and no ``inputs``.
        UsageError: a ``batch_axis`` of a PyTorch source.
    """
    rng = np.random.default_rng(seed)
    given = inputs if inputs is not None else example_inputs
    if not is_torch_source(source):
        model, output = load_with_output(source, output)
        model = examples_first(model, batch_axis)
        shared = {"output": output, "at": at, "provider": provider, "batch_axis": batch_axis and 0}
        first = given if given is not None else _random_like_declared(model, rng)
        drawn = _samples(first, samples, given is not None, rng)
        rows = _against_differences(model, drawn, additional_forward_args, target, tolerance, shared, rng, at)
        return _report(rows, "central differences of the model's own forward pass")
    if batch_axis != 0:
        raise UsageError(f"batch_axis={batch_axis} goes with ONNX models: the PyTorch reference has examples on axis 0")
    module = _module(source, weights, output)
    if given is None:
        raise InputError("verifying a PyTorch source needs inputs: give inputs= or example_inputs=")
    drawn = _samples(given, samples, True, rng)
    rows = _against_torch(
        module, drawn, additional_forward_args, baselines, target, n_steps, method, tolerance, float64, provider
    )
    return _report(rows, f"torch autograd in {'float64' if float64 else 'the model’s precision'}")


def _against_torch(
    module: Any,
    drawn: Sequence[tuple[str, Any]],
    additional: Any,
    baselines: Any,
    target: Any,
    n_steps: int,
    method: Rule,
    tolerance: float | None,
    float64: bool,
    provider: ProviderSpec,
) -> list[Row]:
    import torch

    from onnx_ig import reference

    dtype = torch.float64 if float64 else None
    additional = tuple(torch.as_tensor(a) if isinstance(a, np.ndarray) else a for a in arguments.as_tuple(additional))
    bound = tolerance or _TOLERANCE["torch"]
    gradient, integrated = InputXGradient(module, provider=provider), IntegratedGradients(module, provider=provider)
    rows = []
    for name, xs in drawn:
        tensors = tuple(x if isinstance(x, torch.Tensor) else torch.as_tensor(x) for x in arguments.as_tuple(xs))
        chosen = target if target is not None else _predicted(module(*tensors, *arguments.as_tuple(additional)))
        expected = reference.input_x_gradient(module, tensors, chosen, additional, dtype)
        got = gradient.attribute(tensors, chosen, additional)
        rows.append(_compared(f"input-x-gradient, {name}", got, expected, None, bound))
        expected, expected_delta = reference.integrated_gradients(
            module, tensors, baselines, chosen, additional, n_steps, method, dtype=dtype
        )
        got, delta = integrated.attribute(
            tensors, baselines, chosen, additional, n_steps, method, return_convergence_delta=True
        )
        worst = float(np.max(np.abs(arguments.to_array(delta))))
        rows.append(_compared(f"integrated-gradients, {name}", got, expected, worst, bound))
        gap = np.abs(arguments.to_array(delta) - arguments.to_array(expected_delta))
        change = np.abs(sum(arguments.to_array(e).reshape(len(gap), -1).sum(1) for e in expected))
        relative = gap / np.maximum(1.0, change)
        error, median = float(np.max(relative)), float(np.median(relative))
        rows.append(Row(f"convergence delta, {name}", error, median, None, worst, bound, error <= bound))
    return rows


def _against_differences(
    model: Model,
    drawn: Sequence[tuple[str, Any]],
    additional: Any,
    target: Any,
    tolerance: float | None,
    shared: Mapping[str, Any],
    rng: np.random.Generator,
    at: str | None,
) -> list[Row]:
    if at is not None:
        raise InputError("finite differences move the model's inputs: verify without at=")
    method = InputXGradient(model, multiply_by_inputs=False, **shared)
    bound = tolerance or _TOLERANCE["differences"]
    rows = []
    for name, xs in drawn:
        score = method.scorer(xs, target, additional)
        gradients = method.attribute(xs, score.target, additional)
        values = {n: arguments.to_array(v) for n, v in score.named(xs).items()}
        grads = {n: arguments.to_array(v) for n, v in score.named(gradients).items()}
        directions = {n: _direction(v, rng) for n, v in values.items()}
        slope = sum(
            (grads[n].astype(np.float64) * directions[n]).reshape(score.examples, -1).sum(axis=1) for n in values
        )
        scale = float(np.linalg.norm(slope)) + 1e-12
        by_step = [np.abs(_difference(score, values, directions, h) - slope) for h in _DIFFERENCE_STEPS]
        error = min(by_step, key=lambda e: float(np.linalg.norm(e))) / scale
        worst = float(np.max(error))
        rows.append(Row(f"⟨∇F, u⟩, {name}", worst, float(np.median(error)), None, None, bound, worst <= bound))
    return rows


def _difference(score: Any, values: Mapping[str, Array], directions: Mapping[str, Array], step: float) -> Array:
    """(F(x + h u) − F(x − h u)) / 2h per example."""
    up, down = (
        score({n: (v + sign * step * directions[n]).astype(v.dtype) for n, v in values.items()}).astype(np.float64)
        for sign in (1.0, -1.0)
    )
    return np.asarray((up - down) / (2 * step))


def _direction(x: Array, rng: np.random.Generator) -> Array:
    """A random direction in which each element moves in proportion to its own size.

    Features differ by orders of magnitude.
    """
    size = np.abs(x.astype(np.float64))
    typical = float(np.median(size[size > 0])) if np.any(size > 0) else 1.0
    scale = np.where(size > 0, np.maximum(size, 1e-3 * typical), typical)
    return rng.standard_normal(x.shape) * scale / np.sqrt(max(1, x[0].size if x.ndim else 1))


def _compared(what: str, got: Any, expected: Any, delta: float | None, bound: float) -> Row:
    a = np.concatenate([arguments.to_array(v).astype(np.float64).ravel() for v in arguments.as_tuple(got)])
    b = np.concatenate([arguments.to_array(v).astype(np.float64).ravel() for v in arguments.as_tuple(expected)])
    largest = float(np.max(np.abs(b))) or 1.0
    error = np.abs(a - b) / largest
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    cosine = float(a @ b / norms) if norms else float(not np.any(a) and not np.any(b))
    worst = float(np.max(error))
    return Row(what, worst, float(np.median(error)), cosine, delta, bound, worst <= bound and cosine >= _LEAST_COSINE)


def _report(rows: list[Row], against: str) -> VerificationReport:
    """Each quantity passes if its median sample does."""
    quantities: dict[str, list[Row]] = {}
    for row in rows:
        quantities.setdefault(row.what.rpartition(", ")[0], []).append(row)
    passed = all(_median_passes(group) for group in quantities.values())
    return VerificationReport(rows, passed and bool(rows), f"compared with {against}; the median sample decides")


def _median_passes(rows: list[Row]) -> bool:
    ordered = sorted(rows, key=lambda row: row.max_relative_error if np.isfinite(row.max_relative_error) else np.inf)
    return ordered[len(ordered) // 2].passed


def _samples(first: Any, count: int, given: bool, rng: np.random.Generator) -> list[tuple[str, Any]]:
    """The first inputs, and ``count`` random ones around them."""
    drawn = [("given" if given else "random 0", first)]
    for i in range(1, count + 1):
        drawn.append((f"random {i}", _map(first, lambda x: _redrawn(x, rng))))
    return drawn


def _redrawn(x: Any, rng: np.random.Generator) -> Any:
    array = arguments.to_array(x)
    if not arguments.is_floating(array.dtype):
        return x
    wide = array.astype(np.float64)
    # about the given value, element by element: features differ by orders of magnitude
    fresh = wide * (1 + 0.3 * rng.standard_normal(array.shape)) + 0.01 * float(
        np.median(np.abs(wide))
    ) * rng.standard_normal(array.shape)
    if not arguments.is_torch(x):
        return fresh.astype(array.dtype)
    import torch

    return torch.as_tensor(fresh).to(x.dtype)


def _map(inputs: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(inputs, Mapping):
        return {name: change(value) for name, value in inputs.items()}
    return tuple(change(value) for value in inputs) if isinstance(inputs, tuple) else change(inputs)


def _random_like_declared(model: Model, rng: np.random.Generator) -> dict[str, Array]:
    """Standard normal values for every input, two examples where the batch is dynamic.

    Raises:
        InputError: an input that is not float, or whose further dimensions are not declared.
    """
    values = {}
    for x in model.required_inputs:
        dims = (
            None if x.shape is None else [2 if i == 0 and not isinstance(d, int) else d for i, d in enumerate(x.shape)]
        )
        if (
            dims is None
            or x.dtype is None
            or not arguments.is_floating(x.dtype.numpy())
            or not all(isinstance(d, int) for d in dims)
        ):
            raise InputError(f"no random values can be drawn for input {x.name!r} ({x.dtype} {x.shape}): give inputs")
        values[str(x.name)] = rng.standard_normal([d for d in dims if isinstance(d, int)]).astype(x.dtype.numpy())
    return values


def _predicted(output: Any) -> Any:
    """The arg-max class of each example for outputs of rank 2; None for one number per example."""
    if output.dim() == 2 and output.shape[1] > 1:
        return output.detach().argmax(1)
    if output.dim() > 2:
        return tuple(0 for _ in output.shape[1:])
    return None


def _module(source: Any, weights: Any, output: str | int | None) -> Any:
    """The PyTorch source as a function with the one result that ``output`` means."""
    from onnx_ig.pytorch.files import load_exported_program, load_factory
    from onnx_ig.pytorch.source import Picked, pick_output

    module = source
    if isinstance(source, (str, os.PathLike)):
        if Path(os.fspath(source)).suffix == ".pt2":
            module = load_exported_program(source).module(check_guards=False)
        else:
            module = load_factory(os.fspath(source), weights)
    if hasattr(module, "state_dict"):
        return Picked(module, output)
    return lambda *arguments: pick_output(module(*arguments), output)[1]
