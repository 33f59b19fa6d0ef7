"""What ``onnx-ig bench`` measures is what it says, and options that would change nothing are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import onnx_ig
from onnx_ig.cli.app import app

DIGITS = str(Path(__file__).parents[2] / "models" / "digits_cnn" / "digits_cnn.onnx")


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", *arguments, "--seconds", "0"])


def test_times_of_a_model_and_of_its_attribution_model(tmp_path: Path) -> None:
    result = bench(DIGITS, "--batch", "2", "--n-steps", "7", "--provider", "cpu", "--provider", "openvino", "--json")
    assert result.exit_code == 0, result.output
    timings = json.loads(result.stdout)["timings"]
    assert [(t["what"], t["examples"], t["path_points"]) for t in timings] == 2 * [
        ("forward pass", 2, None),
        ("integrated-gradients", 2, 7),
    ]
    assert [t["provider"] for t in timings] == 2 * ["CPUExecutionProvider"] + 2 * ["openvino"]
    for timing in timings:
        assert timing["calls"] == 3
        assert 0 < timing["least"] <= timing["median"] <= timing["p99"]
        assert timing["examples_per_second"] == pytest.approx(2 / timing["median"])
    file = onnx_ig.export(DIGITS, tmp_path / "explained.onnx", n_steps=5, steps_per_run=0)
    (run,) = json.loads(bench(str(file), "--json").stdout)["timings"]
    assert run["what"] == "Run of integrated-gradients, complete"


def test_examples_that_are_given(tmp_path: Path) -> None:
    """Three pictures are timed, whatever --batch says, and a tolerance takes the steps that these need."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((3, 1, 8, 8), np.float32))
    result = bench(DIGITS, "--example-input", str(tmp_path / "x.npy"), "--tolerance", "0.1", "--json")
    assert result.exit_code == 0, result.output
    assert [t["examples"] for t in json.loads(result.stdout)["timings"]] == [3, 3]
    shown = bench(DIGITS, "--algorithm", "input-x-gradient").stdout
    assert "input-x-gradient" in shown and "median" in shown


def test_options_that_would_change_nothing_are_refused(tmp_path: Path) -> None:
    file = onnx_ig.export(DIGITS, tmp_path / "explained.onnx", n_steps=5, steps_per_run=0)
    for arguments, word in (
        ((str(file), "--n-steps", "3"), "baked"),
        ((DIGITS, "--algorithm", "input-x-gradient", "--n-steps", "3"), "no path"),
        ((DIGITS, "--tolerance", "0.1", "--n-steps", "3"), "contradict"),
    ):
        result = bench(*arguments)
        assert result.exit_code != 0
        assert word in str(result.exception) + result.output
