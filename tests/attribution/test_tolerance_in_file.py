"""A file with a tolerance stops by itself, at the engine's number of steps, with the engine's numbers.

The one idea: the engine's ``tolerance=`` has its own tests against the truth; here each kind of model gets the same
examples by both doors, alone and in batches whose examples end at different levels.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import onnx.parser
import onnxruntime
import openvino
import pytest
from onnx.reference import ReferenceEvaluator
from sklearn.datasets import load_digits

import onnx_ig
from onnx_ig.common.types import Array
from onnx_ig.errors import UsageError
from tests.helpers.networks import NETWORKS, exported

SCHEMA_FILE = Path(onnx_ig.__file__).parent / "attribution" / "contract.schema.json"
SCHEMA = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
MODELS = Path(__file__).resolve().parents[2] / "models"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 4)).astype(np.float32)
POSITIVE = (0.9 + 0.1 * RNG.random((7, 4))).astype(np.float32)
STEEP = np.array([[1], [25], [3], [60], [0.1], [9], [120]], np.float32)  # each example needs another number of steps
Feeds = dict[str, Array]


@dataclass(frozen=True)
class Case:
    """``feeds``: values of seven examples; ``given``: what a call has besides; ``baked``: what the file has instead."""

    source: Any
    feeds: Feeds
    attributed: tuple[str, ...] = ("x",)
    given: dict[str, Any] = field(default_factory=dict)
    baked: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 0.02
    max_steps: int = 1024
    examples: tuple[int, ...] = (1, 2, 7)
    close: float = 1e-5


def model(text: str, **weights: Array) -> onnx.ModelProto:
    made = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> f {text}')
    made.graph.initializer.extend(onnx.numpy_helper.from_array(w, n) for n, w in weights.items())
    return made


def relu_net(size: str = "float", rows: str = "N", classes: int = 3) -> onnx.ModelProto:
    rng = np.random.default_rng(1)
    dtype = {"float": np.float32, "double": np.float64, "float16": np.float16}[size]
    return model(
        f"({size}[{rows}, 4] x) => ({size}[{rows}, {classes}] y)"
        " { a = MatMul (x, w1)  h = Relu (a)  b = MatMul (h, w2)  g = Relu (b)  y = MatMul (g, v) }",
        w1=rng.normal(size=(4, 16)).astype(dtype),
        w2=(rng.normal(size=(16, 16)) / 3).astype(dtype),
        v=rng.normal(size=(16, classes)).astype(dtype),
    )


SIGMOIDS = model(
    "(float[N, 4] x, float[N, 1] s) => (float[N, 1] y) { p = ReduceSum <keepdims = 1> (x, axes)  d = Sub (p, at)"
    "  m = Mul (d, s)  y = Sigmoid (m) }",
    axes=np.array([1]),
    at=np.array(1.4, np.float32),
)
TWO = model(
    "(float[N, 4] x, float[N, 2, 2] z) => (float[N, 2] y) { f = Flatten (z)  m = Mul (x, f)  t = Relu (m)"
    "  y = MatMul (t, w) }",
    w=RNG.normal(size=(4, 2)).astype(np.float32),
)
BRANCHED = model(
    "(float[N, 4] x) => (float[N, 1] y) { a = MatMul (x, w)  h = Tanh (a)  s = Mul (h, h)  b = Mul (x, h)"
    "  c = Add (s, b)  y = MatMul (c, v) }",
    w=RNG.normal(size=(4, 4)).astype(np.float32),
    v=RNG.normal(size=(4, 1)).astype(np.float32),
)
BY_DATA = model(  # which branch is taken depends on the example
    "(float[N, 4] x) => (float[N, 1] y) { r = ReduceSum <keepdims = 0> (x)  k = Greater (r, zero)"
    "  t = If (k) <then_branch = a () => (float[N, 4] p) { q = Sin (x) p = Mul (q, x) },"
    "  else_branch = e () => (float[N, 4] o) { c = Exp (x) o = Sub (c, one) }>"
    "  y = ReduceSum <keepdims = 1> (t, axes) }",
    zero=np.array(0, np.float32),
    one=np.array(1, np.float32),
    axes=np.array([1]),
)
STATES = model(  # the examples on another axis: all of a call stay together
    "(float[N, 4] x, float[2, N, 4] s) => (float[N, 2] y) { a = Gather (s, zero)  b = Gather (s, one)  c = Sin (a)"
    "  m = Mul (x, c)  h = Add (m, b)  p = MatMul (h, w)  y = Relu (p) }",
    zero=np.array(0), one=np.array(1), w=RNG.normal(size=(4, 2)).astype(np.float32),
)  # fmt: skip
JUMP = model("(float[N, 4] x) => (float[N] y) { f = Floor (x)  g = Add (x, f)  y = ReduceSum <keepdims = 0> (g, a) }",
             a=np.array([1]))  # fmt: skip
ROOT = model("(float[N, 4] x) => (float[N] y) { r = Sqrt (x)  y = ReduceSum <keepdims = 0> (r, a) }", a=np.array([1]))
DIGITS = (load_digits().images[1400:1407, None] / 16).astype(np.float32)
MALIGNANT = np.load(MODELS / "tabular_mlp" / "malignant.npy").astype(np.float32)
TABLE = MALIGNANT[:1] * np.linspace(0.4, 1.6, 7, dtype=np.float32)[:, None]


def network(name: str, **options: Any) -> Callable[[], Case]:
    """A network of the tests' table, which takes seconds to export."""

    def made() -> Case:
        row, loaded = NETWORKS[name], exported(name)
        names = [str(x.name) for x in loaded.inputs]
        values = [t.numpy() for t in (*row.inputs(7), *row.extras(7))]
        feeds = dict(zip(names, values, strict=True))
        return Case(loaded, feeds, tuple(names[: len(row.shapes)]), given={"target": 1}, close=1e-4, **options)

    return made


