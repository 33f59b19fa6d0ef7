"""Give every open axis of a model's inputs one size: the number of examples as asked for, the others as the examples
have them.

The one idea: the model is loaded again with these sizes, so that shapes, plan and contract all follow from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from onnx_ig.attribution.layout import dims_of
from onnx_ig.attribution.plan import Plan
from onnx_ig.common.types import Array
from onnx_ig.errors import InputError, UsageError
from onnx_ig.loading.model import Model, load

_ADVICE = "give it with --example-input (example_inputs=), of the size that the file is to have"


def rows_to_declare(plan: Plan, asked: int | None) -> int | None:
    """How many examples the written file takes: as many as ``asked`` for, else one; None where the model has none.

    Raises:
        UsageError: the model is for another number; InputError: its examples cannot be given an axis of one size.
    """
    layout = plan.layout
    if layout.apart or layout.whole:
        raise InputError(
            "the portable form has the path points as rows of the model, which cannot be here: the data decide what "
            "is run, or an input has its examples on another axis than the first"
        )
    fixed = layout.n
    if asked is not None and fixed is not None and asked != fixed:
        what = "takes one example, without an axis of examples" if layout.kind == "none" else f"takes {fixed} examples"
        raise UsageError(f"batch={asked} (--batch {asked}): the model {what}; leave it out")
    return None if layout.kind == "none" else fixed or asked or 1


def with_sizes_of(model: Model, plan: Plan, given: Mapping[str, Array]) -> Model:
    """``model`` with every axis but that of the examples as long as in the values ``given`` for its inputs by name.

    Raises:
        InputError: an open axis of an input without a value, or of two sizes.
    """
    sizes: dict[str, int] = {}
    shapes: dict[str, list[int | str | None]] = {}
    for x in model.inputs:
        if x.shape is None:
            raise InputError(f"the number of axes of {x.name!r} is unknown; declare its shape in the model")
        for axis, dim in enumerate(dims_of(x)):
            if isinstance(dim, str) and dim != plan.layout.symbol and x.name in given:
                size = int(np.shape(given[str(x.name)])[axis])
                if sizes.setdefault(dim, size) != size:
                    raise InputError(
                        f"axis {axis} of {x.name!r} ({dim}) has {size} in the examples and {sizes[dim]} elsewhere"
                    )
    for x in model.inputs:
        dims = dims_of(x)
        for axis, dim in enumerate(dims):
            if isinstance(dim, str) and dim != plan.layout.symbol and dim not in sizes:
                raise InputError(
                    f"the portable form has every size known, and axis {axis} ({dim}) of input {x.name!r} is open: "
                    f"{_ADVICE}"
                )
        shapes[str(x.name)] = [sizes.get(d, d) if isinstance(d, str) else d for d in dims]
    return replace(model, ir_model=load(model.ir_model, shapes=shapes).ir_model) if sizes else model


def in_rows(plan: Plan, given: Mapping[str, Array]) -> dict[str, Array]:
    """The values ``given`` for the model's inputs, of as many examples as the plan has: cut off, or repeated."""
    rows = plan.layout.n
    if plan.layout.kind != "fixed" or rows is None:
        return dict(given)
    per_row = {*plan.attributed, *plan.per_example}
    return {
        name: np.resize(value, (rows, *np.shape(value)[1:])) if name in per_row else value
        for name, value in given.items()
    }
