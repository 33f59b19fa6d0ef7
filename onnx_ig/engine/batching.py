"""Free the batch of models exported for a fixed number of examples, where running them shows that nothing else changes.

The one idea: the freed model is run on several examples at once and the model itself on the same examples apart. Both
are compositions of operators that are analytic but at kinks, so agreement on arbitrary data is no accident; operators
for which it could be are excluded (attribution/free_batch.py). Where the two disagree, or the freed model does not run,
the model is evaluated as it is: one path point at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from onnx_ig.attribution.free_batch import with_free_batch
from onnx_ig.attribution.layout import ONE_EXAMPLE
from onnx_ig.attribution.plan import Plan
from onnx_ig.common.types import Array
from onnx_ig.engine.drawn_data import drawn, positive
from onnx_ig.engine.forward import ForwardModel
from onnx_ig.engine.independence import agree, varied
from onnx_ig.errors import InputError, ModelError, OutOfMemoryError
from onnx_ig.graph.declared import spec_of
from onnx_ig.loading.model import Model
from onnx_ig.runtime.session import ProviderSpec

_PIECES = 3  # groups of examples, each as many as the model takes


def free_batch(model: Model, plan: Plan, provider: ProviderSpec, feeds: Mapping[str, Array] | None = None) -> Model:
    """The model with a dynamic batch if ``plan`` has a fixed one and the two are the same; else ``model`` itself.

    Args:
        plan: made for ``model``.
        feeds: values for every input, the data to compare on; default: random values of the declared shapes.

    Raises:
        InputError: the model takes several examples and mixes them.
    """
    rows = plan.layout.n
    if plan.layout.kind != "fixed" or rows is None or plan.layout.batched:
        return model
    pieces = _pieces(model, rows, feeds)
    if pieces is None:
        return model
    apart = ForwardModel(model, plan.output, False, provider)
    try:
        expected = [apart(piece) for piece in pieces]
    except (ModelError, OutOfMemoryError):
        return model  # said again, and better, when it is run on the user's data
    if rows > 1:
        _require_apart(apart, pieces, expected, rows)
    freed = with_free_batch(model, rows)
    if freed is None:
        return model
    together = {
        name: np.concatenate([piece[name] for piece in pieces]) if _per_example(value, rows) else value
        for name, value in pieces[0].items()
    }
    try:
        outputs = ForwardModel(freed, plan.output, False, provider)
        found = outputs(together)
        same = found.shape == np.concatenate(expected).shape and agree(found, np.concatenate(expected))
        alone = outputs(pieces[0])
    except (ModelError, OutOfMemoryError):
        return model
    differ = not any(agree(a, b) for a, b in pairwise(expected))
    return freed if same and differ and agree(alone, expected[0]) else model


def _require_apart(outputs: ForwardModel, pieces: list[dict[str, Array]], expected: list[Array], rows: int) -> None:
    """Neither the first nor the last example's output depends on the others in its group."""
    for own in (0, rows - 1):
        beside_others = {}
        for name, value in pieces[1].items():
            beside_others[name] = value.copy()
            if _per_example(value, rows):
                beside_others[name][own] = pieces[0][name][own]
        if not agree(outputs(beside_others)[own], expected[0][own]):
            raise InputError(
                f"the output mixes examples: the model takes {rows} rows, and one's output changes with the others, "
                f"so axis 0 is no batch of independent examples (a time axis?). {ONE_EXAMPLE}"
            )


def _per_example(value: Array, rows: int) -> bool:
    return value.ndim > 0 and value.shape[0] == rows


def _pieces(model: Model, rows: int, feeds: Mapping[str, Array] | None) -> list[dict[str, Array]] | None:
    """Different values for every input, thrice; None if the shapes are not declared and no values are given."""
    rng, known = np.random.default_rng(0), model.defaults if feeds is None else feeds
    pieces: list[dict[str, Array]] = [{} for _ in range(_PIECES)]
    try:
        specs = [spec_of(x) for x in model.inputs]
        rest = drawn([spec for spec in specs if spec.name not in known], rng, rows=rows, floats=positive)
    except InputError:
        return None
    for spec in specs:
        name = spec.name
        value = known.get(name, rest.get(name))
        assert value is not None
        if name in known and spec.shape and spec.shape[0] == rows:
            value = np.resize(value, (rows, *value.shape[1:]))
        for i, piece in enumerate(pieces):
            piece[name] = varied(value, i, rng) if _per_example(value, rows) else value
    return pieces
