"""report.json: the run as one strict JSON document, for programs and for reading."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.report.record import AttributionReport
from onnx_ig.report.words import words_of

TOP, MOST_EXAMPLES, MOST_TARGETS = 10, 1000, 20
FORMAT = "onnx-ig report"


def document(report: AttributionReport, files: Iterable[str]) -> dict[str, Any]:
    """The content of report.json. Numbers that are NaN or infinite are written as null.

    ======================  ==========================================================================
    ``format``              ``"onnx-ig report"``
    ``version``             1; raised when a key changes its meaning
    ``model``               ``file``, ``sha256`` (null if unknown), ``exporter`` (null for ONNX sources)
    ``algorithm``           ``"integrated-gradients"`` or ``"input-x-gradient"``
    ``method``, ``n_steps``  quadrature rule and number of path points; null for input-x-gradient
    ``tolerance``           the relative error up to which path points were added, or null
    ``provider``            the execution provider that was used
    ``straight_through``    object: operator → number of nodes whose gradient is a straight-through one
    ``seconds``             object: phase → seconds
    ``tensors``             object: attributed tensor → ``shape``, ``dtype``, ``sum`` (of attributions)
    ``summary``             of all examples: their number ``examples``; ``targets``, the 20 most frequent, as objects of
                            ``target``, ``target_name`` and ``examples``; ``relative_convergence_delta``: ``median``,
                            ``largest`` and its ``example`` (null without deltas)
    ``examples``            one object per example, in order, of the first 1,000; the arrays have all of them:
                            ``name`` (of the example, or null), ``target`` (null, integer, or one
                            integer per axis), ``target_name`` (or null),
                            ``score``, ``baseline_score``, ``convergence_delta``,
                            ``relative_convergence_delta`` (|delta| / |score − baseline_score|),
                            ``error_estimate`` (relative, or null), ``steps_used`` (null without a tolerance),
                            ``top_features``
                            ``words``: pairs of a word and its attribution, of a text that is attributed
    ``top_features``        the 10 largest attributions by magnitude over all tensors: ``tensor``, ``index``
    (without
                            the example axis), ``name`` (or null), ``attribution``, ``value`` (the input's, or
                            null)
    ``warnings``            list of sentences
    ``files``               names of the files of this report
    ======================  ==========================================================================
    """
    relative = report.relative_delta()
    return {
        "format": FORMAT,
        "version": 1,
        "model": {"file": report.model, "sha256": report.model_sha256, "exporter": report.exporter},
        "algorithm": report.algorithm,
        "method": report.method,
        "n_steps": report.n_steps,
        "tolerance": report.tolerance,
        "provider": report.provider,
        "straight_through": dict(report.straight_through),
        "seconds": {phase: _number(seconds) for phase, seconds in report.seconds.items()},
        "tensors": {
            name: {
                "shape": list(array.shape),
                "dtype": array.dtype.name,
                "sum": _number(array.sum(dtype=np.float64)),
            }
            for name, array in report.attributions.items()
        },
        "summary": _summary(report),
        "examples": [_example(report, index, relative) for index in range(min(report.examples, MOST_EXAMPLES))],
        "warnings": list(report.warnings),
        "files": sorted(files),
    }


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
        names, values = report.names_of(tensor, example), report.inputs.get(tensor)
        for index in _largest(row, count):
            name = names[index[0]] if names is not None and index else None
            value = None if values is None else _number(report.rows(values)[example][index])
            found.append(Feature(tensor, index, name, float(row[index]), value))
    return sorted(found, key=lambda feature: -abs(feature.attribution))[:count]


def _summary(report: AttributionReport) -> dict[str, Any]:
    relative = report.relative_delta()
    known = np.empty(0) if relative is None else relative[np.isfinite(relative)]
    delta = None
    if relative is not None and len(known):
        worst = int(np.nanargmax(np.where(np.isfinite(relative), relative, -1)))
        delta = {"median": _number(np.median(known)), "largest": _number(relative[worst]), "example": worst}
    targets = []
    if report.target is not None and report.target.ndim == 1:
        values, counts = np.unique(report.target, return_counts=True)
        for place in np.argsort(-counts, kind="stable")[:MOST_TARGETS]:
            target = int(values[place])
            targets.append({"target": target, "target_name": report.class_name(target), "examples": int(counts[place])})
    return {"examples": report.examples, "targets": targets, "relative_convergence_delta": delta}


def _example(report: AttributionReport, index: int, relative: Array | None) -> dict[str, Any]:
    target = None if report.target is None else np.asarray(report.target[index]).tolist()
    if isinstance(target, list) and len(target) == 1:
        (target,) = target
    return {
        "name": report.example_name(index),
        "target": target,
        "target_name": report.class_name(target) if isinstance(target, int) else None,
        "score": _number(report.score[index]),
        "baseline_score": _at(report.baseline_score, index),
        "convergence_delta": _at(report.convergence_delta, index),
        "relative_convergence_delta": _at(relative, index),
        "error_estimate": _at(report.error_estimate, index),
        "steps_used": None if report.steps_used is None else int(report.steps_used[index]),
        **_words(report, index),
        "top_features": [asdict(feature) for feature in top_features(report, index)],
    }


def _words(report: AttributionReport, index: int) -> dict[str, Any]:
    for found in words_of(report, index):
        return {"words": [[word, _number(value)] for word, value in found]}
    return {}


def _largest(row: Array, count: int) -> list[tuple[int, ...]]:
    size = np.abs(row.astype(np.float64)).ravel()
    size[~np.isfinite(size)] = -1
    count = min(count, size.size)
    candidates = np.argpartition(-size, count - 1)[:count] if count else np.empty(0, np.int64)
    ordered = sorted((int(flat) for flat in candidates if size[flat] >= 0), key=lambda flat: (-size[flat], flat))
    return [tuple(int(i) for i in np.unravel_index(flat, row.shape)) for flat in ordered]


def _at(array: Array | None, index: int) -> float | None:
    return None if array is None else _number(array[index])


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
