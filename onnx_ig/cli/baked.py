"""What an attribution model has baked in, held against what is asked for: a difference is a usage error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import Contract
from onnx_ig.cli.plain import refuse_path_options
from onnx_ig.cli.request import AttributeOptions
from onnx_ig.common.types import Array
from onnx_ig.data import parse_baseline
from onnx_ig.errors import UsageError


def refuse_contradictions(contract: Contract, options: AttributeOptions) -> None:
    """Compare ``options`` with the file.

    Raises:
        UsageError: something that is baked is asked for differently, or cannot be chosen in this form.
    """
    for option, asked, baked in _pairs(contract, options):
        if asked is not None and asked != baked:
            _refuse(option, asked, baked)
    if contract.algorithm == "input-x-gradient":
        refuse_path_options(options)
    unknown = set(options.per_example) - set(contract.named("per_example"))
    if unknown:
        _refuse("--per-example", ", ".join(sorted(unknown)), ", ".join(contract.named("per_example")) or "none")
    if options.batch_axis or (options.batch_axis is None and contract.layout != "none"):
        _refuse("--batch-axis", options.batch_axis or "none", f"0 ({contract.layout})")
    _check_target(contract, options.target)
    _check_baselines(contract, options.baselines)
    if contract.form == "complete" and contract.algorithm == "integrated-gradients" and options.internal_batch_size:
        raise UsageError(
            "--internal-batch-size: the complete form of an attribution model has the size of its chunks baked in "
            "(--steps-per-run of export); export it with --form step to choose it here"
        )


def _pairs(contract: Contract, options: AttributeOptions) -> Iterator[tuple[str, Any, Any]]:
    yield "--algorithm", options.algorithm, contract.algorithm
    yield "--output", options.output, contract.output
    yield "--at", list(options.at) or None, contract.at
    yield "--multiply-by-inputs", options.multiply_by_inputs, contract.multiply_by_inputs
    path = contract.baked.get("path")
    if path:
        yield "--method", options.method, path["method"]
        yield "--n-steps", options.n_steps, path["n_steps"]


def _check_target(contract: Contract, asked: Any) -> None:
    if asked is None or contract.named("target"):
        return
    baked = contract.baked.get("target")
    if baked is None:  # one number per example
        if asked not in (0, (0,)) if isinstance(asked, (int, tuple, str)) else True:
            _refuse("--target", asked, "none (the output is one number per example)")
        return
    wanted = (
        asked
        if isinstance(asked, str)
        else list(asked)
        if isinstance(asked, tuple)
        else [asked]
        if isinstance(asked, int)
        else None
    )
    if wanted != baked:
        _refuse("--target", "a file's" if wanted is None else asked, baked)


def _check_baselines(contract: Contract, texts: Any) -> None:
    attributed = contract.named("attributed")
    of_text = [entry.name for entry in contract.inputs if entry.role == "attributed" and entry.dtype == "string"]
    for text in texts:
        parsed = parse_baseline(text, attributed, of_text)
        for name in attributed if parsed.name is None else [parsed.name]:
            key = names.BASELINE + name
            if contract.prefix + key not in contract.named("baseline") and parsed.value != contract.baked.get(key):
                _refuse("--baseline", text, f"{contract.baked.get(key)} for {name!r}")


def baked_target(contract: Contract, examples: int) -> Array | None:
    """The indices baked in, for each example: [N] or [N, axes]; None where none are."""
    indices = contract.baked.get("target")
    if not isinstance(indices, list):
        return None
    return np.tile(np.array(indices, np.int64), (examples, 1)) if len(indices) > 1 else np.full(examples, indices[0])


def _refuse(option: str, asked: Any, baked: Any) -> NoReturn:
    raise UsageError(
        f"{option} {_text(asked)}: this attribution model has {_text(baked)} baked in; leave the "
        "option out, or export again"
    )


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
