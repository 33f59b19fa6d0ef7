"""Where attributions do not add up, a sentence says so."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from click.testing import CliRunner

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.engine.completeness import completeness_gap
from onnx_ig.errors import OnnxIgWarning

# a steep step far from the baseline: few path points miss it
STEEP = onnx.parser.parse_model(
    """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 1] x) => (float[N, 1] y)
    <float steep = {400}, float at = {0.777}> { d = Sub (x, at)  m = Mul (d, steep)  y = Sigmoid (m) }"""
)


@pytest.mark.parametrize(
    ("delta", "score", "start", "words"),
    [
        ([0.01, 0.5], [1, 1], [0, 0], "1 of 2 examples .*50 %.*example 1"),
        ([0.4], [1], [0], "the example .*40 %"),
        ([0.01, 0.04], [1, 1], [0, 0], None),
        ([1e-4], [1], [1], None),  # a constant's rounding
        ([0.0], [0], [0], None),
        ([-0.3], [2], [1], "30 %"),
    ],
)
def test_the_sentence(delta: list[float], score: list[float], start: list[float], words: str | None) -> None:
    found = completeness_gap(np.array(delta), np.array(score), np.array(start))
    assert (found is None) == (words is None)
    if words is not None:
        assert re.search(words, str(found))


def test_python_warns() -> None:
    method = onnx_ig.IntegratedGradients(STEEP, provider="cpu")
    x = np.ones((1, 1), np.float32)
    with pytest.warns(OnnxIgWarning, match="do not add up"):
        method.attribute(x, n_steps=5, return_convergence_delta=True)


def test_python_warns_of_an_input_that_is_its_baseline() -> None:
    method = onnx_ig.IntegratedGradients(STEEP, provider="cpu")
    x = np.array([[0], [1]], np.float32)
    with pytest.warns(OnnxIgWarning, match=r"1 row\(s\) of the inputs equal their baseline"):
        assert method.attribute(x)[0] == 0


@pytest.mark.parametrize("form", ["model", "complete", "step"])
def test_the_command_line_says_it_in_every_output(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(STEEP, "model.onnx")
    np.save("x.npy", np.ones((2, 1), np.float32))
    steps = ["--n-steps", "5"]
    if form != "model":
        onnx_ig.export("model.onnx", f"{form}.onnx", form=form, n_steps=5)
        steps = steps if form == "step" else []
    result = CliRunner().invoke(app, ["attribute", f"{form}.onnx", "-i", "x.npy", "-o", "out", *steps])
    assert result.exit_code == 0, result.output
    assert "2 of 2 examples do not add up" in result.stderr
    assert "do not add up" in Path("out/report.json").read_text(encoding="utf-8")
    assert "do not add up" in Path("out/report.html").read_text(encoding="utf-8")
