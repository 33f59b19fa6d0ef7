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

from onnx_ig.cli import app
from onnx_ig.common.types import Array
from onnx_ig.report.classes import class_shares
from tests.helpers.several_classes import X, model, net

LOGITS = [2.0, -1.0, 3.0, 0.5, 1e3, -4.0, 2.0]
SURE = torch.tensor(LOGITS[:4] + LOGITS[5:]).softmax(0).tolist()
RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 8)).astype(np.float32)
SCORES = model("(float[N, 4] x) => (float[N, 8] y) { y = MatMul (x, w) }", w=W)
LOG = model("(float[N, 4] x) => (float[N, 8] y) { z = MatMul (x, w)  y = LogSoftmax (z) }", w=W)
LABELS = model("(float[N, 4] x) => (float[N, 8] y) { z = MatMul (x, w)  y = Sigmoid (z) }", w=W)
ONE = model("(float[N, 4] x) => (float[N, 1] y) { y = MatMul (x, w) }", w=W[:, :1])

# the output, the attributed classes, whether it is known to hold probabilities; what is shown
ROWS: dict[str, tuple[list[float], list[int], bool, str, list[int]]] = {
    "logits": (LOGITS, [4], False, "softmax", [4, 2, 0, 6, 3]),
    "weak class attributed": (LOGITS, [5], False, "softmax", [4, 2, 0, 6, 5]),
    "several attributed": (LOGITS, [5, 1, 4], False, "softmax", [4, 2, 0, 1, 5]),
    "more attributed than shown": (LOGITS, [5, 1, 4, 0, 6, 3], False, "softmax", [4, 0, 6, 3, 1, 5]),
    "probabilities": (SURE, [0], False, "probability", [2, 0, 5, 3, 1]),
    "two classes": ([0.25, 0.75], [0], False, "probability", [1, 0]),
    "labels apart": ([0.9, 0.8, 0.1], [1], True, "probability", [0, 1, 2]),
    "logarithms": (np.log(SURE).tolist(), [0], True, "probability", [2, 0, 5, 3, 1]),
    "not finite": ([np.nan, 1.0], [1], False, "softmax", []),
    "infinite": ([np.inf, 1.0], [1], False, "softmax", []),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_strongest_classes_and_their_shares(name: str) -> None:
    output, targets, known, kind, classes = ROWS[name]
    (found,) = class_shares(np.array([output], np.float32), np.array([targets]), are_probabilities=known)
    assert (found.kind, list(found.classes)) == (kind, classes)
    shares = torch.tensor(output, dtype=torch.float64)
    if kind == "softmax":
        shares = shares.softmax(0)
    elif name == "logarithms":
        shares = shares.exp()
    np.testing.assert_allclose(found.shares, shares[classes], rtol=1e-6, atol=1e-12)


def _softmax(z: Array) -> Array:
    found: Array = torch.from_numpy(z).double().softmax(1).numpy()
    return found


# the model, options, the shares of its output, what they are
REPORTED: dict[str, tuple[onnx.ModelProto, str, Any, str]] = {
    "probabilities": (net(), "", lambda y: y, "probability"),
    "logits": (SCORES, "", _softmax, "softmax"),
    "logarithms": (LOG, "", np.exp, "probability"),
    "labels apart": (LABELS, "--target 2", lambda y: y, "probability"),
    "in pieces": (SCORES, "--rows-per-file 2", _softmax, "softmax"),
    "several targets": (SCORES, "--targets top-3", _softmax, "softmax"),
    "indices, in pieces": (SCORES, "--targets 0,1 --rows-per-file 2", _softmax, "softmax"),
    "gradient": (SCORES, "--algorithm input-x-gradient", _softmax, "softmax"),
    "fixed batch": (net("3"), "--target 1", lambda y: y, "probability"),
}


@pytest.mark.parametrize("name", REPORTED)
def test_a_report_tells_what_the_model_says_of_its_classes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, options, shares_of, kind = REPORTED[name]
    rows = X[:3] if name == "fixed batch" else X
    monkeypatch.chdir(tmp_path)
    onnx.save(made, "m.onnx")
    np.save("x.npy", rows)
    shares = shares_of(onnxruntime.InferenceSession("m.onnx").run(None, {"x": rows})[0])
    done = CliRunner().invoke(app, f"attribute m.onnx -i x.npy -o out {options}".split())
    assert done.exit_code == 0, done.output + done.stderr
    report = json.loads(Path("out/report.json").read_text())
    assert len(report["examples"]) == len(rows) * report["targets"]
    for example in report["examples"]:
        own, strongest = shares[example["example"]], example["classes"]["strongest"]
        found = {one["class"]: one["share"] for one in strongest}
        assert example["classes"]["share"] == kind and len(found) == 5 and example["target"] in found
        np.testing.assert_allclose([*found.values()], own[[*found]], rtol=1e-4)
        assert [*found.values()] == sorted(found.values(), reverse=True)
        assert int(own.argmax()) in found


def test_one_number_per_example_is_no_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(ONE, "m.onnx")
    np.save("x.npy", X)
    assert CliRunner().invoke(app, ["attribute", "m.onnx", "-i", "x.npy", "-o", "out"]).exit_code == 0
    assert not any("classes" in example for example in json.loads(Path("out/report.json").read_text())["examples"])
