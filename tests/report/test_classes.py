"""The classes that a report shows beside an example: which, how large their shares are, and what these are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.common.types import Array
from onnx_ig.engine.engine import Engine
from onnx_ig.errors import InputError
from onnx_ig.methods import strongest_classes
from onnx_ig.report.classes import class_shares
from tests.helpers.several_classes import X, model, net

LOGITS = [2.0, -1.0, 3.0, 0.5, 1e3, -4.0, 2.0]
SURE = torch.tensor(LOGITS[:4] + LOGITS[5:]).softmax(0).tolist()
RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 8)).astype(np.float32)
SCORES = model("(float[N, 4] x) => (float[N, 8] y) { y = MatMul (x, w) }", w=W)
LOG = model("(float[N, 4] x) => (float[N, 8] y) { z = MatMul (x, w)  y = LogSoftmax (z) }", w=W)
LABELS = model("(float[N, 4] x) => (float[N, 8] y) { z = MatMul (x, w)  y = Sigmoid (z) }", w=W)
SOFTENED = model("(float[N, 4] x) => (float[N, 8] y, float[N, 8] z) { z = MatMul (x, w)  y = Softmax (z) }", w=W)
LABELS_TOO = model("(float[N, 4] x) => (float[N, 8] y, float[N, 8] z) { z = MatMul (x, w)  y = Sigmoid (z) }", w=W)
CHOSEN = model(
    "(float[N, 4] x) => (float[N, 8] y, int64[N] k) { y = MatMul (x, w)  k = ArgMax <axis = 1, keepdims = 0> (y) }", w=W
)
LOGITS_OF_CLASSES = model("(float[N, 4] x) => (float[N, 8] logits) { logits = MatMul (x, w) }", w=W)
ONE = model("(float[N, 4] x) => (float[N, 1] y) { y = MatMul (x, w) }", w=W[:, :1])

# the outputs, the attributed classes, what they are said to be; what they are, and what is shown
ROWS: dict[str, tuple[list[float], list[int], str, str, list[int]]] = {
    "logits": (LOGITS, [4], "softmax", "softmax", [4, 2, 0, 6, 3]),
    "weak class attributed": (LOGITS, [5], "softmax", "softmax", [4, 2, 0, 6, 5]),
    "several attributed": (LOGITS, [5, 1, 4], "softmax", "softmax", [4, 2, 0, 1, 5]),
    "more attributed than shown": (LOGITS, [5, 1, 4, 0, 6, 3], "softmax", "softmax", [4, 0, 6, 3, 1, 5]),
    "logits of labels apart": (LOGITS, [4], "sigmoid", "sigmoid", [4, 2, 0, 6, 3]),
    "no classes": (LOGITS, [4], "value", "value", [4, 2, 0, 6, 3]),
    "probabilities of which nothing is told": (SURE, [0], "value", "probability", [2, 0, 5, 3, 1]),
    "probabilities": (SURE, [0], "softmax", "probability", [2, 0, 5, 3, 1]),
    "two classes": ([0.25, 0.75], [0], "value", "probability", [1, 0]),
    "labels apart": ([0.9, 0.8, 0.1], [1], "probability", "probability", [0, 1, 2]),
    "logarithms": (np.log(SURE).tolist(), [0], "probability", "probability", [2, 0, 5, 3, 1]),
    "no probabilities after all": ([2.0, -1.0], [0], "probability", "value", [0, 1]),
    "not finite": ([np.nan, 1.0], [1], "softmax", "softmax", []),
    "infinite": ([np.inf, 1.0], [1], "softmax", "softmax", []),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_strongest_classes_and_their_shares(name: str) -> None:
    output, targets, said, kind, classes = ROWS[name]
    (found,) = class_shares(np.array([output], np.float32), np.array([targets]), said, "so")
    assert (found.kind, list(found.classes)) == (kind, classes) and found.why
    shares = torch.tensor(output, dtype=torch.float64)
    if kind in ("softmax", "sigmoid"):
        shares = shares.softmax(0) if kind == "softmax" else shares.sigmoid()
    elif name == "logarithms":
        shares = shares.exp()
    np.testing.assert_allclose(found.shares, shares[classes], rtol=1e-6, atol=1e-12)


def test_a_single_row_that_adds_up_to_one_makes_no_probabilities_of_all() -> None:
    one, other = class_shares(np.array([[0.25, 0.75], [3, 4]]), np.array([[0], [0]]), "value")
    assert one.kind == other.kind == "value" and other.shares == (4.0, 3.0)


def _softmax(z: Array) -> Array:
    found: Array = torch.from_numpy(z).double().softmax(1).numpy()
    return found


def _sigmoid(z: Array) -> Array:
    found: Array = torch.from_numpy(z).double().sigmoid().numpy()
    return found


# the model, options, the shares of its output, what they are
_BAKED = ("logits of a softmax", "logits of labels apart", "gradient", "several targets", "indices, in pieces")
REPORTED: dict[str, tuple[onnx.ModelProto, str, Any, str]] = {
    "probabilities": (net(), "", lambda y: y, "probability"),
    "logits": (LOGITS_OF_CLASSES, "", _softmax, "softmax"),
    "a regression": (SCORES, "", lambda y: y, "value"),
    "classes with names": (SCORES, "--names names.json", _softmax, "softmax"),
    "logarithms": (LOG, "", np.exp, "probability"),
    "labels apart": (LABELS, "--target 2", lambda y: y, "probability"),
    "logits of a softmax": (SOFTENED, "--output z", _softmax, "softmax"),
    "logits of labels apart": (LABELS_TOO, "--output z", _sigmoid, "sigmoid"),
    "logits of an arg max": (CHOSEN, "", _softmax, "softmax"),
    "in pieces": (LOGITS_OF_CLASSES, "--rows-per-file 2", _softmax, "softmax"),
    "several targets": (LOGITS_OF_CLASSES, "--targets top-3", _softmax, "softmax"),
    "indices, in pieces": (LOGITS_OF_CLASSES, "--targets 0,1 --rows-per-file 2", _softmax, "softmax"),
    "gradient": (LOGITS_OF_CLASSES, "--algorithm input-x-gradient", _softmax, "softmax"),
    "fixed batch": (net("3"), "--target 1", lambda y: y, "probability"),
}


@pytest.mark.parametrize("door", ["model", "file"])
@pytest.mark.parametrize("name", REPORTED)
def test_a_report_tells_what_the_model_says_of_its_classes(
    name: str, door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, options, shares_of, kind = REPORTED[name]
    rows = X[:3] if name == "fixed batch" else X
    monkeypatch.chdir(tmp_path)
    onnx.save(made, "m.onnx")
    np.save("x.npy", rows)
    Path("names.json").write_text(json.dumps([f"class {i}" for i in range(8)]))
    output = "z" if "--output z" in options else made.graph.output[0].name
    shares = shares_of(onnxruntime.InferenceSession("m.onnx").run([output], {"x": rows})[0])
    if door == "file":
        baked = options.replace("--rows-per-file 2", "").split() if name in _BAKED else []
        assert CliRunner().invoke(app, ["export", "m.onnx", "-o", "f.onnx", *baked]).exit_code == 0
        options = "" if name in _BAKED else options
        monkeypatch.setattr(Engine, "outputs", None)  # what the file gives is enough: there is no other Run
    source = "m.onnx" if door == "model" else "f.onnx"
    done = CliRunner().invoke(app, f"attribute {source} -i x.npy -o out {options}".split())
    assert done.exit_code == 0, done.output + done.stderr
    report = json.loads(Path("out/report.json").read_text())
    assert len(report["examples"]) == len(rows) * report["targets"]
    for example in report["examples"]:
        own, strongest = shares[example["example"]], example["classes"]["strongest"]
        found = {one["class"]: one["share"] for one in strongest}
        assert example["classes"]["share"] == kind and len(found) == 5 and example["target"] in found
        np.testing.assert_allclose([*found.values()], own[[*found]], rtol=1e-4)
        assert [*found.values()] == sorted(found.values(), reverse=True)
        assert int(own.argmax()) in found and example["classes"]["why"]
    words = "The largest outputs, as they are" if kind == "value" else f"The strongest classes, by {kind}"
    assert words in Path("out/report.html").read_text()


def _no_run(*_: Any) -> None:
    raise AssertionError("a Run for the classes alone")


# how a method is asked, of which the model's output is known without a further Run
FREE: dict[str, Any] = {
    "predicted": lambda m: [onnx_ig.IntegratedGradients(m).explain(X, target="predicted")],
    "several": lambda m: onnx_ig.IntegratedGradients(m).explain_targets(X, "top-2"),
    "gradient": lambda m: [onnx_ig.InputXGradient(m).explain(X, target="predicted")],
    "file": lambda m: [onnx_ig.open(onnx_ig.export(m, "f.onnx")).explain(X, target=2)],
    "several of a file": lambda m: onnx_ig.open(onnx_ig.export(m, "f.onnx", targets="top-2")).explain_targets(X),
}


@pytest.mark.parametrize("asked", FREE)
def test_python_keeps_the_output_that_was_computed_anyway(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(strongest_classes, "outputs_of_first", _no_run)
    first, *others = FREE[asked](SCORES)
    np.testing.assert_allclose(first.outputs, X @ W, atol=1e-5)
    first.save("out", others=others)
    report = json.loads(Path("out/report.json").read_text())
    assert report["targets"] == 1 + len(others)
    assert {example["classes"]["share"] for example in report["examples"]} == {"value"}
    assert ('class="choice"' in Path("out/report.html").read_text()) == bool(others)
    named = first.named(classes=[f"class {i}" for i in range(8)])
    (expected, *_) = _softmax(X @ W)
    found = named.report.classes[0]
    assert found.kind == "softmax"
    np.testing.assert_allclose(found.shares, expected[[*found.classes]], rtol=1e-4)


def test_other_examples_are_no_further_targets(tmp_path: Path) -> None:
    method = onnx_ig.IntegratedGradients(SCORES)
    with pytest.raises(InputError, match="others="):
        method.explain(X, target=1).save(tmp_path / "out", others=[method.explain(X[:2], target=1)])


def test_one_number_per_example_is_no_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(ONE, "m.onnx")
    np.save("x.npy", X)
    assert CliRunner().invoke(app, ["attribute", "m.onnx", "-i", "x.npy", "-o", "out"]).exit_code == 0
    assert not any("classes" in example for example in json.loads(Path("out/report.json").read_text())["examples"])
