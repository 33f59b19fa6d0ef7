"""The classes that a report shows beside the first examples, from the model's output for these alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnx_ig.data import Window
from onnx_ig.engine.engine import Engine
from onnx_ig.engine.request import Request
from onnx_ig.methods.explanation import Answer
from onnx_ig.report.classes import ClassShares, class_shares


def strongest_classes(answers: Sequence[Answer], window: Window | None, shown: int) -> tuple[ClassShares, ...]:
    """Those of the examples among the first ``shown``, where F is a class: the output has the shape [N, C], C > 1.

    Args:
        answers: one for each target; ``window``: the examples that were explained.
    """
    engine, request = answers[0].engine, answers[0].request
    wanted = min(shown - (0 if window is None else window.rows.start), request.examples)
    chosen = [answer.request.target for answer in answers]
    targets = [target.reshape(len(target), -1) for target in chosen if target is not None]
    if wanted < 1 or len(targets) < len(chosen) or any(target.shape[1] != 1 for target in targets):
        return ()
    outputs = engine.outputs(_first(request, engine, wanted))[:wanted]
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        return ()
    known = engine.probability is not None
    return class_shares(outputs, np.concatenate(targets, axis=1)[:wanted], are_probabilities=known)


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
