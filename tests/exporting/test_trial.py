"""What is exported is opened and run first: its mistakes are errors that leave nothing, the data's are told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from click.testing import CliRunner

import onnx_ig
from onnx_ig.cli.app import app
from onnx_ig.errors import ModelError, OnnxIgWarning
from onnx_ig.exporting import export as exporting
from onnx_ig.exporting import trial
from onnx_ig.runtime.session import Session

PLAIN = "(float[N, 3] x) => (float[N, 2] y) <float[3, 2] w = {1, -2, 3, 4, -5, 6}> { s = Sin (x) y = MatMul (s, w) }"


def model(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18, "ai.onnx.ml" : 3]> f {text}')


def renamed_operator(built: ir.Model) -> None:
    next(node for node in ir.traversal.RecursiveGraphIterator(built.graph) if node.op_type == "Cos").op_type = "Cosine"


def put_behind(built: ir.Model, op_type: str, values: list[int]) -> None:
    """Let attribution_x go through another operator."""
    place = next(i for i, y in enumerate(built.graph.outputs) if y.name == "attribution_x")
    right = built.graph.outputs[place]
    constant = ir.Value(name="of_a_mistake", const_value=ir.tensor(np.array(values), name="of_a_mistake"))
    built.graph.register_initializer(constant)
    node = ir.node(op_type, [right, constant])
    built.graph.append(node)
    right.name, node.outputs[0].name, node.outputs[0].type = "attribution_before", "attribution_x", right.type
    built.graph.outputs[place] = node.outputs[0]


def another_shape(built: ir.Model) -> None:
    put_behind(built, "Unsqueeze", [0])


def one_example_only(built: ir.Model) -> None:
    put_behind(built, "Reshape", [1, 3])


MISTAKES: dict[str, tuple[Callable[[ir.Model], None], str]] = {
    "it does not open": (renamed_operator, "does not work"),
    "it gives another shape": (another_shape, "of shape"),
    "it runs for one example only": (one_example_only, "does not work"),
}


@pytest.mark.parametrize("case", MISTAKES)
@pytest.mark.parametrize("form", ["complete", "step"])
def test_a_mistake_of_ours_is_an_error_and_leaves_nothing(
    case: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil, words = MISTAKES[case]
    right = exporting.build

    def wrong(*args: Any, **keywords: Any) -> ir.Model:
        built = right(*args, **keywords)
        spoil(built)
        return built

    monkeypatch.setattr(exporting, "build", wrong)
    (tmp_path / "there.onnx").write_text("mine")
    with pytest.raises(ModelError, match=words):
        onnx_ig.export(model(PLAIN), tmp_path / "ig.onnx", form=form)
    with pytest.raises(ModelError, match="nothing was written"):
        onnx_ig.export(model(PLAIN), tmp_path / "there.onnx", form=form, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["there.onnx"]
    assert (tmp_path / "there.onnx").read_text() == "mine"
    onnx.save(model(PLAIN), tmp_path / "m.onnx")
    command = ["export", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "ig.onnx"), "--form", form]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 3 and "please report it" in done.stderr and not (tmp_path / "ig.onnx").exists()


EMBEDDING = """(int64[N, T] ids, float[N, T] mask) => (float[N, 2] y)
<float[4, 2] table = {1, 2, 3, 4, 5, 6, 7, 8}, int64[1] last = {2}, int64[1] one = {1}> {
  e = Gather (table, ids) m = Unsqueeze (mask, last) p = Mul (e, m) t = Tanh (p)
  y = ReduceSum <keepdims = 0> (t, one) }"""
ONE_WORD = EMBEDDING.replace("float[4, 2] table = {1, 2, 3, 4, 5, 6, 7, 8}", "float[1, 2] table = {1, 2}")
PICTURE = """(float[N, 3, H, W] x) => (float[N, 3] y) <int64[2] a = {2, 3}> {
  c = AveragePool <kernel_shape = [40, 40]> (x) y = ReduceMean <keepdims = 0> (c, a) }"""
WORDS = """(string[N, 1] s, float[N, 1] x) => (float[N, 2] y) {
  c = ai.onnx.ml.OneHotEncoder <cats_strings = ["red", "blue"], zeros = 0> (s)
  r = Flatten <axis = 1> (c) b = Sin (x) y = Mul (r, b) }"""
TEN = """(float[N, T] x) => (float[M, 10] y) <int64[2] s = {-1, 10}> { r = Reshape (x, s) y = Sin (r) }"""

# the model, how it is exported, what the warning says (none: it was run for one example and for two)
RUN: dict[str, tuple[str, dict[str, Any], str]] = {
    "plain": (PLAIN, {}, ""),
    "step form": (PLAIN, {"form": "step", "baselines": "input"}, ""),
    "input x gradient": (PLAIN, {"algorithm": "input-x-gradient"}, ""),
    "path as input": (PLAIN, {"path_as_input": True, "target": "predicted"}, ""),
    "ids and an open length": (EMBEDDING, {"at": "e"}, ""),
    "pictures of an open size": (PICTURE, {}, ""),
    "text that the model knows": (WORDS, {}, ""),
    "one example": (PLAIN.replace("N, ", ""), {}, ""),
    "two examples": (PLAIN.replace("N", "2"), {}, ""),
    "sizes that were not guessed": (TEN, {"batch_axis": None, "target": (0, 1)}, "the model itself fails on drawn"),
    "an example": (
        TEN,
        {"batch_axis": None, "target": (0, 1), "example_inputs": {"x": np.ones((1, 20), np.float32)}},
        "",
    ),
    "a table of one word": (ONE_WORD, {"at": "e"}, ""),
    "an infinite slope": (
        "(float[N, 3] x) => (float[N, 3] y) { y = Sqrt (x) }", {"method": "riemann_left"}, "infinite",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RUN)
def test_what_is_written_was_run(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, keywords, words = RUN[case]
    ran: list[int] = []
    right = Session.run

    def counted(self: Session, feeds: Any, outputs: Any = None) -> Any:
        results = right(self, feeds, outputs)
        if any(name.startswith("attribution_") for name in self.output_names):
            ran.append(len(next(iter(feeds.values()))))
        return results

    monkeypatch.setattr(Session, "run", counted)
    if words:
        with pytest.warns(OnnxIgWarning, match=words):
            path = onnx_ig.export(model(text), tmp_path / "ig.onnx", **keywords)
    else:
        path = onnx_ig.export(model(text), tmp_path / "ig.onnx", **keywords)
        assert ran == ([1, 2] if "N" in text and keywords.get("batch_axis", 0) == 0 else ran[:1]) and ran
    assert path.is_file()
    onnx.checker.check_model(path)


def test_models_of_a_gigabyte_are_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_LARGE", 0)
    judged: list[int] = []
    right = trial._judge
    monkeypatch.setattr(trial, "_judge", lambda *rest: (judged.append(len(rest[1]["x"])), right(*rest)))
    onnx_ig.export(model(PLAIN), tmp_path / "ig.onnx")
    assert judged == [1]


def not_checked() -> Any:
    """What cannot be run cannot be asked either whether it mixes examples."""
    return pytest.warns(OnnxIgWarning, match="not checked that the model treats its examples apart")


def test_a_model_that_no_runtime_here_opens_is_written_and_told(tmp_path: Path) -> None:
    text = "(double[N, 3, 3] x) => (double[N] y) { y = Det (x) }"
    with not_checked(), pytest.warns(OnnxIgWarning, match="was not run: ONNX Runtime opens the model itself no more"):
        onnx_ig.export(model(text), tmp_path / "ig.onnx")
    assert (tmp_path / "ig.onnx").is_file()


def test_without_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with not_checked(), pytest.warns(OnnxIgWarning, match="was not run: ONNX Runtime is not installed"):
        onnx_ig.export(model(PLAIN), tmp_path / "ig.onnx")
    onnx.save(model(PLAIN), tmp_path / "m.onnx")
    done = CliRunner().invoke(app, ["export", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "other.onnx")])
    assert done.exit_code == 0 and "warning: other.onnx was not run" in done.stderr
