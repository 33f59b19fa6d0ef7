"""What an attribution model must compute, by the torch reference in float64."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import Contract
from onnx_ig.checking import reference
from onnx_ig.common.types import Array
from onnx_ig.errors import UsageError
from onnx_ig.pytorch.source import pick_output

_OWN = ("attributed", "per_example", "shared")


class _Reordered(nn.Module):
    """``module`` called with the attributed inputs first, of whose results ``output`` is taken."""

    def __init__(self, module: nn.Module, order: Sequence[int], output: str) -> None:
        super().__init__()
        self.module, self.order, self.output = module, list(order), output
        self.training = False

    def forward(self, *tensors: Tensor) -> Any:
        placed = dict(zip(self.order, tensors, strict=True))
        result = self.module(*(placed[i] for i in range(len(tensors))))
        return result if isinstance(result, Tensor) else pick_output(result, self.output)[1]


def expected_by_torch(
    module: nn.Module,
    contract: Contract,
    feeds: Mapping[str, Array],
    baked_baselines: Mapping[str, Array],
    outputs: Sequence[str],
) -> dict[str, Array]:
    """Every output in ``outputs``, in float64; the model's own inputs are the module's positional arguments in order.

    Raises:
        UsageError: ``module`` is no nn.Module, and so cannot be copied into float64.
    """
    if not isinstance(module, nn.Module):
        raise UsageError(f"test data of a {type(module).__name__} cannot be computed in float64: give an nn.Module")
    own = [entry.name for entry in contract.inputs if entry.role in _OWN]
    attributed = contract.named("attributed")
    order = [own.index(name) for name in (*attributed, *(n for n in own if n not in attributed))]
    net = _Reordered(copy.deepcopy(module), order, contract.output).double()
    arguments = [_wide(feeds[own[i]]) for i in order]
    xs, rest = tuple(arguments[: len(attributed)]), tuple(arguments[len(attributed) :])
    starts = tuple(_start(contract, feeds, baked_baselines, name, x) for name, x in zip(attributed, xs, strict=True))
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.no_grad():
            output = net(*xs, *rest)
        each = [
            _expected(net, contract, feeds, xs, starts, rest, output, target)
            for target in _targets(contract, feeds, output)
        ]
    finally:
        torch.set_default_dtype(default)
    prefix, found = contract.prefix, each[0]
    if contract.targets > 1:
        axes = {prefix + names.PATH_SCORES: 2}
        found = {name: np.stack([one[name] for one in each], axis=axes.get(name, 1)) for name in found}
    found.setdefault(contract.output, output.numpy())
    unknown = [name for name in outputs if name not in found]
    if unknown:
        raise UsageError(f"the torch module does not give the output {unknown[0]!r}, so no test data can be written")
    return {name: found[name] for name in outputs}


def _expected(
    net: nn.Module,
    contract: Contract,
    feeds: Mapping[str, Array],
    xs: tuple[Tensor, ...],
    starts: tuple[Tensor, ...],
    rest: tuple[Tensor, ...],
    output: Tensor,
    target: Array | None,
) -> dict[str, Array]:
    """What the attribution model must give for one target of each example."""
    prefix, found = contract.prefix, {}
    found[prefix + names.SCORE] = _selected(output, target)
    if contract.algorithm != "integrated-gradients":
        attributions = reference.input_x_gradient(net, xs, _listed(target), rest, torch.float64)
        if not contract.multiply_by_inputs:
            attributions = tuple(a / x for a, x in zip(attributions, xs, strict=True))
    else:
        attributions, of_examples = _integrated(net, contract, feeds, xs, starts, rest, target)
        found |= {prefix + name: value for name, value in of_examples.items()}
        with torch.no_grad():
            found[prefix + names.BASELINE_SCORE] = _selected(net(*starts, *rest), target)
            if contract.form == "step":
                points = [
                    [s + float(a) * (x - s) for x, s in zip(xs, starts, strict=True)]
                    for a in feeds[prefix + names.PATH_NODES]
                ]
                found[prefix + names.PATH_SCORES] = np.stack([_selected(net(*p, *rest), target) for p in points])
    attributions = tuple(
        a if (axis := contract.summed_axes.get(name)) is None else a.sum(axis, keepdim=True)
        for name, a in zip(contract.named("attributed"), attributions, strict=True)
    )
    for name, value in zip(contract.named("attributed"), attributions, strict=True):
        found[f"{prefix}{names.ATTRIBUTION}{name}"] = value.numpy()
    if prefix + names.BASELINE_SCORE in found:
        total = np.sum([value.flatten(1).sum(1).numpy() for value in attributions], axis=0)
        found[prefix + names.CONVERGENCE_DELTA] = total - (
            found[prefix + names.SCORE] - found[prefix + names.BASELINE_SCORE]
        )
    if target is not None:
        found[prefix + names.TARGET_USED] = target[:, 0]
    return found


def _integrated(
    net: nn.Module,
    contract: Contract,
    feeds: Mapping[str, Array],
    xs: tuple[Tensor, ...],
    starts: tuple[Tensor, ...],
    rest: tuple[Tensor, ...],
    target: Array | None,
) -> tuple[tuple[Tensor, ...], dict[str, Array]]:
    """The attributions, and what is told of their error where a tolerance is baked."""
    path = contract.baked.get("path")
    if path is None:  # the rule whose nodes were written as inputs
        points = len(feeds[contract.prefix + names.PATH_NODES])
        path = {"method": "gausslegendre" if points > 1 else "riemann_middle", "n_steps": points}
    factor = contract.multiply_by_inputs
    if "tolerance" in path:
        attributions, error, steps = reference.integrated_to_tolerance(
            net, xs, starts, _listed(target), rest, path["tolerance"], path["max_steps"], factor, torch.float64
        )
        return attributions, {names.ERROR_ESTIMATE: error, names.STEPS_USED: steps}
    attributions, _ = reference.integrated_gradients(
        net, xs, starts, _listed(target), rest, path["n_steps"], path["method"], factor, torch.float64
    )
    return attributions, {}


def _start(contract: Contract, feeds: Mapping[str, Array], baked: Mapping[str, Array], name: str, x: Tensor) -> Tensor:
    """The baseline of input ``name``: fed, baked as an array, baked as a number; in x's shape."""
    key = names.BASELINE + name
    value = feeds.get(contract.prefix + key)
    if value is None:
        value = baked.get(name) if contract.baked.get(key) == "array" else np.array(contract.baked.get(key, 0.0))
    if value is None:
        raise UsageError(f"the baseline of {name!r} is baked in: give its array to write test data")
    return _wide(value).to(x).expand_as(x)


def _targets(contract: Contract, feeds: Mapping[str, Array], output: Tensor) -> list[Array | None]:
    """Each target as int64 [N, rank]; None where the output is one number per example."""
    given, rows, several = contract.named("target"), len(output), contract.targets
    if given:
        fed = feeds[given[0]].reshape(rows, several, -1)
        return [fed[:, k] for k in range(several)]
    baked = contract.baked.get("target")
    if baked is None:
        return [None]
    if isinstance(baked, str):
        ranked = output.argsort(dim=1, descending=True, stable=True).numpy()
        return [ranked[:, k : k + 1] for k in range(several)]
    return [np.tile(np.array(one, np.int64), (rows, 1)) for one in (baked if several > 1 else [baked])]


def _listed(target: Array | None) -> list[tuple[int, ...]] | None:
    return None if target is None else [tuple(int(k) for k in row) for row in target]


def _selected(output: Tensor, target: Array | None) -> Array:
    rows: Array = output.numpy()
    if target is None:
        return rows.reshape(len(rows), -1)[:, 0]
    return rows[(np.arange(len(rows)), *target.T)]


def _wide(value: Array) -> Tensor:
    tensor = torch.from_numpy(np.array(value))
    return tensor.double() if tensor.is_floating_point() else tensor