CASES: dict[str, Case | Callable[[], Case]] = {
    "digits": Case(MODELS / "digits_cnn" / "digits_cnn.onnx", {"image": DIGITS}, ("image",),
                   baked={"target": "predicted"}, tolerance=0.05),
    "a table": Case(MODELS / "tabular_mlp" / "tabular_mlp.onnx", {"features": TABLE}, ("features",),
                    given={"target": 1}),
    "a transformer": network("bert", examples=(7,), tolerance=0.05),
    "a vision transformer": network("vit", examples=(2,), tolerance=0.05),
    "several widths": Case(SIGMOIDS, {"x": POSITIVE, "s": STEEP}, options={"per_example": ["s"]}),
    "small runs": Case(SIGMOIDS, {"x": POSITIVE, "s": STEEP}, options={"steps_per_run": 3}),
    "one point a run": Case(SIGMOIDS, {"x": POSITIVE, "s": STEEP}, options={"steps_per_run": 1}, examples=(7,)),
    "too few steps": Case(SIGMOIDS, {"x": POSITIVE, "s": STEEP}, tolerance=0.001, max_steps=31),
    "two inputs": Case(TWO, {"x": X, "z": X[::-1].reshape(7, 2, 2).copy()}, ("x", "z"), given={"target": 1},
                       baked={"baselines": {"x": 0.5, "z": -0.25}}),
    "an array as baseline": Case(relu_net(), {"x": X}, given={"target": 0}, baked={"baselines": {"x": 0.1 * X[:1]}}),
    "baselines given": Case(relu_net(), {"x": X}, given={"target": 0, "baselines": 0.3 * X[::-1].copy()},
                            options={"baselines": "input"}),
    "target per example": Case(relu_net(), {"x": X}, given={"target": [0, 1, 2, 2, 1, 0, 1]}),
    "local": Case(relu_net(), {"x": X}, given={"target": 1}, method={"multiply_by_inputs": False},
                  options={"multiply_by_inputs": False}, baked={"baselines": 0.3}),
    "double": Case(relu_net("double"), {"x": X.astype(np.float64)}, given={"target": 1}, close=1e-12),
    "half": Case(relu_net("float16"), {"x": X.astype(np.float16)}, given={"target": 1}, close=1e-3),
    "fixed batch": Case(relu_net(rows="2"), {"x": X}, given={"target": 1}, examples=(2,)),
    "one example": Case(relu_net(rows="3"), {"x": X}, given={"target": (1, 0)}, method={"batch_axis": None},
                        options={"batch_axis": None}, examples=(3,)),
    "inside": Case(BRANCHED, {"x": X}, method={"at": ["h"]}, options={"at": ["h"]}),
    "inside and at the input": Case(BRANCHED, {"x": X}, method={"at": ["h", "x"]}, options={"at": ["h", "x"]}),
    "by the data": Case(BY_DATA, {"x": X}),
    "rows elsewhere": Case(STATES, {"x": X, "s": np.stack([X, 2 * X[::-1]])}, given={"target": 1}),
    "a jump": Case(JUMP, {"x": 2 * POSITIVE}, examples=(1, 7)),
    "a root": Case(ROOT, {"x": POSITIVE}, examples=(1, 2)),
    "at the baseline": Case(relu_net(), {"x": np.zeros((7, 4), np.float32)}, given={"target": 1}, examples=(2,)),
}  # fmt: skip
EVERYWHERE = ("several widths", "too few steps", "two inputs", "fixed batch", "by the data", "a root")


