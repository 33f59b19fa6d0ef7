"""verify on attribution models: right files pass, and files written with a wrong rule do not, whatever their form."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from click.testing import CliRunner

import onnx_ig
from onnx_ig.autodiff import registry
from onnx_ig.cli.app import app
from onnx_ig.errors import UsageError
from onnx_ig.graph.node import given

SMOOTH = "h = MatMul (x, w)  s = Sin (h)  y = MatMul (s, w)"
KINKED = "h = MatMul (x, w)  r = Relu (h)  m = MatMul (r, w)  k = Relu (m)  s = Sin (k)  y = MatMul (s, w)"
FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "complete": (SMOOTH, {"n_steps": 4}),
    "kinks": (KINKED, {"n_steps": 4}),
    "step": (SMOOTH, {"form": "step"}),
    "without a loop": (SMOOTH, {"n_steps": 3, "steps_per_run": 0, "target": 1}),
    "the predicted class": (SMOOTH, {"n_steps": 3, "target": "predicted"}),
    "two classes": (SMOOTH, {"n_steps": 3, "targets": "top-2"}),
    "the path given": (SMOOTH, {"path_as_input": True}),
    "the baseline given": (SMOOTH, {"n_steps": 3, "baselines": "input"}),
    "without the factor": (SMOOTH, {"n_steps": 3, "multiply_by_inputs": False}),
    "of one point": (SMOOTH, {"algorithm": "input-x-gradient"}),
    "summed over an axis": (SMOOTH, {"n_steps": 3, "sum_over": "embedding", "target": (1, 1)}),
    "sums of two targets": (SMOOTH, {"n_steps": 3, "sum_over": "embedding", "targets": [(0, 1), (1, 2)]}),
    "with a prefix": (SMOOTH, {"n_steps": 3, "prefix": "ig_"}),
    "one example": (SMOOTH, {"n_steps": 3, "batch_axis": None, "target": (1, 1)}),
}
WRONG = {
    "scaled": lambda op, node, dy: op.Mul(op.Mul(dy, op.Cos(given(node, 0))), 1.001),
    "sign": lambda op, node, dy: op.Neg(op.Mul(dy, op.Cos(given(node, 0)))),
    "zero": lambda op, node, dy: op.zeros_like(given(node, 0)),
}


def written(body: str, options: dict[str, Any], folder: Path) -> Path:
    rows = "2" if options.get("batch_axis", 0) is None else "N, 2" if "sum_over" in options else "N"
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]> f (float[{rows}, 3] x) => (float[{rows}, 3] y)
        <float[3, 3] w = {{0.5, -1, 0.25, 0.75, 0.5, -0.5, 1, 0.25, -0.75}}> {{ {body} }}"""
    )
    return onnx_ig.export(proto, folder / "explained.onnx", overwrite=True, **options)


@pytest.mark.filterwarnings("ignore:.*a path that depends on")
@pytest.mark.parametrize("name", FILES)
def test_right_files_pass_and_wrong_ones_do_not(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body, options = FILES[name]
    report = onnx_ig.verify(written(body, options, tmp_path), samples=1)
    assert report.passed and len(report.rows) == 2
    for rule in WRONG if name == "complete" else ["scaled"]:
        monkeypatch.setitem(registry._TABLE, ("", "Sin"), registry.Entry("rule", WRONG[rule]))
        assert not onnx_ig.verify(written(body, options, tmp_path), samples=1).passed, rule


def test_the_command_ends_as_for_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", np.array([[0.5, 1, -1]], np.float32))
    for further in ([], ["-i", str(tmp_path / "x.npy")]):
        words = ["verify", str(written(SMOOTH, {"n_steps": 3}, tmp_path)), "--target", "1", "--samples", "1", *further]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0 and "verified" in done.output, done.output
    monkeypatch.setitem(registry._TABLE, ("", "Sin"), registry.Entry("rule", WRONG["sign"]))
    assert CliRunner().invoke(app, ["verify", str(written(SMOOTH, {"n_steps": 3}, tmp_path))]).exit_code == 8


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tolerance": 0.01}, "number of path points follows the error"),
        ({"at": "h"}, "a tensor inside the model"),
        ({"baselines": np.ones((1, 3), np.float32)}, "baked into its graph"),
    ],
)
def test_what_the_file_does_not_tell_is_refused(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        onnx_ig.verify(written(SMOOTH, options, tmp_path))
