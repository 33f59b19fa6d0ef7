"""Attributions of a text by word: a word's is the sum over its tokens and over the axes of their vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.data.text import Words
from onnx_ig.report.record import AttributionReport


def words_of(report: AttributionReport, example: int) -> Iterator[list[tuple[str, float]]]:
    """The words of an example in their order with their attributions, for each tensor that holds its tokens."""
    for array in report.attributions.values():
        rows = report.rows(array)
        if report.words and _holds_tokens(rows, report.words):
            by_token = rows[example].reshape(rows.shape[1], -1).sum(axis=1, dtype=np.float64)
            text = report.words[example]
            yield list(zip(text.words, (float(value) for value in text.sums(by_token)), strict=True))


def token_names(attributions: Mapping[str, Array], words: Sequence[Words]) -> dict[str, list[list[str]]]:
    """The tokens as names of positions, for each tensor that holds them."""
    return {
        name: [list(text.tokens) for text in words]
        for name, array in attributions.items()
        if words and _holds_tokens(array, words)
    }


def _holds_tokens(rows: Array, words: Sequence[Words]) -> bool:
    return rows.ndim >= 2 and len(rows) == len(words) and rows.shape[1] == len(words[0].tokens)
