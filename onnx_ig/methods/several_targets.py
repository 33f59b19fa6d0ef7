"""Several targets of each example, asked for together: what ``targets`` means, and each target's part of the answer.

The one idea: a request repeats each example for each of its targets, so that everything after it sees examples with one
target each; only the engine, which is given those of an example together, runs the model forwards once for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from onnx_ig.attribution.chosen_targets import targets_said
from onnx_ig.common.types import Array
from onnx_ig.engine.request import Attribution, Request
from onnx_ig.errors import InputError, UsageError
from onnx_ig.methods.arguments import broadcast_target
from onnx_ig.methods.requests import Answering


def count_of(targets: Any) -> int:
    """How many targets there are.

    Raises:
        UsageError: ``targets`` is neither ``"top-<number>"`` nor a sequence of targets.
    """
    word, count = (targets_said(targets) if isinstance(targets, str) else None) or ("", 0)
    if word == "top":
        return count
    if isinstance(targets, str) or not isinstance(targets, Sequence) or not len(targets):
        raise UsageError(f"targets is {targets!r}: give 'top-3', or a list of targets such as [3, 5, 9]")
    return len(targets)


def targets_of(targets: Any, request: Request, model: Answering) -> list[Array]:
    """For each target the indices for each example, int64 [N, rank]; ``top-3``: the classes of the largest outputs.

    Raises:
        InputError: the output is one number per example, has no classes, or too few.
    """
    dims = model.output_dims(request)
    if all(d == 1 for d in dims):
        raise InputError("the output is one number per example: there are no several targets to choose")
    if not isinstance(targets, str):
        rows = [broadcast_target(t, request.examples, dims, batched=model.batched) for t in targets]
        return [row.reshape(len(row), -1) for row in rows if row is not None]
    count = count_of(targets)
    if len(dims) != 1 or count > dims[0]:
        raise InputError(f"targets {targets!r}: the output has shape {[*dims]} per example, not that many classes")
    outputs = model.outputs(request).reshape(request.examples, -1)
    best = np.argsort(-outputs, axis=1, kind="stable")[:, :count]
    return [column[:, None] for column in best.T]


def as_targets(rows: Sequence[Array]) -> Array:
    """[N, K] or [N, K, rank] of K times [N, rank], as a request has them."""
    stacked = np.stack(rows, axis=1)
    return stacked[..., 0] if stacked.shape[-1] == 1 else stacked


def of_target(found: Attribution, k: int, of: int) -> Attribution:
    """The part of the ``k``-th target in the answer to a request that repeats each example ``of`` times."""
    parts = {field.name: getattr(found, field.name) for field in fields(Attribution) if field.name != "outputs"}
    attributions = {name: value[k::of] for name, value in parts.pop("attributions").items()}
    return Attribution(attributions, **{name: None if v is None else v[k::of] for name, v in parts.items()})
