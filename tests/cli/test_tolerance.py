"""``--tolerance``: the estimate and the steps of each example in all files; exit code 7 where it is missed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from click.testing import CliRunner, Result

import onnx_ig
from onnx_ig.cli import app

# the second example's steep step needs more path points than the first one's
MODEL = onnx.parser.parse_model(
    """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 2] x) => (float[N, 1] y)
    <float[2, 1] w = {1, 30}> { d = MatMul (x, w)  y = Tanh (d) }"""
)


def attribute(folder: Path, *options: str) -> Result:
    onnx.save(MODEL, folder / "m.onnx")
    np.save(folder / "x.npy", np.array([[0.5, 0], [0.5, 1]], np.float32))
    call = ["attribute", str(folder / "m.onnx"), "-i", str(folder / "x.npy"), "-o", str(folder / "report"), *options]
    return CliRunner().invoke(app, call)


def test_the_report_says_the_error_and_the_steps(tmp_path: Path) -> None:
    run = attribute(tmp_path, "--tolerance", "0.01", "--provider", "cpu")
    assert run.exit_code == 0, run.output
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["tolerance"] == 0.01 and report["n_steps"] is None and report["method"] is None
    steps = [example["steps_used"] for example in report["examples"]]
    assert steps[0] == 8 < steps[1] and str(steps[1]) in run.stdout and "error" in run.stdout
    assert all(0 <= example["error_estimate"] <= 0.01 for example in report["examples"])
    arrays = np.load(tmp_path / "report" / "attributions.npz")
    expected = onnx_ig.IntegratedGradients(MODEL, provider="cpu").explain(np.load(tmp_path / "x.npy"), tolerance=0.01)
    assert np.array_equal(arrays["attribution_x"], expected.attributions)
    assert arrays["steps_used"].tolist() == expected.steps_used.tolist() == steps
    assert np.allclose(arrays["error_estimate"], expected.error_estimate)
    assert "estimated error" in (tmp_path / "report" / "report.html").read_text()


def test_a_tolerance_that_is_missed_ends_with_7_after_the_report(tmp_path: Path) -> None:
    run = attribute(tmp_path, "--tolerance", "0.001", "--max-steps", "8", "--provider", "cpu")
    assert run.exit_code == 7
    assert "1 of 2 examples are not within the tolerance of 0.1 % after 8 steps" in run.stderr
    assert "Raise --max-steps or --tolerance" in run.stderr
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["examples"][1]["error_estimate"] > 0.001 and "not within" in report["warnings"][-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tolerance", "0.01", "--n-steps", "50"], "--n-steps and --tolerance contradict"),
        (["--tolerance", "0.01", "--method", "riemann_left"], "--method and --tolerance contradict"),
        (["--max-steps", "64"], "--max-steps goes with --tolerance"),
        (["--tolerance", "1.5"], "0<x<1"),
        (["--tolerance", "0.01", "--max-steps", "4"], "x>=8"),
        (["--tolerance", "0.01", "--algorithm", "input-x-gradient"], "--tolerance goes with integrated-gradients"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: list[str], words: str, tmp_path: Path) -> None:
    run = attribute(tmp_path, *options)
    assert run.exit_code == 2 and words in run.stderr, run.stderr
    assert not (tmp_path / "report").exists()


def exported(folder: Path, *options: str) -> Result:
    onnx.save(MODEL, folder / "m.onnx")
    return CliRunner().invoke(app, ["export", str(folder / "m.onnx"), "-o", str(folder / "ig.onnx"), *options])


def by_the_file(folder: Path, *options: str) -> Result:
    np.save(folder / "x.npy", np.array([[0.5, 0], [0.5, 1]], np.float32))
    call = ["attribute", str(folder / "ig.onnx"), "-i", str(folder / "x.npy"), "-o", str(folder / "report"), *options]
    return CliRunner().invoke(app, call)


def test_a_file_with_a_tolerance_tells_error_and_steps(tmp_path: Path) -> None:
    made = exported(tmp_path, "--tolerance", "0.01")
    assert made.exit_code == 0, made.output
    assert (
        "max_steps 1024 method nested-clenshaw-curtis tolerance 0.01" in made.stdout and "error_estimate" in made.stdout
    )
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path / "ig.onnx")])
    assert "tolerance 0.01" in shown.stdout and "steps_used" in shown.stdout
    run = by_the_file(tmp_path, "--tolerance", "0.01", "--provider", "cpu")
    assert run.exit_code == 0, run.output
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    engine = onnx_ig.IntegratedGradients(MODEL, provider="cpu").explain(np.load(tmp_path / "x.npy"), tolerance=0.01)
    assert [example["steps_used"] for example in report["examples"]] == engine.steps_used.tolist()
    assert report["tolerance"] == 0.01 and report["n_steps"] is None and report["method"] is None
    assert "estimated error" in (tmp_path / "report" / "report.html").read_text()


def test_a_file_that_misses_its_tolerance_ends_with_7_after_the_report(tmp_path: Path) -> None:
    assert exported(tmp_path, "--tolerance", "0.001", "--max-steps", "8").exit_code == 0
    run = by_the_file(tmp_path)
    assert run.exit_code == 7
    assert "1 of 2 examples are not within the tolerance of 0.1 % after 8 steps" in run.stderr
    assert json.loads((tmp_path / "report" / "report.json").read_text())["examples"][1]["error_estimate"] > 0.001


@pytest.mark.parametrize(
    ("baked", "asked", "words"),
    [
        (["--n-steps", "8"], ["--tolerance", "0.01"], "attribute the model that it was made from"),
        (["--tolerance", "0.02"], ["--tolerance", "0.01"], "this attribution model has 0.02 baked in"),
        (["--tolerance", "0.02"], ["--n-steps", "8"], "this attribution model has a tolerance of 0.02 baked in"),
    ],
)
def test_what_a_file_has_baked_in_is_held_to(baked: list[str], asked: list[str], words: str, tmp_path: Path) -> None:
    assert exported(tmp_path, *baked).exit_code == 0
    run = by_the_file(tmp_path, *asked)
    assert run.exit_code == 2 and words in run.stderr, run.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--n-steps", "50"], "--n-steps and --tolerance contradict"),
        (["--form", "step"], "--form step has none"),
        (["--steps-per-run", "0"], "--steps-per-run=0 has none"),
        (["--path-as-input"], "--path-as-input contradict"),
        (["--algorithm", "input-x-gradient"], "--tolerance goes with integrated-gradients"),
    ],
)
def test_what_cannot_be_baked_is_refused(options: list[str], words: str, tmp_path: Path) -> None:
    run = exported(tmp_path, "--tolerance", "0.01", *options)
    assert run.exit_code == 2 and words in run.stderr, run.stderr
    assert not (tmp_path / "ig.onnx").exists()
