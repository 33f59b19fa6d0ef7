"""One example of a report in JSON: its scores, and the features with the largest attributions."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.report.record import AttributionReport
from onnx_ig.report.words import words_of

TOP = 10


@dataclass(frozen=True)
class Feature:
    """One entry of an attributed tensor; ``index`` is without the example axis, ``value`` is the input's."""

    tensor: str
    index: tuple[int, ...]
    name: str | None
    attribution: float
    value: float | None


def top_features(report: AttributionReport, example: int, count: int = TOP) -> list[Feature]:
    """The ``count`` largest attributions of one example by magnitude over all tensors, NaN left out."""
    found = []
    for tensor, array in report.attributions.items():
        row = report.rows(array)[example]
        names, values = report.names_of(tensor, example), report.values_of(tensor)
        for index in _largest(row, count):
            name = names[index[0]] if names is not None and index else None
            value = None if values is None else number(report.rows(values)[example][index])
            found.append(Feature(tensor, index, name, float(row[index]), value))
    return sorted(found, key=lambda feature: -abs(feature.attribution))[:count]


def example_of(report: AttributionReport, index: int, relative: Array | None) -> dict[str, Any]:
    """One entry of ``examples``; ``relative``: the convergence deltas of all."""
    target = None if report.target is None else np.asarray(report.target[index]).tolist()
    if isinstance(target, list) and len(target) == 1:
        (target,) = target
    return {
        "example": report.number(index),
        "name": report.example_name(index),
        "target": target,
        "target_name": report.class_name(target) if isinstance(target, int) else None,
        "score": number(report.score[index]),
        "baseline_score": _at(report.baseline_score, index),
        "convergence_delta": _at(report.convergence_delta, index),
        "relative_convergence_delta": _at(relative, index),
        "error_estimate": _at(report.error_estimate, index),
        "steps_used": None if report.steps_used is None else int(report.steps_used[index]),
        **_words(report, index),
        **_classes(report, index),
        "top_features": [asdict(feature) for feature in top_features(report, index)],
    }


def _words(report: AttributionReport, index: int) -> dict[str, Any]:
    for found in words_of(report, index):
        return {"words": [[word, number(value)] for word, value in found]}
    return {}


def _classes(report: AttributionReport, index: int) -> dict[str, Any]:
    for found in report.classes[index : index + 1]:
        pairs = zip(found.classes, found.shares, strict=True)
        strongest = [{"class": c, "name": report.class_name(c), "share": number(share)} for c, share in pairs]
        return {"classes": {"share": found.kind, "why": found.why, "strongest": strongest}}
    return {}


def _largest(row: Array, count: int) -> list[tuple[int, ...]]:
    size = np.abs(row.astype(np.float64)).ravel()
    size[~np.isfinite(size)] = -1
    count = min(count, size.size)
    candidates = np.argpartition(-size, count - 1)[:count] if count else np.empty(0, np.int64)
    ordered = sorted((int(flat) for flat in candidates if size[flat] >= 0), key=lambda flat: (-size[flat], flat))
    return [tuple(int(i) for i in np.unravel_index(flat, row.shape)) for flat in ordered]


def _at(array: Array | None, index: int) -> float | None:
    return None if array is None else number(array[index])


def number(value: Any) -> float | None:
    """A number as JSON has it: None where it is not finite."""
    found = float(value)
    return found if math.isfinite(found) else None
