"""The attribution models that are counted over the pretended device: 13 architectures, in every form."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import torch

import onnx_ig
from onnx_ig.attribution import build, make_plan
from onnx_ig.common.types import Array
from onnx_ig.loading.model import Model
from onnx_ig.quadrature import path_nodes_and_weights
from tools.full_size import MODELS, FullSize

POINTS, STEPS = 16, 48  # path points in a Run of the step, and of the whole path
_PATH = path_nodes_and_weights("gausslegendre", STEPS)
FORMS: dict[str, dict[str, Any]] = {
    "step": {"form": "step"},
    "complete": {"path": _PATH},
    "flat": {"path": _PATH, "steps_per_run": 0},
    "input-x-gradient": {"algorithm": "input-x-gradient"},
}
# VGG-16 and DistilBERT have the operators of others, and heavier weights.
DRY = tuple(name for name in MODELS if name not in ("VGG-16", "DistilBERT"))


def loaded(subject: FullSize) -> Model:
    """The exported model, its batch free."""
    x, *more = subject.inputs(2)
    torch.manual_seed(0)
    return onnx_ig.load(subject.build().eval(), example_inputs=x, additional_forward_args=tuple(more) or None)


def attribution_model(model: Model, form: str) -> ir.Model:
    """The attribution model of ``form``, as it is exported."""
    return build(model, make_plan(model, **FORMS[form]))


def feeds(built: ir.Model, examples: int = 1, points: int = POINTS) -> dict[str, Array]:
    """Values for every input; what they are does not matter, only how many."""
    found: dict[str, Array] = {}
    for x in built.graph.inputs:
        assert x.shape is not None and x.dtype is not None
        free = {"batch": examples, "path_points": points}
        dims = [d if isinstance(d, int) else free.get(str(d.value), 1) for d in x.shape]
        found[str(x.name)] = np.ones(dims, x.dtype.numpy()) * (x.name != "target")
    return {name: np.asarray(value, _dtype(built, name)) for name, value in found.items()}


def _dtype(built: ir.Model, name: str) -> np.dtype[Any]:
    return next(np.dtype(x.dtype.numpy()) for x in built.graph.inputs if x.name == name and x.dtype is not None)
