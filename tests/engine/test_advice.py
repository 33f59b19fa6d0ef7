"""The error of a fixed number of steps is estimated, and what makes attributions inexact is said with its number."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from click.testing import CliRunner
from sklearn.datasets import load_breast_cancer, load_digits

import onnx_ig
from onnx_ig.attribution.probability import probability
from onnx_ig.cli import app
from onnx_ig.engine.advice import cancelling
from onnx_ig.errors import OnnxIgWarning
from onnx_ig.inspection import inspect
from onnx_ig.loading.model import load
from onnx_ig.quadrature import METHODS

MODELS = Path(__file__).resolve().parents[2] / "models"


def model(nodes: str, output: str = "p", rows: str = "N") -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]> f (float[{rows}, 3] x) => (float[{rows}, 3] {output})
        <float[3, 3] w = {{9, -2, 1, 3, 5, -7, 2, 2, 8}}, int64[1] last = {{-1}}> {{ z = MatMul (x, w)  {nodes} }}"""
    )


def error(found: Any, true: Any) -> Any:
    """Σ |found − true| / Σ |found| of each example."""
    size = np.abs(found).reshape(len(found), -1).sum(axis=1)
    return np.abs(found - true).reshape(len(found), -1).sum(axis=1) / size


@pytest.mark.filterwarnings("ignore::onnx_ig.OnnxIgWarning")
@pytest.mark.parametrize("name", ["digits_cnn", "tabular_mlp"])
def test_the_estimate_of_fixed_steps_is_seldom_below_the_true_error(name: str) -> None:
    """Of every rule, with an even and an odd number of points; a piecewise linear network and a smooth one."""
    if name == "digits_cnn":
        x, start, tightest = (load_digits().images[1400:1430, None] / 16).astype(np.float32), 0, 3.0
    else:
        data = load_breast_cancer().data.astype(np.float32)
        x, start, tightest = data[400:430], data[:400].mean(axis=0, keepdims=True), np.inf
    method = onnx_ig.IntegratedGradients(MODELS / name / f"{name}.onnx", provider="cpu")
    true = method.attribute(x, start, target="predicted", n_steps=1000)
    for rule in METHODS:
        for steps in (50, 75):
            found = method.explain(x, start, target="predicted", n_steps=steps, method=rule)
            ratio = found.error_estimate / error(found.attributions, true)
            one_sided = rule in ("riemann_left", "riemann_right")
            assert (ratio >= (0.3 if one_sided else 0.7)).all(), (rule, steps, ratio.min())
            assert one_sided or (ratio >= 1).mean() >= 0.9, (rule, steps, ratio)
            assert np.median(ratio) < tightest, (rule, steps, np.median(ratio))


def test_the_estimate_changes_the_attributions_by_rounding_alone() -> None:
    smooth = model("p = Tanh (z)")
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    method = onnx_ig.IntegratedGradients(smooth, provider="cpu")
    for batch in (None, 7):
        seen: list[tuple[int, int]] = []
        found = method.explain(
            x, target=1, n_steps=21, internal_batch_size=batch, progress=lambda *now, seen=seen: seen.append(now)
        )
        assert np.allclose(found.attributions, method.attribute(x, target=1, n_steps=21), rtol=1e-5, atol=1e-6)
        assert seen == sorted(seen) and seen[-1] == (105, 105)
        assert found.error_estimate.shape == (5,) and found.steps_used is None
    one = onnx_ig.IntegratedGradients(model("p = Tanh (z)", rows="1"), provider="cpu", batch_axis=None)
    alone = one.explain(x[:1], target=(0, 1), n_steps=21)
    assert np.allclose(alone.error_estimate, found.error_estimate[:1], rtol=1e-3)
    assert method.explain(x, target=1, n_steps=1).error_estimate is None
    inner = onnx_ig.IntegratedGradients(smooth, at="z", provider="cpu").explain(x, target=1, n_steps=21)
    local = onnx_ig.IntegratedGradients(smooth, multiply_by_inputs=False, provider="cpu").explain(x, target=1)
    assert np.isfinite(inner.error_estimate).all() and (local.error_estimate < 0.05).all()


