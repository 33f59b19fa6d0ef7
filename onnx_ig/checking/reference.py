"""The torch reference: both methods by torch autograd, one path point at a time.

The one idea: written for clarity from the formulas and sharing no code with the engine it judges, so that a common
mistake is unlikely; with ``dtype=torch.float64`` its rounding is negligible beside the engine's.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from onnx_ig.errors import InputError, UsageError
from onnx_ig.stopping import (
    BETWEEN,
    CANCELLED,
    DELTA_TELLS,
    FASTEST,
    LEAST_BETWEEN,
    ROUNDINGS,
    SLOWEST,
    SMOOTH,
    SMOOTH_LEFT,
)

Module = Callable[..., Any]


def input_x_gradient(
    module: Module,
    inputs: Any,
    target: Any = None,
    additional_forward_args: Any = None,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, ...]:
    """x · ∇F(x; t) per input, each of its input's shape.

    Arguments as in :func:`integrated_gradients`.
    """
    xs = _tensors(inputs, dtype)
    with _evaluation(module, dtype) as function:
        _, gradients = _score_and_gradients(function, xs, target, _arguments(additional_forward_args, dtype))
    return tuple(x * gradient for x, gradient in zip(xs, gradients, strict=True))


def integrated_gradients(
    module: Module,
    inputs: Any,
    baselines: Any = None,
    target: Any = None,
    additional_forward_args: Any = None,
    n_steps: int = 50,
    method: str = "gausslegendre",
    multiply_by_inputs: bool = True,
    dtype: torch.dtype | None = None,
) -> tuple[tuple[Tensor, ...], Tensor]:
    """(x − x') · Σ_k w_k ∇F(x' + a_k (x − x'); t) per input, and the convergence delta per example.

    Args:
        module: an ``nn.Module`` or another callable on tensors; not changed.
        inputs: a tensor or array, or a tuple of them, examples on axis 0.
        baselines: None (zeros), a scalar, a tensor of the input's shape or of one example, or a tuple of these.
        target: None; an int; N ints; a tuple of ints for outputs of rank > 2; N such tuples.
        additional_forward_args: passed unchanged, at the end points and at every path point.
        method: the quadrature rule; ``n_steps`` its number of path points.
        multiply_by_inputs: False leaves the factor (x − x') out; the delta is computed from what remains.
        dtype: ``torch.float64`` computes on a float64 copy of the module, with float64 arguments.

    Returns:
        ``(attributions, delta)``: a tuple of tensors, one per input and of its shape, and a tensor [N].

    Source: Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", arXiv 1703.01365, eq. 1 and 3.
    """
    xs = _tensors(inputs, dtype)
    starts = _baselines(baselines, xs)
    arguments = _arguments(additional_forward_args, dtype)
    with _evaluation(module, dtype) as function:
        total = [torch.zeros_like(x) for x in xs]
        for node, weight in _rule(method, n_steps):
            point = [start + node * (x - start) for x, start in zip(xs, starts, strict=True)]
            _, gradients = _score_and_gradients(function, point, target, arguments)
            for summed, gradient in zip(total, gradients, strict=True):
                summed += weight * gradient
        end_score, _ = _score_and_gradients(function, xs, target, arguments)
        start_score, _ = _score_and_gradients(function, starts, target, arguments)
    if multiply_by_inputs:
        total = [summed * (x - start) for summed, x, start in zip(total, xs, starts, strict=True)]
    delta = sum(summed.flatten(1).sum(1) for summed in total) - (end_score - start_score)
    return tuple(total), delta


def integrated_to_tolerance(
    module: Module,
    inputs: Any,
    baselines: Any = None,
    target: Any = None,
    additional_forward_args: Any = None,
    tolerance: float = 0.01,
    max_steps: int = 1024,
    multiply_by_inputs: bool = True,
    dtype: torch.dtype | None = None,
) -> tuple[tuple[Tensor, ...], np.ndarray, np.ndarray]:
    """(x − x') · ∫₀¹ ∇F(x' + a (x − x'); t) da per input to an estimated relative error, that error and the steps, [N].

    The rule of :func:`onnx_ig.engine.adaptive.integrate_to_tolerance`, whose model computes in float32, with every
    level's weights made anew: of the angles θ, a = sin² θ/2, of a level the trapezoid rule with dθ for da = ½ sin θ dθ,
    and weights at the two ends with which all sum to one.

    Args:
        inputs, baselines, target, additional_forward_args, multiply_by_inputs, dtype: as :func:`integrated_gradients`.
    """
    xs = _tensors(inputs, dtype)
    starts = _baselines(baselines, xs)
    arguments = _arguments(additional_forward_args, dtype)
    spans = [x - start for x, start in zip(xs, starts, strict=True)]
    known: dict[float, tuple[Tensor, list[Tensor]]] = {}

    def along(function: Module, angle: float) -> tuple[Tensor, list[Tensor]]:
        if angle not in known:
            node = np.sin(angle / 2) ** 2
            point = [start + node * span for start, span in zip(starts, spans, strict=True)]
            known[angle] = _score_and_gradients(function, point, target, arguments)
        return known[angle]

    error = np.full(len(xs[0]), np.inf)
    estimate, steps, done = error, np.zeros(len(error), np.int64), np.zeros(len(error), bool)
    result = [torch.zeros_like(x) for x in xs]
    doubled: list[Tensor] | None = None
    change = None
    with _evaluation(module, dtype) as function:
        explained = (along(function, np.pi)[0] - along(function, 0.0)[0]).numpy()
        rounding = ROUNDINGS * np.finfo(np.float32).eps * np.abs([along(function, a)[0] for a in (0.0, np.pi)]).max(0)
        for intervals, angles in _levels(max_steps):
            weights = np.gradient(angles) * np.sin(angles) / 2
            weights[[0, -1]] = (1 - weights[1:-1].sum()) / 2
            value = [torch.zeros_like(x) for x in xs]
            for angle, weight in zip(angles, weights, strict=True):
                for i, gradient in enumerate(along(function, angle)[1]):
                    value[i] += weight * (gradient * spans[i] if multiply_by_inputs else gradient)
            whole = value if multiply_by_inputs else [v * s for v, s in zip(value, spans, strict=True)]
            total = np.sum([v.flatten(1).sum(1).numpy() for v in whole], axis=0)
            least = _part(np.maximum(np.abs(total - explained) - rounding, 0), _l1(whole))
            if doubled is not None:
                moved = _part(_l1([v - d for v, d in zip(value, doubled, strict=True)]), _l1(value))
                if intervals % 3 == 0:
                    estimate = np.maximum(BETWEEN * moved, LEAST_BETWEEN * estimate)
                else:
                    rate = np.full_like(moved, FASTEST) if change is None else _part(moved, change)
                    held = np.clip(rate, FASTEST, SLOWEST)
                    estimate = moved * np.where(rate < SMOOTH, SMOOTH_LEFT, held / (1 - held))
                    change = moved if change is None else np.maximum(moved, FASTEST * change)
            doubled = doubled if intervals % 3 == 0 else value
            now = np.maximum(estimate, CANCELLED * least) if intervals < DELTA_TELLS else estimate
            error, steps = np.where(done, error, now), np.where(done, steps, intervals)
            for kept, v in zip(result, value, strict=True):
                kept[torch.from_numpy(~done)] = v[torch.from_numpy(~done)]
            done = done | (error <= tolerance)
            if done.all():
                break
    return tuple(result), error, steps


def _levels(max_steps: int) -> Iterator[tuple[int, np.ndarray]]:
    """The angles of 4, 8, 12, 16, 24, 32, ... intervals: of n, and from 8 on with every other one halved."""
    n = 4
    while n <= max_steps:
        angles = np.arange(n + 1) * (np.pi / n)
        yield n, angles
        if n > 4 and n + n // 2 <= max_steps:
            yield n + n // 2, np.sort(np.concatenate([angles, (np.arange(0, n, 2) + 0.5) * (np.pi / n)]))
        n *= 2


def _l1(values: Sequence[Tensor]) -> np.ndarray:
    """Σ |values| of each example."""
    return np.sum([v.abs().flatten(1).sum(1).numpy() for v in values], axis=0)


def _part(part: np.ndarray, of: np.ndarray) -> np.ndarray:
    """part / of, 0 for 0 / 0."""
    return np.divide(part, of, out=np.zeros_like(part), where=part != 0)


def of_a_batch_of_one(module: Module, inputs: int) -> nn.Module:
    """``module``, whose inputs hold one example without an axis for examples, as one of batches of one.

    Args:
        inputs: how many of its arguments are inputs; the others are passed unchanged.
    """
    return _OfABatchOfOne(module, inputs)


class _OfABatchOfOne(nn.Module):
    def __init__(self, module: Module, inputs: int) -> None:
        super().__init__()
        self.training = False
        self._module, self._inputs = module, inputs

    def forward(self, *arguments: Any) -> Any:
        given = [a[0] for a in arguments[: self._inputs]]
        return self._module(*given, *arguments[self._inputs :])[None]


def _rule(method: str, n: int) -> list[tuple[float, float]]:
    """Path nodes and weights, written a second time on purpose: the first is among what is judged."""
    if n < (2 if method == "riemann_trapezoid" else 1):
        raise UsageError(f"n_steps is {n}: too few for {method}")
    if method == "gausslegendre":
        nodes, weights = np.polynomial.legendre.leggauss(n)
        return [((1 + float(a)) / 2, float(w) / 2) for a, w in zip(nodes, weights, strict=True)]
    if method == "riemann_trapezoid":
        return [(k / (n - 1), (0.5 if k in (0, n - 1) else 1) / n) for k in range(n)]
    shifts = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}
    if method not in shifts:
        raise UsageError(f"unknown method {method!r}: gausslegendre, riemann_trapezoid, {', '.join(shifts)}")
    return [((k + shifts[method]) / n, 1 / n) for k in range(n)]


def _score_and_gradients(
    function: Module, point: list[Tensor], target: Any, arguments: tuple[Any, ...]
) -> tuple[Tensor, list[Tensor]]:
    """F(point; t), shape [N], and ∇F of their sum: examples are independent, so one backward pass serves all."""
    leaves = [value.detach().clone().requires_grad_() for value in point]
    with torch.enable_grad():
        score = _select(function(*leaves, *arguments), target, leaves[0].shape[0])
        if score.requires_grad:
            gradients = torch.autograd.grad(score.sum(), leaves, allow_unused=True)
        else:
            gradients = (None,) * len(leaves)
    filled = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, gradients, strict=True)]
    return score.detach(), filled


def _select(output: Any, target: Any, examples: int) -> Tensor:
    """One number per example from ``output``, chosen example by example."""
    if not isinstance(output, Tensor):
        raise InputError(f"the reference needs a model that returns one tensor, not {type(output).__name__}")
    if output.dim() == 0 and examples == 1:
        output = output.reshape(1)
    if output.dim() == 0 or output.shape[0] != examples:
        raise InputError(f"the output {tuple(output.shape)} has not one row per example: there are {examples}")
    return torch.stack([_element(output[i], _index(target, i, examples)) for i in range(examples)])


def _element(row: Tensor, index: tuple[int, ...]) -> Tensor:
    if len(index) > row.dim() or any(not 0 <= k < size for k, size in zip(index, row.shape, strict=False)):
        raise InputError(f"target {index} is outside the output per example, {tuple(row.shape)}")
    chosen = row[index]
    if chosen.numel() != 1:
        raise InputError(f"target {index} leaves {tuple(chosen.shape)} of the output per example: give one per axis")
    return chosen.reshape(())


def _index(target: Any, example: int, examples: int) -> tuple[int, ...]:
    """The index that ``target`` means for one example; () for None."""
    if target is None:
        return ()
    if isinstance(target, tuple):
        return tuple(int(k) for k in target)
    if isinstance(target, (Tensor, np.ndarray)):
        target = target.tolist()
    if not isinstance(target, list):
        return (int(target),)
    if len(target) not in (1, examples):
        raise InputError(f"{len(target)} targets for {examples} examples")
    own = target[example if len(target) == examples else 0]
    return tuple(int(k) for k in own) if isinstance(own, (tuple, list)) else (int(own),)


def _tensors(values: Any, dtype: torch.dtype | None) -> list[Tensor]:
    each = values if isinstance(values, (tuple, list)) else (values,)
    return [_cast(torch.as_tensor(value).detach(), dtype) for value in each]


def _baselines(baselines: Any, xs: list[Tensor]) -> list[Tensor]:
    each = baselines if isinstance(baselines, (tuple, list)) else (baselines,) * len(xs)
    if len(each) != len(xs) or (len(xs) > 1 and isinstance(baselines, (Tensor, np.ndarray))):
        raise InputError(f"one baseline per input: {len(xs)} inputs")
    filled = []
    for baseline, x in zip(each, xs, strict=True):
        value = torch.as_tensor(0 if baseline is None else baseline).detach().to(x)
        if value.dim() and (value.shape[1:] != x.shape[1:] or value.shape[0] not in (1, x.shape[0])):
            raise InputError(f"baseline {tuple(value.shape)} does not fit the input {tuple(x.shape)}")
        filled.append(value.expand_as(x))
    return filled


def _arguments(values: Any, dtype: torch.dtype | None) -> tuple[Any, ...]:
    each = () if values is None else values if isinstance(values, tuple) else (values,)
    return tuple(_cast(value.detach(), dtype) if isinstance(value, Tensor) else value for value in each)


def _cast(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    return value.to(dtype) if dtype is not None and value.is_floating_point() else value


@contextlib.contextmanager
def _evaluation(module: Module, dtype: torch.dtype | None) -> Iterator[Module]:
    """``module`` in ``dtype``, on a copy, with cuDNN off: it has no backward for recurrent layers in eval mode."""
    if dtype is not None:
        if not isinstance(module, nn.Module):
            raise UsageError(
                f"a {type(module).__name__} cannot be copied into {dtype}: give an nn.Module, or dtype=None"
            )
        module = copy.deepcopy(module).to(dtype)
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype or default)  # what the model's own code creates should not be float32
        with torch.backends.cudnn.flags(enabled=False):
            yield module
    finally:
        torch.set_default_dtype(default)
