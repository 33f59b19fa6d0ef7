"""The summary of a table: columns in order of their mean size, points on the side of their sign, values as colours."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnx_ig.report import AttributionReport
from onnx_ig.report.columns import Columns, columns_of
from onnx_ig.report.document import as_text
from onnx_ig.report.summary import draw_summary, order, ranks, spread
from onnx_ig.report.table_file import table_of, write_table

Array = np.ndarray[Any, Any]


def report(attributions: dict[str, Array], inputs: dict[str, Array] | None = None, **more: Any) -> AttributionReport:
    count = len(next(iter(attributions.values())))
    return AttributionReport(
        model="m.onnx",
        algorithm="input-x-gradient",
        attributions=attributions,
        score=np.ones(count),
        provider="cpu",
        inputs=inputs or {},
        **more,
    )


def test_one_input_and_many_are_the_same_table() -> None:
    table = np.random.default_rng(0).standard_normal((5, 3))
    names = ["a", "b", "c"]
    (whole,) = columns_of(report({"x": table}, {"x": table * 2}, feature_names={"x": names}))
    apart = {name: table[:, [i]] for i, name in enumerate(names)}
    (single,) = columns_of(report(apart, {name: 2 * value for name, value in apart.items()}))
    assert (whole.name, single.name) == ("x", None)
    assert whole.names == single.names == names
    np.testing.assert_array_equal(whole.attributions, single.attributions)
    for first, second in zip(whole.values, single.values, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_category_made_numbers_counts_with_its_sum_and_has_bars_of_its_own() -> None:
    arrays = {"a": np.ones((4, 1)), "b": np.ones((4,)), "city": np.array([[1.0, -3.0]] * 4)}
    sheet, city = columns_of(report(arrays))
    assert sheet.names == ["a", "b", "city"] and city.name == "city"
    np.testing.assert_array_equal(sheet.attributions, [[1, 1, -2]] * 4)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_numbers_in_the_file_are_those_that_were_computed(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).standard_normal((500, 2)).astype(dtype)
    values[:4, 0] = [np.nan, np.inf, 0, np.finfo(dtype).max]
    made = report({"x": values}, feature_names={"x": ["a, b", "score"]})
    write_table(tmp_path / "t.csv", made)
    head, *rows = csv.reader((tmp_path / "t.csv").read_text("utf-8").splitlines())
    assert head == ["row", "onnx_ig_score", "a, b", "score"]
    assert [row[0] for row in rows] == [str(row) for row in range(500)]
    np.testing.assert_array_equal(np.array([row[2:] for row in rows], np.float64).astype(dtype), values)


def test_a_document_is_strict_json_with_a_line_for_each_example() -> None:
    content = {"a": None, "examples": [{"x": 1, "é": [0.1, {}]}, {"x": 2}], "none": [], "words": ["b"]}
    text = as_text(content)
    assert json.loads(text) == content and text.endswith("}\n")
    assert ['"é"' in line for line in text.splitlines()].count(True) == 1 and '    {"x": 2}' in text.splitlines()
    with pytest.raises(ValueError):
        as_text({"a": float("nan")})


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_column_alone_is_called_like_its_tensor(shape: tuple[int, ...]) -> None:
    values = np.arange(4.0).reshape(shape)
    (alone,) = columns_of(report({"age": values}, {"age": 2 * values}))
    assert (alone.name, alone.names) == ("age", ["age"])
    np.testing.assert_array_equal(alone.attributions, [[0], [1], [2], [3]])
    np.testing.assert_array_equal(alone.values, [[0, 2, 4, 6]])
    assert list(table_of(report({"age": values}))) == ["row", "score", "age"]
    (named,) = columns_of(report({"age": np.ones((4, 1))}, feature_names={"age": ["years"]}))
    assert named.names == ["years"]
    beside, wide = columns_of(report({"age": values, "x": np.ones((4, 2))}))
    assert beside.names == ["age"] and wide.names == ["[0]", "[1]"]


def test_columns_are_ordered_by_mean_size() -> None:
    table = np.array([[1.0, -5, np.nan], [1, 5, 2]])
    assert list(order(Columns("x", ["a", "b", "c"], table, [None] * 3))) == [1, 0, 2]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([3.0, 1, 1, 2]), [1, 0, 0, 0.5]),
        (np.array([3.0, np.nan, 1, 2]), [1, np.nan, 0, 0.5]),
        (np.array([True, False]), [1, 0]),
        (np.array([1.0, np.nan]), None),
        (np.full(2, np.nan), None),
        (np.array(["a", "b"], object), None),
        (np.ones(3), None),
        (None, None),
    ],
)
def test_colours_are_ranks_of_values(values: Any, expected: Any) -> None:
    found = ranks(values)
    assert (found is None) == (expected is None)
    if expected is not None:
        np.testing.assert_allclose(found, expected)


def test_points_of_one_value_are_kept_apart() -> None:
    heights = spread(np.zeros(40))
    assert len(np.unique(heights)) == 40 and np.abs(heights).max() <= 0.41


def test_a_column_that_lowers_lies_left_of_one_that_raises() -> None:
    rows = np.random.default_rng(1).uniform(0.5, 1, (60, 2)) * [1, -1]
    png = draw_summary(Columns("x", ["up", "down"], rows, [rows[:, 0], rows[:, 1]]), "title")
    page = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), int)
    assert max(page.shape) < 2000
    left = 24 + 7 * 4 + 12 + 260 + 40  # where the points begin
    coloured = np.ptp(page[84 : 84 + 68, left + 2 : left + 458], axis=-1) > 60
    raises, lowers = (np.where(half.any(axis=0))[0] for half in (coloured[:34], coloured[34:]))
    assert raises.min() > 228 > lowers.max()


def test_rows_without_a_value_are_grey() -> None:
    """Half of the rows lie left and have none, half lie right and are of two values."""
    values = np.r_[np.full(30, np.nan), np.resize([0.0, 1.0], 30)]
    rows = np.r_[np.full(30, -1.0), np.ones(30)][:, None]
    page = np.asarray(Image.open(io.BytesIO(draw_summary(Columns("x", ["a"], rows, [values]), "title"))), int)[..., :3]
    left = 24 + 7 + 12 + 260 + 40
    colourful = np.ptp(page[84 : 84 + 34, left + 2 : left + 458], axis=-1) > 60
    assert not colourful[:, :228].any() and colourful[:, 228:].any()
