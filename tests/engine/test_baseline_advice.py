"""What is said of a baseline: that it is the input, far outside the data, or has hardly another F, in every door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from click.testing import CliRunner

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.engine.baseline_advice import hardly_differing, outside_the_data

MODEL = """<ir_version: 10, opset_import: ["": 18]> m (float[N, 2] x) => (float[N, 2] y)
    <float[2, 2] w = {1, -2, 0.5, 1}, float[2] b = {0, 500}> { t = MatMul (x, w)  y = Add (t, b) }"""


def rows(count: int = 12, offset: float = 0.0) -> Any:
    x = np.random.default_rng(0).uniform(-1, 1, (count, 2)).astype(np.float32)
    x[:, 1] += offset
    return x


# the data, the target, and words of what is said; None: nothing of the kind
SAID: dict[str, tuple[Any, int, str | None]] = {
    "the input itself": (np.vstack([rows(), np.zeros((1, 2), np.float32)]), 0, "1 row(s) of the inputs equal"),
    "far outside": (
        rows(offset=40),
        0,
        "is far outside the data: x[1] begins at 0, and its data lie in [39",
    ),
    "hardly another F": (rows(), 1, "of 12 examples hardly differ: by "),
    "among the data": (rows(), 0, None),
}


@pytest.mark.filterwarnings("ignore::onnx_ig.OnnxIgWarning")
@pytest.mark.parametrize("door", ["plain", "complete", "step", "no loop", "given to the file"])
@pytest.mark.parametrize("case", SAID)
def test_what_is_said_of_a_baseline(case: str, door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Python, on the terminal, in report.json and in report.html, of a model and of an exported file."""
    x, target, words = SAID[case]
    monkeypatch.chdir(tmp_path)
    onnx.save(onnx.parser.parse_model(MODEL), "m.onnx")
    np.save("x.npy", x)
    source, forms = "m.onnx", {"step": {"form": "step"}, "no loop": {"steps_per_run": 0}}
    if door == "plain":
        notes = onnx_ig.IntegratedGradients("m.onnx", provider="cpu").explain(x, target=target).warnings
    else:
        more: dict[str, Any] = {"baselines": "input"} if "given" in door else forms.get(door, {})
        source = str(onnx_ig.export("m.onnx", "ig.onnx", target=target, **more))
        notes = onnx_ig.open(source, provider="cpu").explain(x).warnings
    assert [words in note for note in notes].count(True) == 1 if words else not notes
    asked = f"--target {target}" if door == "plain" else ""
    done = CliRunner().invoke(app, f"attribute {source} -i x.npy -o out --draw 0 {asked}".split())
    assert done.exit_code == 0, done.stderr
    if words:
        report = json.loads(Path("out/report.json").read_text("utf-8"))
        assert words in done.stderr and any(words in note for note in report["warnings"])
        assert words.replace("'", "&#x27;") in Path("out/report.html").read_text("utf-8")


def test_the_numbers_are_those_of_the_farthest_and_the_most_alike() -> None:
    data = {"a": np.linspace(0, 1, 20)[:, None], "b": np.linspace(10, 12, 20).reshape(10, 2, 1)}
    assert outside_the_data(data, {"a": np.array(0.5), "b": np.array([[[9.0], [11]]])}) is None
    far = outside_the_data(data, {"a": np.array(-3.0), "b": np.array([[[0.0], [11]]])})
    assert far is not None and "b begins at 0, and its data lie in [10, 12]" in far
    near, few = {"a": np.linspace(1, 3, 20)[:, None]}, {"a": np.linspace(40, 41, 9)[:, None]}
    assert outside_the_data(near, {"a": np.array(0.0)}) is outside_the_data(few, {"a": np.array(0.0)}) is None
    constant = {"a": np.ones((20, 1))}
    assert outside_the_data(constant, {"a": np.array(0.0)}) is None
    assert outside_the_data({"a": np.full((20, 1), np.nan)}, {"a": np.array(0.0)}) is None
    attributions = {"a": np.array([[0.5], [0.002], [1], [0]])}
    alike = hardly_differing(attributions, np.array([1.5, 1.002, 1, 1]), np.ones(4))
    assert alike is not None and "1 of 4 examples hardly differ: by 0.002, 0.2 % of F (example 1)" in alike
