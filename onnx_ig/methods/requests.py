"""One call's arguments, as the user gives them and as the engine takes them; F at other inputs than the call's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnx_ig.common import arrays
from onnx_ig.common.types import Array, Progress
from onnx_ig.engine.engine import Engine
from onnx_ig.engine.request import Request
from onnx_ig.errors import UsageError
from onnx_ig.methods import arguments
from onnx_ig.methods.bound import Bound


@dataclass(frozen=True)
class Arguments:
    """What a user gives to one call, in the forms that :meth:`onnx_ig.IntegratedGradients.attribute` describes.

    Raises:
        UsageError: an ``internal_batch_size`` below one.
    """

    inputs: Any
    baselines: Any = None
    target: Any = None
    additional_forward_args: Any = None
    per_example: Sequence[str] = ()
    allow_nonfinite: bool = False
    internal_batch_size: int | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.internal_batch_size is not None and self.internal_batch_size < 1:
            raise UsageError(f"internal_batch_size must be at least 1, not {self.internal_batch_size}")


def request_of(engine: Engine, bound: Bound, baselines: dict[str, Array], target: Any) -> Request:
    """The request for the arrays in ``bound`` and their ``baselines``, the target in any of Captum's forms.

    Raises:
        InputError: a target that selects no element of each example's output, or additional inputs without a row for
            each example, or one for all.
    """
    layout, declared = engine.plan.layout, engine.plan.per_example
    examples = 1 if layout.kind == "none" else len(next(iter(bound.inputs.values())))
    per_example = {n: v for n, v in bound.extra.items() if n in declared}
    arguments.check_rows({n: v for n, v in per_example.items() if v.shape[:1] != (1,)}, examples)
    dims = engine.output_dims(bound.inputs, bound.extra)
    target = arguments.chosen_target(target, dims, lambda: engine.predicted(bound.inputs, bound.extra))
    return Request(
        inputs=bound.inputs,
        target=arguments.broadcast_target(target, examples, dims),
        examples=examples,
        baselines=baselines,
        per_example=per_example,
        shared={n: v for n, v in bound.extra.items() if n not in declared},
    )


def path_point(inputs: Mapping[str, Array], baselines: Mapping[str, Array], a: float) -> dict[str, Array]:
    """x' + a (x − x') by input name."""
    if a == 1:
        return dict(inputs)
    point = {}
    for name, x in inputs.items():
        start = np.broadcast_to(baselines[name], x.shape)
        wide, wide_start = x.astype(np.float64), start.astype(np.float64)
        point[name] = start if a == 0 else (wide_start + a * (wide - wide_start)).astype(x.dtype)
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
