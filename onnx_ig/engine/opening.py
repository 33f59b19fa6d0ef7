"""An engine for a model and the data of a call: a fixed batch is freed, ranks that stand in its way are the data's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx_ig.attribution import make_plan
from onnx_ig.common.garbage import without_searches
from onnx_ig.common.types import Array
from onnx_ig.engine.batching import free_batch
from onnx_ig.engine.engine import Engine
from onnx_ig.errors import InputError, NotDifferentiableError
from onnx_ig.loading.model import Model, with_observed_ranks

_DECIDE_THE_LAYOUT = ("inputs", "output", "at", "batch_axis")


@without_searches()
def open_engine(model: Model, feeds: Mapping[str, Array], **options: Any) -> Engine:
    """``Engine(model, **options)``, of the model as the data ``feeds`` (values for every input) let it be.

    A fixed batch is freed where that is the same: see :func:`onnx_ig.engine.batching.free_batch`. Where the model is
    refused and ranks are unknown, they are held to those of the data: see
    :func:`onnx_ig.loading.model.with_observed_ranks`.

    Raises:
        As :class:`Engine`.
    """
    try:
        return _batched(model, feeds, options)
    except (NotDifferentiableError, InputError):
        held = with_observed_ranks(model, feeds)
        if held is model:
            raise
        return _batched(held, feeds, options)


def _batched(model: Model, feeds: Mapping[str, Array], options: Mapping[str, Any]) -> Engine:
    plan = make_plan(model, **{key: options[key] for key in _DECIDE_THE_LAYOUT if key in options})
    return Engine(free_batch(model, plan, options.get("provider", "auto"), feeds), **options)
