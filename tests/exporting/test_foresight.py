"""What a runtime would refuse is said before anything is converted, in the words of export."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnx.parser
import pytest
from click.testing import CliRunner

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.errors import ModelError, UsageError
from onnx_ig.exporting.foresight import outlook

HEAD = '<ir_version: 8, opset_import: ["" : 18]>\n'
SINE = "f (float[N, 3] x) => (float[N, 3] y) { y = Sin (x) }"
TRIANGLE = "f (float[N, 3, 3] x) => (float[N, 3, 3] y) { t = Trilu (x)  y = Sin (t) }"
OPEN = "f (float[N, T] x) => (float[N] y) <int64[1] a = {1}> { s = Sin (x)  y = ReduceSum <keepdims = 0> (s, a) }"
SIX = """f (float[N, 6, 4, 4] x) => (float[N, 4, 3, 3] y) <int64[4] s = {4, 6, 2, 2}, float[1] one = {1}>
    { w = Expand (one, s)  y = Conv <kernel_shape = [2, 2]> (x, w) }"""
SIX_WRONG = "computes wrong with 6, 9, 15"
# model, runtime: what is said of each target, "" where nothing is refused
CASES: dict[str, tuple[str, str, dict[str, str]]] = {
    "all is right": (SINE, "tract", {"input": "", "predicted": "", "baked": ""}),
    "an output": (
        SINE,
        "opencv4",
        {"input": "", "predicted": "", "baked": "outputs that are constant (baseline_score)"},
    ),
    "an operator": (TRIANGLE, "opencv4", {"input": "Trilu (node", "baked": "Trilu (node"}),
    "channels that are convolved wrong": (SIX, "webgpu", {"input": SIX_WRONG, "baked": SIX_WRONG}),
    "the same in another": (TRIANGLE, "opencv", {"input": "", "baked": ""}),
    "an open axis": (OPEN, "mnn", {"input": "axis 1 (T) of input 'x' is open"}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_export_refuses_is_foreseen(name: str) -> None:
    text, runtime, expected = CASES[name]
    found = outlook(onnx_ig.load(onnx.parser.parse_model(HEAD + text)), runtime)
    assert [one.of for one in found] == [f"target {target}" for target in expected]
    for one, words in zip(found, expected.values(), strict=True):
        assert words in one.refused and bool(words) == bool(one.refused)


def test_a_file_is_held_against_the_table(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(HEAD + TRIANGLE)
    usual = onnx_ig.load(onnx_ig.export(model, tmp_path / "usual.onnx", target=(0, 0)))
    (one,) = outlook(usual, "opencv4")
    for words in ("have open sizes", "it has Loop", "Trilu"):
        assert words in one.refused
    portable = onnx_ig.export(model, tmp_path / "portable.onnx", target=(0, 0), for_runtime="tract", n_steps=2)
    assert outlook(onnx_ig.load(portable), "tract")[0].refused == ""


def test_export_names_every_operator_before_it_writes(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(HEAD + TRIANGLE)
    with pytest.raises(ModelError, match=r"OpenCV 4 \(4\.14\.0\) cannot run .*Trilu \(.*it has no such layer"):
        onnx_ig.export(model, tmp_path / "m.onnx", for_runtime="opencv4", target=(0, 1))
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(HEAD + TRIANGLE), tmp_path / "m.onnx")
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "m.onnx"), "--for", "opencv4"])
    assert done.exit_code == 0 and "target baked: OpenCV 4 (4.14.0) cannot run" in done.stdout, done.output
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "m.onnx"), "--for", "tract", "--json"])
    outlooks = json.loads(done.stdout)["for"]["outlooks"]
    assert [one["refused"] for one in outlooks] == ["", ""]


def test_an_unknown_runtime() -> None:
    with pytest.raises(UsageError, match="did you mean"):
        outlook(onnx_ig.load(onnx.parser.parse_model(HEAD + SINE)), "opencv3")
