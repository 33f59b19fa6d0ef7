"""Run a model on drawn data before its attribution model is written: does it treat examples apart?

The one idea: what nobody declared is guessed, a few sizes one after the other, until the model runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from onnx_ig.attribution.layout import dims_of, example_axes
from onnx_ig.attribution.plan import Plan
from onnx_ig.common.types import Array
from onnx_ig.engine.drawn_data import drawn, known_words, perhaps_rows, positive
from onnx_ig.engine.forward import ForwardModel
from onnx_ig.engine.independence import require_independent_rows, require_rows_run_alone, require_rows_undisturbed
from onnx_ig.errors import InputError, ModelError, OutOfMemoryError, warn
from onnx_ig.graph.declared import spec_of
from onnx_ig.loading.model import Model

_ROWS = 12  # so that models that take two, three, four or six rows for one example run
_SIZES = (8, 32, 64, 128, 224)  # of axes that nobody declared


def require_examples_apart(model: Model, plan: Plan, given: Mapping[str, Array]) -> None:
    """Refuse a model that mixes the rows of a dynamic batch; warn (OnnxIgWarning) where it cannot be run.

    Args:
        given: values for every input; for any other mapping data are drawn, and where all examples stay together and
            these are one.

    Raises:
        InputError: it mixes them. MissingDependencyError: ONNX Runtime is not installed.
    """
    together = plan.layout.whole
    if not (plan.layout.batched or together) or plan.layout.n is not None:
        return
    output = ForwardModel(model, plan.output, False, "cpu")
    rows = {*plan.attributed, *plan.per_example}
    quantised = any(node.op_type == "DynamicQuantizeLinear" for node in model.ir_model.graph)
    why: Exception | str = "no data can be drawn for its inputs"
    refusal: InputError | None = None
    axes = example_axes({str(x.name): dims_of(x) for x in model.inputs}, rows, plan.layout.symbol)
    usable = {str(x.name) for x in model.inputs} <= given.keys()
    usable = usable and not (together and len(given[plan.attributed[0]]) == 1)

    def require_apart(feeds: Mapping[str, Array]) -> None:
        if together:
            require_rows_undisturbed(lambda fed: [output(fed)], feeds, axes, quantised=quantised)
            return
        try:
            require_independent_rows(lambda fed: [output(fed)], feeds, rows, rows, quantised=quantised, between=True)
        except ModelError as error:
            require_rows_run_alone(error, lambda: output(feeds))
            raise

    for alternatives in [[given]] if usable else _drawn_for(model, rows, together):
        refusals = []
        for feeds in alternatives:
            try:
                require_apart(feeds)
                return
            except InputError as error:
                refusals.append(error)
            except (ModelError, OutOfMemoryError) as error:
                why = error
        if len(refusals) == len(alternatives):
            refusal = refusals[0]
    if refusal is not None:
        raise refusal
    warn(
        f"it was not checked that the model treats its examples apart: it did not run ({str(why)[:200]}). Give values "
        "for all its inputs: example_inputs, --example-input"
    )


def _drawn_for(model: Model, rows: set[str], together: bool) -> Iterator[list[dict[str, Array]]]:
    """Values for every input, of one size after another where it is not declared; none where they cannot be drawn.

    Whole numbers that all rows share may decide what is run, or how wide a border is: they are 1 in one alternative and
    0 in another, and a model that treats rows apart for one of them is right for some caller. Those of the rows are 0
    and 1 at random, and then all 0: a table may have no other row. ``together``: further inputs may have a row per
    example on an axis of their own.
    """
    is_open = any(isinstance(d, ir.SymbolicDim) for x in model.inputs for d in (x.shape or ())[1:])
    specs = [spec_of(x) for x in model.inputs if x.name not in model.defaults]
    words = {str(x.name): known_words(x) for x in model.inputs}
    shared = [perhaps_rows(specs, rows, _ROWS), {}] if together else [{}]
    for whole, size, sizes in itertools.product((None, 0), _SIZES if is_open else _SIZES[:1], shared):
        rng = np.random.default_rng(0)
        try:
            feeds = drawn(specs, rng, rows=_ROWS, size=size, sizes=sizes, floats=positive, words=words, whole=whole)
        except InputError:
            return
        decisive = [n for n, value in feeds.items() if n not in rows and value.dtype.kind in "iub"]
        yield [
            {**model.defaults, **feeds, **{name: np.full_like(feeds[name], value) for name in decisive}}
            for value in ((1, 0) if decisive else (1,))
        ]
