"""A report of many examples: a summary of all before the first, the rest in data files, small enough to open at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_ig.report import AttributionReport, write_report
from onnx_ig.report.illustrate import Illustration
from onnx_ig.report.page import page

Array = np.ndarray[Any, Any]
MOST = 5_000_000


def report(attributions: dict[str, Array], **more: Any) -> AttributionReport:
    count = len(next(iter(attributions.values())))
    facts: dict[str, Any] = {
        "score": np.linspace(1, 2, count),
        "baseline_score": np.zeros(count),
        "convergence_delta": np.full(count, 0.01),
        "target": np.arange(count) % 3 % 2,
    }
    return AttributionReport(
        model="m.onnx", algorithm="integrated-gradients", attributions=attributions, provider="cpu", **(facts | more)
    )


def test_ten_thousand_rows(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((10_000, 5)).astype(np.float32)
    result = report({"x": rows}, inputs={"x": rows}, class_names=["no", "yes"])
    files = {file.name: file for file in write_report(tmp_path / "out", result, max_pictures=2)}
    text = files["report.html"].read_text("utf-8")
    assert len(text) < MOST and files["report.json"].stat().st_size < MOST
    assert text.index("All examples") < text.index("<h2>Scores") < text.index("<h2>Example 0")
    assert "<td>0 (no)</td><td>6667</td>" in text and "<td>1 (yes)</td><td>3333</td>" in text
    assert "at most 0.667 % of" in text and "the largest is 1 %, of example 0" in text
    assert "first 100 of 10000 examples; attributions.npz" in text
    assert text.count("<section") == 16 + 1  # and the warnings
    document = json.loads(files["report.json"].read_text())
    assert document["summary"]["examples"] == 10_000 and len(document["examples"]) == 1000
    with np.load(files["attributions.npz"]) as arrays:
        np.testing.assert_array_equal(arrays["attribution_x"], rows)


def test_one_example_has_no_summary(tmp_path: Path) -> None:
    write_report(tmp_path / "out", report({"x": np.ones((1, 3))}), pictures=False)
    text = (tmp_path / "out/report.html").read_text("utf-8")
    assert "All examples" not in text and "Example 0" in text


@pytest.mark.parametrize(("sizes", "inside"), [([10, 10], 2), ([2_000_000] * 4, 1), ([4_000_000], 0)])
def test_drawings_beyond_the_size_are_files_beside_the_page(sizes: list[int], inside: int, tmp_path: Path) -> None:
    write_report(tmp_path / "out", report({"x": np.ones((4, 3))}), pictures=False)
    document = json.loads((tmp_path / "out/report.json").read_text())
    drawn = [Illustration(f"a_{i}.png", "x", i, "a <line>", bytes(size)) for i, size in enumerate(sizes)]
    text = page(document, drawn)
    assert len(text) < MOST
    assert text.count("<img") == inside and text.count('<a href="a_') == len(sizes) - inside
    assert "a <line>" not in text


def test_columns_of_one_input_each_are_called_by_their_input(tmp_path: Path) -> None:
    write_report(tmp_path / "out", report({"age": np.ones((2, 1)), "<b>": np.ones((2, 1))}), pictures=False)
    text = (tmp_path / "out/report.html").read_text("utf-8")
    assert "<td>age</td>" in text and "<td>&lt;b&gt;</td>" in text and "<b>" not in text


def test_an_entry_has_an_index_where_its_tensor_has_several(tmp_path: Path) -> None:
    """Without an axis of examples axis 0 is a place as well."""
    alone = AttributionReport(
        model="m.onnx",
        algorithm="input-x-gradient",
        attributions={"x": np.ones(2), "z": np.ones(1)},
        score=np.ones(1),
        provider="cpu",
        batched=False,
    )
    write_report(tmp_path / "out", alone, pictures=False)
    text = (tmp_path / "out/report.html").read_text("utf-8")
    assert "<td>x: [0]</td>" in text and "<td>x: [1]</td>" in text and "<td>z</td>" in text
    write_report(tmp_path / "one", report({"age": np.ones(2)}), pictures=False)
    assert "<td>age</td>" in (tmp_path / "one/report.html").read_text("utf-8")