# the nodes from z to the output, which operator makes it a probability, and the tensor in front; None: it is none
ENDS: dict[str, tuple[str, tuple[str, str] | None]] = {
    "softmax": ("p = Softmax (z)", ("Softmax", "z")),
    "log-softmax": ("p = LogSoftmax (z)", ("LogSoftmax", "z")),
    "sigmoid": ("p = Sigmoid (z)", ("Sigmoid", "z")),
    "softmax that is moved": (
        "s = Softmax (z)  u = Unsqueeze (s, last)  q = Squeeze (u, last)  p = Identity (q)",
        ("Softmax", "z"),
    ),
    "logarithm of a softmax": ("s = Softmax (z)  p = Log (s)", ("Softmax", "z")),
    "softmax written out": (
        "m = ReduceMax (z, last)  d = Sub (z, m)  e = Exp (d)  s = ReduceSum (e, last)  p = Div (e, s)",
        ("Softmax", "z"),
    ),
    "softmax without its largest": ("e = Exp (z)  s = ReduceSum (e, last)  p = Div (e, s)", ("Softmax", "z")),
    "logits": ("p = Identity (z)", None),
    "a sigmoid that is not the end": ("s = Sigmoid (z)  p = Mul (s, z)", None),
    "another quotient": ("e = Exp (z)  h = Mul (z, z)  s = ReduceSum (h, last)  p = Div (e, s)", None),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_probability_and_its_logits_are_named(name: str, tmp_path: Path) -> None:
    nodes, expected = ENDS[name]
    found = probability(load(model(nodes)), "p")
    assert (None if found is None else (found.op_type, found.logits)) == expected
    x = np.full((1, 3), 0.1, np.float32)
    listed = inspect(model(nodes)).probabilities
    assert [(one.output, one.op_type, one.logits) for one in listed] == ([("p", *expected)] if expected else [])
    with warnings.catch_warnings():  # advice warns of nothing
        warnings.simplefilter("error", OnnxIgWarning)
        said = onnx_ig.IntegratedGradients(model(nodes), provider="cpu").explain(x, 0.05, target=1)
    mentioned = [note for note in said.warnings if "F is a probability" in note]
    assert len(mentioned) == (expected is not None)
    if expected:
        assert re.search(rf"\({expected[0]}; \|F\(x\)\| is up to [\d.]+\).* --output z\)", mentioned[0])
        at_logits = onnx_ig.IntegratedGradients(model(nodes), output="z", provider="cpu").explain(x, target=1)
        assert at_logits.scores == pytest.approx(0.1 * (-2 + 5 + 2))
    file = onnx_ig.export(model(nodes), tmp_path / "explained.onnx", target=1, baselines=0.05)
    told = [note for note in onnx_ig.open(file, provider="cpu").explain(x).warnings if "F is a probability" in note]
    assert [re.sub("export the model for", "explain", note) for note in told] == mentioned


def test_a_torch_module_is_told_to_return_its_logits() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Softmax(dim=1)).eval()
    said = onnx_ig.IntegratedGradients(module, provider="cpu").explain(torch.full((1, 3), 0.1), target=1).warnings
    assert any("let the module return what its Softmax is given" in note for note in said)


@pytest.mark.parametrize(
    ("attributions", "change", "words"),
    [
        ([[1.0, -1.01], [1, 1]], [-0.01, 2], "1 of 2 examples cancel .* is 0.01, 0.5 % of .*example 0"),
        ([[1.0, -0.98]], [0.02], "the example cancel .* is 0.02, 1 % of the summed"),
        ([[1.0, -0.8]], [0.2], None),
        ([[0.0, 0.0]], [0.0], None),
        ([[np.nan, 1.0]], [np.nan], None),
    ],
)
def test_attributions_that_cancel_are_said(attributions: Any, change: Any, words: str | None) -> None:
    found = cancelling({"x": np.array(attributions)}, np.array(change), np.zeros(len(change)))
    assert (found is None) == (words is None)
    assert words is None or re.search(words, str(found))


def test_a_large_estimated_error_is_warned_of() -> None:
    steep = model("q = Mul (z, z)  p = Tanh (q)")
    x = np.array([[1.6, -1.2, 2], [0.01, 0, 0]], np.float32)
    method = onnx_ig.IntegratedGradients(steep, provider="cpu")
    with pytest.warns(OnnxIgWarning, match=r"estimated error of the attributions of 1 of 2 examples .* \(example 0\)"):
        found = method.explain(x, target=2, n_steps=8)
    assert found.error_estimate[0] > 0.05 > found.error_estimate[1]
    tolerant = method.explain(x, target=2, tolerance=0.2)
    assert not any("estimated error" in note for note in tolerant.warnings)


def test_the_command_line_and_the_report_say_it(tmp_path: Path) -> None:
    onnx.save(model("p = Softmax (z)"), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.array([[4, -3, 5]], np.float32))
    run = CliRunner().invoke(app, ["inspect", str(tmp_path / "m.onnx")])
    assert "p is a probability (Softmax): its logits, --output z, need fewer path points" in run.stdout
    assert json.loads(CliRunner().invoke(app, ["inspect", str(tmp_path / "m.onnx"), "--json"]).stdout)[
        "probabilities"
    ] == [{"output": "p", "op_type": "Softmax", "logits": "z"}]
    call = [
        "attribute",
        str(tmp_path / "m.onnx"),
        "-i",
        str(tmp_path / "x.npy"),
        "-o",
        str(tmp_path / "r"),
        "--n-steps",
        "6",
    ]
    run = CliRunner().invoke(app, [*call, "--provider", "cpu"])
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert run.exit_code == 0 and report["examples"][0]["error_estimate"] > 0.05
    assert report["examples"][0]["steps_used"] is None
    page = (tmp_path / "r" / "report.html").read_text()
    for words in ("F is a probability (Softmax", "the estimated error of the attributions of the example is above 5 %"):
        assert words in run.stderr and words in page and any(words in note for note in report["warnings"])
    assert "estimated error" in page and " %" in run.stdout


@pytest.mark.filterwarnings("ignore::onnx_ig.OnnxIgWarning")
def test_the_estimate_at_an_inner_tensor_leaves_the_branches_beside_it() -> None:
    """Σ (4 x² + x²): attributions at h = 2x are exact, and do not add up to F(x) − F(x'), which holds x² too."""
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x) => (float[N] y) <int64[1] last = {-1}> {
        c = Constant <value_float = 2.0> ()  h = Mul (x, c)  a = Mul (h, h)  b = Mul (x, x)  s = Add (a, b)
        y = ReduceSum <keepdims = 0> (s, last) }"""
    )
    x = np.array([[3, -4, 1]], np.float32)
    found = onnx_ig.IntegratedGradients(proto, at="h").explain(x, 1.0)
    np.testing.assert_allclose(found.attributions, 4 * (x**2 - 1), rtol=1e-5)
    assert found.error_estimate[0] < 0.01


def test_infinite_attributions_do_not_cancel() -> None:
    assert cancelling({"x": np.array([[np.inf, 1.0]])}, np.array([5.0]), np.array([0.0])) is None
