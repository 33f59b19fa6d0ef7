"""One call's arguments, as the user gives them and as the engine takes them; F at other inputs than the call's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from onnx_ig.attribution.layout import Layout
from onnx_ig.common import arrays
from onnx_ig.common.types import Array, Progress
from onnx_ig.data import Data
from onnx_ig.engine.engine import Engine
from onnx_ig.engine.request import Request
from onnx_ig.errors import InputError, UsageError
from onnx_ig.methods import arguments


@dataclass(frozen=True)
class Arguments:
    """What a user gives to one call, in the forms that :meth:`onnx_ig.IntegratedGradients.attribute` describes.

    Raises:
        UsageError: an ``internal_batch_size`` below one; baselines to be averaged over, and none given.
    """

    inputs: Any
    baselines: Any = None
    target: Any = None
    additional_forward_args: Any = None
    per_example: Sequence[str] = ()
    allow_nonfinite: bool = False
    internal_batch_size: int | None = None
    progress: Progress | bool | None = None
    data: Data | None = None
    average_baselines: bool = False

    def __post_init__(self) -> None:
        if self.internal_batch_size is not None and self.internal_batch_size < 1:
            raise UsageError(f"internal_batch_size must be at least 1, not {self.internal_batch_size}")
        if self.average_baselines and self.baselines is None:
            raise UsageError(
                "average_baselines averages over the rows of baselines, and none are given: give an array [K, ...], "
                "such as a sample of the training data, or leave average_baselines out"
            )

    def unpacked(self, *, padding: bool = True) -> Arguments:
        """The same with what was read from files in its places; what else was given stays.

        ``padding``: it is the baseline of sentences.
        """
        data = self.inputs
        if not isinstance(data, Data):
            return self
        given = self.additional_forward_args
        return replace(
            self,
            data=data,
            inputs=data.inputs,
            target=data.target if self.target is None else self.target,
            baselines=data.baselines if padding and data.baselines and self.baselines is None else self.baselines,
            additional_forward_args={**data.additional_forward_args, **given}
            if isinstance(given, Mapping)
            else data.additional_forward_args or None
            if given is None
            else given,
        )

    def averaged_over(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The baselines of which each is one of every example, [K, ...] by input name; none unless asked for.

        Raises:
            InputError: see :func:`onnx_ig.methods.arguments.baseline_rows`.
        """
        if not self.average_baselines:
            return {}
        return arguments.baseline_rows(inputs, self.baselines, self.allow_nonfinite)


class Answering(Protocol):
    """What tells of an output, by running the model if need be: an engine, or a file."""

    @property
    def batched(self) -> bool:
        """Whether the output has an axis of examples before the dimensions of one."""

    def output_dims(self, request: Request) -> Sequence[int]:
        """The output's dimensions for one example."""

    def predicted(self, request: Request) -> Array:
        """The class of each example, int64 [N]."""

    def outputs(self, request: Request) -> Array:
        """The output for each example, [N, ...]."""


@dataclass(frozen=True)
class GivenOutput:
    """What is told of an output by the output itself, [N, ...], of the one request that is asked for."""

    output: Array
    batched: bool

    def output_dims(self, request: Request) -> Sequence[int]:
        """See :class:`Answering`, as for the others."""
        return self.output.shape[1:]

    def predicted(self, request: Request) -> Array:
        """The arg-max."""
        return np.argmax(self.output, axis=-1)

    def outputs(self, request: Request) -> Array:
        """All of it."""
        return self.output


class Remembered:
    """``model``, whose outputs for one request are computed once."""

    def __init__(self, model: Answering) -> None:
        self._model = model
        self.found: Array | None = None

    @property
    def batched(self) -> bool:
        """See :class:`Answering`, as for the others."""
        return self._model.batched

    def output_dims(self, request: Request) -> Sequence[int]:
        """As the model tells them."""
        return self._model.output_dims(request)

    def predicted(self, request: Request) -> Array:
        """The arg-max."""
        return np.argmax(self.outputs(request), axis=-1)

    def outputs(self, request: Request) -> Array:
        """Of the first call."""
        if self.found is None:
            self.found = self._model.outputs(request)
        return self.found


def request_of(
    layout: Layout,
    per_example: Collection[str],
    inputs: dict[str, Array],
    extra: Mapping[str, Array],
    baselines: dict[str, Array],
) -> Request:
    """The request for the attributed ``inputs`` and the ``extra`` ones, which asks for outputs alone: without a target.

    ``per_example``: the additional inputs that have one row per example.

    Raises:
        InputError: they have not, and not one for all either.
    """
    examples = 1 if layout.kind == "none" else len(next(iter(inputs.values())))
    by_row = {name: value for name, value in extra.items() if name in per_example}
    for name, value in by_row.items():
        if layout.kind != "none" and value.shape[:1] not in ((1,), (examples,)):
            raise InputError(
                f"input {name!r} has shape {list(value.shape)}: one row for each of the {examples} example(s), or one "
                "for all of them, is needed"
            )
    return Request(inputs, None, examples, baselines, by_row, {n: v for n, v in extra.items() if n not in by_row})


def with_target(request: Request, target: Any, model: Answering) -> Request:
    """The request for the ``target``, in any of Captum's forms, of each example.

    Raises:
        InputError: a target that selects no element of each example's output.
    """
    dims = model.output_dims(request)
    target = arguments.chosen_target(target, dims, lambda: model.predicted(request), batched=model.batched)
    rows = arguments.broadcast_target(target, request.examples, dims, batched=model.batched)
    return replace(request, target=rows)


def path_point(inputs: Mapping[str, Array], baselines: Mapping[str, Array], a: float) -> dict[str, Array]:
    """x' + a (x − x') by input name."""
    if a == 1:
        return dict(inputs)
    point = {}
    for name, x in inputs.items():
        start = baselines[name]
        if a == 0:
            point[name] = np.broadcast_to(start, x.shape)
            continue
        wide, wide_start = x.astype(np.float64), start.astype(np.float64)
        point[name] = (wide_start + a * (wide - wide_start)).astype(x.dtype)
    return point


@dataclass(frozen=True, repr=False)
class Scorer:
    """F(·; target) for the examples of one call: arrays by input name in, [N] out."""

    engine: Engine
    request: Request
    target: Any
    names: list[str]

    def __repr__(self) -> str:
        return f"Scorer(F of {self.examples} example{'s' * (self.examples != 1)} of {', '.join(self.names)})"

    @property
    def examples(self) -> int:
        """N."""
        return self.request.examples

    def named(self, values: Any) -> dict[str, Any]:
        """``values`` in the form of the inputs (one, tuple, dict) by input name."""
        return (
            dict(values)
            if isinstance(values, dict)
            else dict(zip(self.names, arrays.inputs_as_tuple(values), strict=True))
        )

    def __call__(self, inputs: dict[str, Array]) -> Array:
        return self.engine.scores(replace(self.request, inputs=inputs, baselines={}))
