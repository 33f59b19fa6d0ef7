"""The classes that a report shows beside the first examples, from the model's output for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from onnx_ig.attribution.class_evidence import NAMED, told_of
from onnx_ig.common.types import Array
from onnx_ig.engine.engine import Engine
from onnx_ig.engine.request import Request
from onnx_ig.loading.model import Model
from onnx_ig.report.classes import ClassShares, class_shares
from onnx_ig.report.page import SECTIONS


def strongest_classes(
    model: Model,
    output: str,
    outputs: Array | None,
    targets: Sequence[Array | None],
    names: Sequence[str] | None,
    *,
    added: Collection[str] = (),
) -> tuple[ClassShares, ...]:
    """Those of the examples whose ``outputs`` are known, where F is a class: the output has the shape [N, C], C > 1.

    Args:
        output: its name in the ``model``; ``added``: results of that which only its attribution has.
        targets: for each the indices of all examples or more, [N] or [N, axes].
        names: what the classes are called, if anything.
    """
    chosen = [target.reshape(len(target), -1) for target in targets if target is not None]
    if outputs is None or outputs.ndim != 2 or outputs.shape[1] < 2 or len(chosen) < len(targets) or not chosen:
        return ()
    if any(target.shape[1] != 1 for target in chosen):
        return ()
    told = told_of(model, output, named=names is not None and len(names) == outputs.shape[1], added=added)
    return class_shares(outputs, np.concatenate(chosen, axis=1)[: len(outputs)], told.kind, told.why)


def shares_of_named(outputs: Array | None, target: Array | None, names: Sequence[str]) -> tuple[ClassShares, ...]:
    """The same of numbers of which nothing told that they are of classes, before these had ``names``."""
    if outputs is None or target is None or outputs.shape[1] != len(names):
        return ()
    shown = outputs[:SECTIONS]
    return class_shares(shown, target.reshape(len(target), 1)[: len(shown)], *NAMED)


def of_sections(outputs: Array | None) -> Array | None:
    """Those of as many examples as a page has sections."""
    return None if outputs is None else outputs[:SECTIONS]


def outputs_of_first(engine: Engine, request: Request, known: Array | None, count: int) -> Array | None:
    """The model's output for the first ``count`` examples: what is ``known`` of all, else from a Run of its own.

    None where it is no output that tells classes.
    """
    if count < 1 or request.target is None or request.target.ndim > 1:
        return None
    return (engine.outputs(_first(request, engine, count)) if known is None else known)[:count]


def _first(request: Request, engine: Engine, count: int) -> Request:
    """The request for the model's output of the first examples, or of all where they stay together."""
    if not engine.batched or engine.plan.layout.whole:
        return replace(request, baselines={}, target=None)
    return replace(
        request,
        inputs={name: value[:count] for name, value in request.inputs.items()},
        per_example={name: value[:count] for name, value in request.per_example.items()},
        baselines={},
        target=None,
        examples=count,
    )