def first(case: Case, n: int) -> tuple[Feeds, dict[str, Any]]:
    """The feeds and arguments of the first ``n`` examples."""
    feeds = {name: v[:, :n] if name == "s" and v.ndim == 3 else v[:n] for name, v in case.feeds.items()}
    given = {name: v[:n] if isinstance(v, (list, np.ndarray)) else v for name, v in case.given.items()}
    return feeds, given


@pytest.mark.filterwarnings("ignore:the attributions of .* do not add up", "ignore:.* are not within the tolerance")
@pytest.mark.filterwarnings("ignore:.*equal their baseline", "ignore:.*equals? (its|their) baseline")
@pytest.mark.parametrize("name", CASES)
def test_the_file_stops_as_the_engine(name: str, tmp_path: Path) -> None:
    made = CASES[name]
    case = made if isinstance(made, Case) else made()
    rule = {"tolerance": case.tolerance, "max_steps": case.max_steps}
    file = onnx_ig.export(
        case.source, tmp_path / "f.onnx", inputs=list(case.attributed), **case.baked, **case.options, **rule
    )
    engine = onnx_ig.IntegratedGradients(case.source, provider="cpu", **case.method)
    opened = onnx_ig.open(file, provider="cpu")
    assert opened.contract.baked["path"] == {"method": "nested-clenshaw-curtis", **rule}
    SCHEMA.validate(json.loads(opened.contract.to_json()))
    seen: set[int] = set()
    for n in case.examples:
        feeds, given = first(case, n)
        inputs = {name: feeds[name] for name in case.attributed}
        extra = {name: v for name, v in feeds.items() if name not in inputs} or None
        want = engine.explain(inputs, additional_forward_args=extra, **given, **case.baked, **rule)
        found = opened.explain(inputs, additional_forward_args=extra, **given)
        assert found.steps_used.tolist() == want.steps_used.tolist(), (n, found.error_estimate, want.error_estimate)
        seen |= set(found.steps_used.tolist())
        np.testing.assert_allclose(found.error_estimate, want.error_estimate, rtol=1e-3, atol=10 * case.close)
        for key in ("scores", "baseline_scores", "convergence_delta"):
            values = getattr(want, key)
            np.testing.assert_allclose(getattr(found, key), values, atol=case.close * max(1, np.abs(want.scores).max()))
        pairs = [(found.attributions, want.attributions)]
        if isinstance(want.attributions, dict):
            pairs = [(found.attributions[k], value) for k, value in want.attributions.items()]
        elif isinstance(want.attributions, list):
            several = found.attributions if len(want.attributions) > 1 else [found.attributions]
            pairs = list(zip(several, want.attributions, strict=True))
        for got, wanted in pairs:
            assert got.dtype == wanted.dtype
            np.testing.assert_allclose(got, wanted, rtol=0, atol=case.close * max(np.abs(wanted).max(), 1e-6))
        assert any("not within" in w for w in found.warnings) == (name == "too few steps" and n > 1)
        if name in EVERYWHERE and n == case.examples[-1]:
            _other_runtimes_agree(file, case, feeds, found, given)
    if name in ("digits", "several widths", "small runs", "too few steps"):
        assert len(seen) >= 3  # examples of one batch ended at different levels


