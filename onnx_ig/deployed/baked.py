"""What an attribution model has baked in, held against what is asked for: a difference is a usage error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import numpy as np

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.chosen_targets import whole_numbers
from onnx_ig.attribution.contract import Contract
from onnx_ig.common.types import Array
from onnx_ig.errors import UsageError

_OPTIONS = {
    "target": "--target",
    "targets": "--targets",
    "baselines": "--baseline",
    "method": "--method",
    "n_steps": "--n-steps",
    "tolerance": "--tolerance",
    "max_steps": "--max-steps",
}


@dataclass(frozen=True)
class PathChoice:
    """What a call asks of the path; None asks for nothing, and takes the usual where the path is an input."""

    method: str | None = None
    n_steps: int | None = None
    tolerance: float | None = None
    max_steps: int | None = None


def require_as_baked(
    contract: Contract,
    target: Any,
    baselines: Mapping[str, Any],
    path: PathChoice,
    internal_batch_size: int | None,
) -> None:
    """Compare what a call asks for with the file; None asks for nothing.

    Raises:
        UsageError: something that is baked is asked for differently, or cannot be chosen in this form.
    """
    asked_of_path = {name: asked for name, asked in asdict(path).items() if asked is not None}
    if contract.algorithm == "integrated-gradients":
        _check_path(contract.baked.get("path"), asked_of_path)
    else:
        for argument, given in {**asked_of_path, "baselines": baselines or None}.items():
            if given is not None:
                raise UsageError(
                    f"{argument}= ({_OPTIONS[argument]}) goes with integrated-gradients: {contract.algorithm} has no "
                    "path and no baseline"
                )
    _check_target(contract, target)
    _check_baselines(contract, baselines)
    if contract.form == "complete" and contract.algorithm == "integrated-gradients" and internal_batch_size:
        raise UsageError(
            "internal_batch_size= (--internal-batch-size): the complete form of an attribution model has the size of "
            "its chunks baked in (steps_per_run= of export); export it with form='step' to choose it here"
        )


def _check_path(baked: Mapping[str, Any] | None, asked: Mapping[str, Any]) -> None:
    for argument, value in asked.items():
        if argument in ("tolerance", "max_steps") and argument not in (baked or {}):
            raise UsageError(
                f"{argument}= ({_OPTIONS[argument]}): this attribution model takes a number of steps that does not "
                "follow the error. Export it with a tolerance, attribute the model that it was made from, or leave the "
                "option out"
            )
        if baked and value != baked.get(argument):
            known = baked.get(argument, f"a tolerance of {baked.get('tolerance')}")
            _refuse(argument, value, known)


def _check_target(contract: Contract, asked: Any) -> None:
    if asked is None or contract.named("target"):
        return
    baked = contract.baked.get("target")
    if contract.targets > 1:
        each = (
            [*map(_indices, asked)] if isinstance(asked, (list, tuple)) else asked if isinstance(asked, str) else None
        )
        if each != baked:
            _refuse("targets", asked, baked)
        return
    if baked is None:  # one number per example
        if asked not in (0, (0,)) if isinstance(asked, (int, tuple, str)) else True:
            _refuse("target", asked, "none (the output is one number per example)")
        return
    wanted = asked if isinstance(asked, str) else _indices(asked)
    if wanted != baked:
        _refuse("target", "one per example" if wanted is None else asked, baked)


def _indices(target: Any) -> list[int] | None:
    """An index, or one per axis, as they are baked in; None: one per example."""
    found = None if isinstance(target, list) else whole_numbers(target)
    return None if found is None else list(found)


def _check_baselines(contract: Contract, asked: Mapping[str, Any]) -> None:
    for name, value in asked.items():
        key = names.BASELINE + name
        if contract.prefix + key in contract.named("baseline"):
            continue
        one = isinstance(value, (str, int, float, np.generic)) or (isinstance(value, np.ndarray) and value.ndim == 0)
        if not one or value != contract.baked.get(key):
            _refuse("baselines", value if one else "an array", f"{contract.baked.get(key)} for {name!r}")


def baked_target(contract: Contract, examples: int, k: int = 0) -> Array | None:
    """The indices baked in, for each example: [N] or [N, axes]; None where none are. ``k``: of several targets."""
    indices = contract.baked.get("target")
    if not isinstance(indices, list):
        return None
    indices = indices if contract.targets == 1 else indices[k]
    return np.tile(np.array(indices, np.int64), (examples, 1)) if len(indices) > 1 else np.full(examples, indices[0])


def _refuse(argument: str, asked: Any, baked: Any) -> NoReturn:
    raise UsageError(
        f"{argument}= ({_OPTIONS[argument]}) {_text(asked)}: this attribution model has {_text(baked)} baked in; leave "
        "it out, or export again"
    )


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
