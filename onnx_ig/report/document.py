"""report.json: the run as one strict JSON document, for programs and for reading."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from onnx_ig.report.examples import number
from onnx_ig.report.record import AttributionReport
from onnx_ig.report.running import Running

FORMAT = "onnx-ig report"


def document(
    piece: AttributionReport,
    running: Running,
    files: Iterable[str],
    data: Sequence[Mapping[str, Any]] = (),
    record: Mapping[str, Any] = MappingProxyType({}),
    missed: str | None = None,
) -> dict[str, Any]:
    """The content of report.json. Numbers that are NaN or infinite are written as null.

    Args:
        piece: some of the examples, with what is said of all: the model, the method, warnings.
        running: the summary of all.

    ======================  ==========================================================================
    ``format``              ``"onnx-ig report"``
    ``version``             1; raised when a key changes its meaning
    ``model``               ``file``, ``sha256`` (null if unknown), ``exporter`` (null for ONNX sources)
    ``algorithm``           ``"integrated-gradients"``, ``"input-x-gradient"``, ``"grad-cam"`` or ``"hirescam"``
    ``method``, ``n_steps``  quadrature rule and number of path points; null without a path
    ``tolerance``           the relative error up to which path points were added, or null
    ``provider``            the execution provider that was used
    ``straight_through``    object: operator → number of nodes whose gradient is a straight-through one
    ``seconds``             object: phase → seconds
    ``targets``             how many targets each example has: so many objects of ``examples`` in a row
    ``tensors``             object: attributed tensor → ``shape``, ``dtype``, ``sum`` (of attributions)
    ``summary``             of all examples: their number ``examples``; ``targets``, the 20 most frequent, as objects of
                            ``target``, ``target_name`` and ``examples``; ``relative_convergence_delta``: ``median``,
                            ``largest`` and its ``example`` (null without deltas)
    ``examples``            one object per example, in order, of the first 1,000; the arrays have all of them:
                            ``example`` (its number), ``name`` (of the example, or null),
                            ``target`` (null, integer, or one integer per axis), ``target_name`` (or null),
                            ``score``, ``baseline_score``, ``convergence_delta``,
                            ``relative_convergence_delta`` (|delta| / |score − baseline_score|),
                            ``error_estimate`` (relative, or null), ``steps_used`` (null without a tolerance),
                            ``top_features``
                            ``words``: pairs of a word and its attribution, of a text that is attributed
                            ``classes``, of the first examples where the output has several: ``share``, which is
                            ``"probability"``, ``"softmax"`` or ``"sigmoid"`` (of the output), or ``"value"`` (the
                            output itself), ``why``, what tells that, and ``strongest``, up to 5 classes, or as many
                            as are attributed, as objects of ``class``, ``name`` (or null) and ``share``
    ``top_features``        the 10 largest attributions by magnitude over all tensors: ``tensor``, ``index``
    (without
                            the example axis), ``name`` (or null), ``attribution``, ``value`` (the input's, or
                            null)
    ``warnings``            list of sentences
    ``missed``              the one of them that says which examples did not reach a tolerance, or null
    ``files``               names of the files of this report
    ``data``                the files that hold all examples, as objects of ``first``, ``examples`` (their numbers),
                            ``sha256`` (by file name)
    ``record``              what makes the run reproducible: versions, and SHA-256 of model, options and data
    ``left_out``            the numbers of the rows that were left out
    ======================  ==========================================================================
    """
    return {
        "format": FORMAT,
        "version": 1,
        "model": {"file": piece.model, "sha256": piece.model_sha256, "exporter": piece.exporter},
        "algorithm": piece.algorithm,
        "method": piece.method,
        "n_steps": piece.n_steps,
        "tolerance": piece.tolerance,
        "provider": piece.provider,
        "straight_through": dict(piece.straight_through),
        "seconds": {phase: number(seconds) for phase, seconds in piece.seconds.items()},
        "targets": running.targets,
        "tensors": running.tensors(),
        "summary": running.summary(),
        "examples": running.listed,
        "warnings": list(piece.warnings),
        "missed": missed,
        "files": sorted(files),
        "data": list(data),
        "record": dict(record),
        "left_out": running.left_out,
    }


def as_text(content: Mapping[str, Any]) -> str:
    """A document as strict JSON: each key begins a line, and so does each object in a list, such as each example.

    Indented further, it would take five times as long to write, and twice the room.

    Raises:
        ValueError: a number that is not finite.
    """

    def written(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    def entry(value: Any) -> str:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "[\n    " + ",\n    ".join(map(written, value)) + "\n  ]"
        return written(value)

    return "{\n  " + ",\n  ".join(f"{written(key)}: {entry(value)}" for key, value in content.items()) + "\n}\n"
