"""Check the engine against something that shares no code with it: the torch reference, or finite differences.

The one idea: a wrong gradient agrees with nothing, while a right one in float32 can differ by much in single elements
(a ReLU that flips), so the median sample decides and the worst is shown.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.attribution.batch_axis import examples_first
from onnx_ig.checking.attribution_files import against_own_scores, written_contract
from onnx_ig.checking.comparison import Row, VerificationReport, report
from onnx_ig.checking.comparison import samples as drawn_samples
from onnx_ig.checking.differences import against_differences
from onnx_ig.common import arrays
from onnx_ig.common.types import Rule
from onnx_ig.errors import InputError, UsageError
from onnx_ig.loading.model import is_torch_source, load_with_output
from onnx_ig.methods.gradients import InputXGradient
from onnx_ig.methods.integrated_gradients import IntegratedGradients
from onnx_ig.runtime.session import ProviderSpec

_TOLERANCE = 1e-4
_LEAST_COSINE = 0.999


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

    A PyTorch source is compared with torch autograd (:mod:`onnx_ig.checking.reference`): Input×Gradient, Integrated
    Gradients and the convergence delta. An ONNX source's derivative is compared in float64 with central differences
    of its own forward pass, ⟨v, J u⟩ against ⟨Jᵀ v, u⟩ for random v and u, and the engine's gradient with that in
    float64.

    Args:
        source: anything :func:`onnx_ig.load` takes.
        inputs: the inputs to verify on, as for ``attribute``; default: ``example_inputs``, else random ones.
        target: as for ``attribute``; default: the largest output where it is needed.
        samples: how many random inputs beside the given one.
        tolerance: on the largest difference relative to the largest element against torch, 1e-4 unless given; on the
            relative difference of an ONNX model's derivative, 1e-5, and of its gradient as computed, 1e-2.
        float64: the torch reference computes in float64.
        output, at: of an ONNX model, as for :class:`onnx_ig.InputXGradient`.
        batch_axis: where the examples lie in an ONNX model's inputs; None (PyTorch models too): the inputs hold one
            example, as for :class:`onnx_ig.IntegratedGradients`.

    Raises:
        InputError: an ONNX model with undeclared dimensions and no ``inputs``, or one that cannot be judged there.
        UsageError: another axis than the first of a PyTorch source; an attribution model that its file does not tell
            enough of (its path follows the error, it attributes an inner tensor).

    >>> import numpy as np, onnx.parser, onnx_ig
    >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
    ...     square (float[n, 2] x) => (float[n, 2] y) { y = Mul(x, x) }''')
    >>> x = np.array([[3, -4]], np.float32)
    >>> onnx_ig.verify(model, inputs=x).passed
    True
    """
    rng = np.random.default_rng(seed)
    given = inputs if inputs is not None else example_inputs
    if not is_torch_source(source):
        model, output = load_with_output(source, output)
        contract = written_contract(model)
        if contract is not None:
            if output is not None or at is not None or batch_axis != 0:
                raise UsageError(
                    "output=, at= and batch_axis= (--output, --at, --batch-axis): the file has them baked in"
                )
            return against_own_scores(model, contract, given, additional_forward_args, target, samples, tolerance, rng)
        model = examples_first(model, batch_axis)
        shared = {"output": output, "at": at, "provider": provider, "batch_axis": batch_axis and 0}
        return against_differences(model, given, additional_forward_args, target, samples, tolerance, shared, rng)
    if batch_axis:
        raise UsageError(f"batch_axis={batch_axis} goes with ONNX models: let the module transpose its inputs")
    module = _module(source, weights, output)
    if given is None:
        raise InputError("verifying a PyTorch source needs inputs: give inputs= or example_inputs=")
    drawn = drawn_samples(given, samples, True, rng)
    options = {"provider": provider, "batch_axis": batch_axis}
    rows = _against_torch(
        module, drawn, additional_forward_args, baselines, target, n_steps, method, tolerance, float64, options
    )
    return report(rows, f"torch autograd in {'float64' if float64 else 'the model’s precision'}")


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
    options: dict[str, Any],
) -> list[Row]:
    import torch

    from onnx_ig.checking import reference

    dtype = torch.float64 if float64 else None
    additional = tuple(torch.as_tensor(a) if isinstance(a, np.ndarray) else a for a in arrays.as_tuple(additional))
    bound = tolerance or _TOLERANCE
    gradient, integrated = InputXGradient(module, **options), IntegratedGradients(module, **options)
    one_example = options["batch_axis"] is None
    rows = []
    for name, xs in drawn:
        tensors = tuple(x if isinstance(x, torch.Tensor) else torch.as_tensor(x) for x in arrays.as_tuple(xs))
        judge, given, starts = module, tensors, baselines
        if one_example:
            judge = reference.of_a_batch_of_one(module, len(tensors))
            given = tuple(x[None] for x in tensors)
            starts = tuple(_whole(start, x) for start, x in zip(_each(baselines, len(tensors)), tensors, strict=True))
        chosen = target if target is not None else _predicted(judge(*given, *arrays.as_tuple(additional)))
        expected = reference.input_x_gradient(judge, given, chosen, additional, dtype)
        got = gradient.attribute(tensors, chosen, additional)
        rows.append(_compared(f"input-x-gradient, {name}", got, expected, None, bound))
        expected, expected_delta = reference.integrated_gradients(
            judge, given, starts, chosen, additional, n_steps, method, dtype=dtype
        )
        got, delta = integrated.attribute(
            tensors, baselines, chosen, additional, n_steps, method, return_convergence_delta=True
        )
        worst = float(np.max(np.abs(arrays.to_array(delta))))
        rows.append(_compared(f"integrated-gradients, {name}", got, expected, worst, bound))
        gap = np.abs(arrays.to_array(delta) - arrays.to_array(expected_delta))
        change = np.abs(sum(arrays.to_array(e).reshape(len(gap), -1).sum(1) for e in expected))
        relative = gap / np.maximum(1.0, change)
        error, median = float(np.max(relative)), float(np.median(relative))
        rows.append(Row(f"convergence delta, {name}", error, median, None, worst, bound, error <= bound))
    return rows


def _each(baselines: Any, count: int) -> tuple[Any, ...]:
    return baselines if isinstance(baselines, tuple) else (baselines,) * count


def _whole(start: Any, x: Any) -> Any:
    """A baseline of the rows of one example, or of one row for all, as that of a batch of one."""
    return start if start is None or not np.ndim(start) else x.new_tensor(arrays.to_array(start)).expand_as(x)[None]


def _compared(what: str, got: Any, expected: Any, delta: float | None, bound: float) -> Row:
    a = np.concatenate([arrays.to_array(v).astype(np.float64).ravel() for v in arrays.as_tuple(got)])
    b = np.concatenate([arrays.to_array(v).astype(np.float64).ravel() for v in arrays.as_tuple(expected)])
    largest = float(np.max(np.abs(b))) or 1.0
    error = np.abs(a - b) / largest
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    cosine = float(a @ b / norms) if norms else float(not np.any(a) and not np.any(b))
    worst = float(np.max(error))
    return Row(what, worst, float(np.median(error)), cosine, delta, bound, worst <= bound and cosine >= _LEAST_COSINE)


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
