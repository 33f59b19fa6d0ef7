"""Reports on several targets of the same examples as one, in which each target of an example is a line.

The one idea: everything that reads a report sees examples with one target each, so it need not know of several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.data.table import Rows
from onnx_ig.report.labels import FeatureNames, is_per_example
from onnx_ig.report.record import AttributionReport

Entry = TypeVar("Entry")
_NUMBERS = ("score", "target", "baseline_score", "convergence_delta", "error_estimate", "steps_used")


def in_lines(each: Sequence[AttributionReport]) -> AttributionReport:
    """K reports on the same N examples, one for each target, as one of N·K lines: those of an example in a row."""
    first, count = each[0], len(each)

    def woven(arrays: Sequence[Array]) -> Array:
        return np.stack(arrays, axis=1).reshape(-1, *arrays[0].shape[1:])

    def repeated(values: Sequence[Entry]) -> tuple[Entry, ...]:
        return tuple(value for value in values for _ in each)

    def names(given: FeatureNames) -> FeatureNames:
        if is_per_example(given):
            return repeated(given)
        return [[str(name) for name in given]] * count if first.examples == 1 else given  # a sequence's are its own

    numbers: dict[str, Any] = {
        word: None if getattr(first, word) is None else woven([getattr(one, word) for one in each]) for word in _NUMBERS
    }
    return replace(
        first,
        targets=count,
        batched=True,
        attributions={n: woven([one.rows(one.attributions[n]) for one in each]) for n in first.attributions},
        inputs={name: np.repeat(first.rows(value), count, axis=0) for name, value in first.inputs.items()},
        feature_names={name: names(given) for name, given in first.feature_names.items()},
        example_names=repeated(first.example_names),
        words=repeated(first.words),
        classes=repeated(first.classes),
        pictures={name: replace(one, originals=repeated(one.originals)) for name, one in first.pictures.items()},
        table=None if first.table is None else _rows(first.table, count),
        **numbers,
    )


def _rows(table: Rows, count: int) -> Rows:
    target = None if table.target is None else np.repeat(table.target, count, axis=0)
    return replace(table, taken=np.repeat(table.taken, count), target=target)