def _other_runtimes_agree(file: Path, case: Case, feeds: Feeds, found: Any, given: dict[str, Any]) -> None:
    """onnx's reference evaluator and OpenVINO; ``tools.runtimes`` has a column for each of all five runtimes."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_inputs()]
    n = len(feeds[case.attributed[0]])
    fed = {**feeds, "target": np.full(n, given.get("target", 0), np.int64)}
    fed = {name: fed[name] for name in names}
    want = dict(zip([y.name for y in session.get_outputs()], session.run(None, fed), strict=True))
    assert want["steps_used"].tolist() == found.steps_used.tolist()
    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(fed)
    with np.errstate(all="ignore"):
        evaluated = dict(zip(want, ReferenceEvaluator(str(file)).run(None, fed), strict=True))
    for other in ({name: compiled[name] for name in want}, evaluated):
        assert other["steps_used"].ravel().tolist() == want["steps_used"].tolist()
        for name, value in want.items():
            scale = max(1.0, float(np.abs(value).max()))
            rows = other[name].reshape(value.shape)  # the evaluator stacks the numbers of a loop as a column
            np.testing.assert_allclose(rows, value, rtol=1e-3, atol=1e-4 * min(scale, 10), err_msg=name)


def test_targets_out_of_range_end_the_loop_and_give_nan(tmp_path: Path) -> None:
    file = onnx_ig.export(relu_net(), tmp_path / "f.onnx", tolerance=0.02)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [y.name for y in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"x": X[:3], "target": np.array([1, 3, -1])}), strict=True))
    assert np.isnan(found["error_estimate"][1:]).all() and np.isnan(found["attribution_x"][1:]).all()
    right = dict(zip(names, session.run(None, {"x": X[:1], "target": np.array([1])}), strict=True))
    assert found["steps_used"].tolist() == [*right["steps_used"], 0, 0]
    assert np.allclose(found["attribution_x"][:1], right["attribution_x"])


@pytest.mark.filterwarnings("ignore:.* are not within the tolerance")
def test_examples_that_are_not_finite_do_not_keep_the_others(tmp_path: Path) -> None:
    file = onnx_ig.export(relu_net(), tmp_path / "f.onnx", tolerance=0.02, target=1)
    x = X[:3].copy()
    x[1, 2] = np.nan
    opened = onnx_ig.open(file, provider="cpu")
    found, alone = opened.explain(x, allow_nonfinite=True), opened.explain(X[:1])
    assert np.isnan(found.error_estimate).tolist() == [False, True, False] and found.steps_used[1] == 4
    assert np.allclose(found.attributions[0], alone.attributions[0]) and found.steps_used[0] == alone.steps_used[0]
    engine = onnx_ig.IntegratedGradients(relu_net(), provider="cpu")
    want = engine.explain(x, target=1, tolerance=0.02, allow_nonfinite=True)
    assert want.steps_used.tolist() == found.steps_used.tolist()
    assert np.isnan(want.error_estimate).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_steps": 50}, "n_steps= .*contradict"),
        ({"method": "riemann_left"}, "method= .*contradict"),
        ({"max_steps": 7}, "max_steps is 7: .*8 or more"),
        ({"tolerance": None, "max_steps": 64}, "goes with tolerance="),
        ({"tolerance": 1.5}, "between 0 and 1"),
        ({"form": "step"}, "form='step' has none"),
        ({"steps_per_run": 0}, "steps_per_run=0 has none"),
        ({"path_as_input": True}, "path_as_input= .*contradict"),
        ({"algorithm": "input-x-gradient"}, "goes with integrated-gradients"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        onnx_ig.export(relu_net(), tmp_path / "f.onnx", **{"tolerance": 0.01, **options})
    assert not (tmp_path / "f.onnx").exists()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"tolerance": 0.01}, "tolerance= .*0.01: this attribution model has 0.02 baked"),
        ({"max_steps": 64}, "max_steps= .*64: this attribution model has 1024 baked"),
        ({"n_steps": 50}, "n_steps= .*50: this attribution model has a tolerance of 0.02 baked"),
        ({"method": "riemann_left"}, "method= .*riemann_left: this"),
    ],
)
def test_what_is_baked_is_held_to(asked: dict[str, Any], words: str, tmp_path: Path) -> None:
    opened = onnx_ig.open(onnx_ig.export(relu_net(), tmp_path / "f.onnx", tolerance=0.02, target=1))
    with pytest.raises(UsageError, match=words):
        opened.attribute(X, **asked)
    assert np.array_equal(opened.attribute(X, tolerance=0.02, max_steps=1024), opened.attribute(X))
