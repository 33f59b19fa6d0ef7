"""The benchmark's own arithmetic, and that what it measures in processes of their own is what is there."""

import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.helpers.architectures.plain import mlp
from tools.benchmarking import alone, growth, subjects, tables, timing

ROWS = [
    {"model": "A", "cpu": 1.0, "openvino": 4.0, "captum": 2.0},
    {"model": "B", "cpu": 1.0, "openvino": "refused: NaN", "captum": 8.0},
    {"model": "C", "cpu": 4.0, "openvino": 0.5, "captum": 4.0},
    {"model": "D", "cpu": 1.0, "openvino": 1.0},
]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (ROWS, "2.52 in ONNX Runtime, 5.04 in the faster of the two runtimes. Slower than Captum in both: none."),
        ([{"model": "E", "cpu": 2.0, "openvino": 4.0, "captum": 1.0}], "0.50 in ONNX Runtime, 0.50 in the faster"),
        ([{"model": "E", "cpu": 2.0, "openvino": 4.0, "captum": 1.0}], "Slower than Captum in both: E."),
        (ROWS[3:], "No model that Captum explains."),
    ],
)
def test_the_summary_takes_geometric_means_of_the_faster_runtime(rows: list[timing.Row], expected: str) -> None:
    assert expected in tables.summarised(rows)


def test_a_table_says_why_a_number_is_missing() -> None:
    lines = tables.rendered(tables.TIME, ROWS).splitlines()
    assert lines[3].startswith("| B | 1 | refused: NaN | 8 | – |")
    assert len({line.count("|") for line in lines}) == 1


def test_the_straight_line_tells_what_deviates() -> None:
    assert growth.straight_line([1, 2, 4], [3, 5, 9]) == pytest.approx((2, 0))
    assert growth.straight_line([1, 2, 4], [1, 4, 16])[1] > 0.2


def _file(folder: Path, width: int) -> Path:
    """x → tanh(xW), W of 4·width² bytes."""
    text = f"""<ir_version: 8, opset_import: ["" : 18]> wide (float[N, {width}] x) => (float[N, {width}] y)
    {{ h = MatMul(x, w)  y = Tanh(h) }}"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.full((width, width), 0.01, np.float32), "w"))
    onnx.save(model, folder / "wide.onnx")
    return folder / "wide.onnx"


def test_a_models_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: object) -> None:
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(timing, "converted", unreachable)
    found = subjects.subject(str(_file(tmp_path, 8)))
    row = timing.measured(found, found.file, steps=4, rounds=1, examples=2)
    assert row["onnx2torch"] == "not installed"
    assert row["limit"] > 0 and row["cpu"] > 0 and row["openvino first"] > row["openvino"] > 0


@pytest.mark.parametrize(("module", "outcome"), [(mlp(8, (4,), 8).eval(), "refused: wrong"), (None, "refused")])
def test_a_peer_that_computes_something_else_is_refused(
    module: object, outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "converted", lambda *_: module)
    found = subjects.subject(str(_file(tmp_path, 8)))
    row = timing.measured(found, found.file, steps=2, rounds=1, examples=1)
    assert row["onnx2torch"].startswith(outcome)


def test_memory_is_what_the_model_takes_above_the_imports(tmp_path: Path) -> None:
    found = subjects.subject(str(_file(tmp_path, 2048)))
    file = alone.written(found, tmp_path)
    megabytes = alone.alone("cpu", found, file, tmp_path, batch=4)["MB"]
    assert 16 < megabytes < 300  # the weights, and not the imports, which take more than that
