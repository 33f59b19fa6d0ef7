"""An engine for a model and the data of a call: ranks that stand in its way are those of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnx_ig.errors import InputError, NotDifferentiableError
from onnx_ig.model import Model, with_observed_ranks
from onnx_ig.runtime.engine import Engine


def open_engine(model: Model, feeds: Mapping[str, np.ndarray], **options: Any) -> Engine:
    """``Engine(model, **options)``; where that is refused and ranks are unknown, of the model held to those of
    ``feeds`` (values for every input): see :func:`onnx_ig.model.with_observed_ranks`.

    Raises:
        As :class:`Engine`.
    """
    try:
        return Engine(model, **options)
    except (NotDifferentiableError, InputError):
        held = with_observed_ranks(model, feeds)
        if held is model:
            raise
        return Engine(held, **options)
