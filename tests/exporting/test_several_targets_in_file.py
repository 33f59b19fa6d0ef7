"""Several targets in one file: the numbers of a file for each, from one forward pass at each path point.

The one idea: files for one target have their own tests against the truth; here a file for several is held against them,
in every form and runtime, and once more against torch in float64.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
import torch
from sklearn.datasets import load_digits

import onnx_ig
from onnx_ig.attribution.contract import KEY
from onnx_ig.checking.conformance import conform
from onnx_ig.checking.runtimes import runtime_named
from onnx_ig.common.types import Array
from onnx_ig.errors import InputError, UsageError
from tests.helpers.several_classes import CHOICE, DIGITS, MAPS, ROWS, STATES, X, Z, model, net

SCHEMA_FILE = Path(onnx_ig.__file__).parent / "attribution" / "contract.schema.json"
SCHEMA = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
IMAGES = (load_digits().images[1400:1402, None] / 16).astype(np.float32)
RELU = model(
    "(float[N, 4] x) => (float[N, 3] y) { a = MatMul (x, w)  h = Relu (a)  y = MatMul (h, v) }",
    w=np.random.default_rng(7).normal(size=(4, 8)).astype(np.float32),
    v=np.random.default_rng(8).normal(size=(8, 3)).astype(np.float32),
)
# source, what is fed, the targets, options of the export beside them, options of the single files alone
CASES: dict[str, tuple[Any, dict[str, Array], Any, dict[str, Any]]] = {
    "loop": (net(), {"x": X}, "top-3", {"n_steps": 20}),
    "no loop": (net(), {"x": X}, [1, 4], {"n_steps": 6, "steps_per_run": 0}),
    "portable": (net(), {"x": X[:1]}, "top-2", {"n_steps": 20, "portable": True}),
    "portable batch": (RELU, {"x": X[:2]}, [2, 0], {"n_steps": 6, "portable": True, "batch": 2}),
    "tolerance": (RELU, {"x": X}, "top-3", {"tolerance": 0.02}),
    "path as input": (net(), {"x": X}, [1, 4], {"path_as_input": True}),
    "input x gradient": (net(), {"x": X}, "top-3", {"algorithm": "input-x-gradient"}),
    "as an input": (net(), {"x": X}, "input-2", {"n_steps": 6}),
    "positions as an input": (MAPS, {"x": X}, "input-2", {"n_steps": 6}),
    "positions": (MAPS, {"x": X}, [(0, 1), (-1, 1)], {"n_steps": 6}),
    "baselines": (net(), {"x": X, "baseline_x": Z}, "top-2", {"n_steps": 6, "baselines": "input"}),
    "rows": (ROWS, {"x": X, "z": Z}, [3, 0], {"n_steps": 6, "inputs": ["x"]}),
    "rows elsewhere": (STATES, {"x": X, "s": np.stack([X, Z])}, "top-2", {"n_steps": 6, "inputs": ["x"]}),
    "by the data": (CHOICE, {"x": X}, "top-2", {"n_steps": 6}),
    "fixed batch": (net("2"), {"x": X[:2]}, "top-2", {"n_steps": 6}),
    "no batch": (net("3"), {"x": X[:3]}, [(0, 1), (2, 5)], {"n_steps": 6, "batch_axis": None}),
    "no batch, tolerance": (net("3"), {"x": X[:3]}, [(0, 1), (2, 5)], {"tolerance": 0.05, "batch_axis": None}),
    "inside": (net(), {"x": X}, "top-2", {"n_steps": 6, "at": "h"}),
    "local": (net(), {"x": X}, "top-2", {"n_steps": 6, "multiply_by_inputs": False}),
    "prefix": (net(), {"x": X}, "top-2", {"n_steps": 6, "prefix": "ig."}),
    "half": (net(size="float16", dtype=np.float16), {"x": X.astype(np.float16)}, "top-2", {"n_steps": 6}),
    "step": (net(), {"x": X}, "top-2", {"form": "step"}),
    "digits": (DIGITS, {"image": IMAGES}, "top-3", {"n_steps": 6}),
}
# the reference evaluator puts what a Loop gives back of each turn on the first axis, where it has several
RUNTIMES = {"digits": ("onnxruntime",), "half": ("onnxruntime",), "by the data": ("onnxruntime", "openvino")}


def written(path: Path, case: str, **target: Any) -> Path:
    source, feeds, _, options = CASES[case]
    own = {name: value for name, value in feeds.items() if not name.startswith("baseline_")}
    return onnx_ig.export(source, path, example_inputs=own, **options, **target)


def rows_of(targets: Any, results: dict[str, Array], prefix: str, examples: int) -> list[Array]:
    """Of each target the index of each example, as a file for one target takes it."""
    used = results.get(f"{prefix}target_used")
    if used is not None:
        return list(used.T)
    rows = [np.tile(np.array(t, np.int64), (examples, 1)) if np.ndim(t) else np.full(examples, t) for t in targets]
    return [np.where(row < 0, row + 2, row) for row in rows]  # an axis of two


@pytest.mark.filterwarnings("ignore::onnx_ig.errors.OnnxIgWarning")
@pytest.mark.parametrize("name", CASES)
def test_a_file_for_several_has_the_numbers_of_a_file_for_each(name: str, tmp_path: Path) -> None:
    _, feeds, targets, options = CASES[name]
    prefix, alone = options.get("prefix", ""), options.get("batch_axis", 0) is None
    examples = 1 if alone else len(next(iter(feeds.values())))
    several = written(tmp_path / "several.onnx", name, targets=targets)
    properties = {p.key: p.value for p in onnx.load(several).metadata_props}
    contract = json.loads(properties[KEY])
    SCHEMA.validate(contract)
    fed = dict(feeds)
    if options.get("path_as_input") or options.get("form") == "step":
        fed |= {f"path_{what}": np.array(v, np.float32) for what, v in (("nodes", [0.2, 0.8]), ("weights", [0.5, 0.5]))}
    given: list[Array] = []
    if isinstance(targets, str) and targets.startswith("input"):
        rng = np.random.default_rng(5)
        given = [rng.integers(0, 2, (examples, 2)) if name.startswith("positions") else t for t in ([1] * 5, [4] * 5)]
        given = [np.array(t, np.int64) for t in given]
        fed["target"] = np.stack(given, axis=1)
    single = written(tmp_path / "single.onnx", name, target="input")
    names = {x.name for x in onnx.load(single).graph.input}
    for runtime in RUNTIMES.get(name, ("onnxruntime", "reference", "openvino")):
        got = runtime_named(runtime).open(several).run(fed)
        each = given or rows_of(targets, got, prefix, examples)
        assert contract["targets"] == len(each)
        for k, target in enumerate(each):
            own = {**fed, f"{prefix}target": target}
            want = runtime_named("onnxruntime").open(single).run({n: v for n, v in own.items() if n in names})
            for key, value in want.items():
                if not key.startswith(prefix) or key in ("y", "h", "probabilities", "logits"):
                    continue
                axis = 2 if key.endswith("path_scores") else 0 if alone and "attribution" in key else 1
                part = np.take(got[key], k, axis=axis)
                assert part.shape == value.shape, (runtime, key)
                close = 2e-3 if name == "half" else 2e-5
                np.testing.assert_allclose(part, value, rtol=0, atol=close * max(1.0, np.abs(value).max()), err_msg=key)


@pytest.mark.filterwarnings("ignore::onnx_ig.errors.OnnxIgWarning")
@pytest.mark.parametrize(
    "name",
    ["loop", "tolerance", "path as input", "input x gradient", "positions as an input", "positions", "baselines",
     "rows elsewhere", "by the data", "fixed batch", "no batch", "inside", "step"],
)  # fmt: skip
def test_python_explains_each_target_of_a_file(name: str, tmp_path: Path) -> None:
    source, feeds, targets, options = CASES[name]
    opened = onnx_ig.open(written(tmp_path / "several.onnx", name, targets=targets), provider="cpu")
    ixg = options.get("algorithm") == "input-x-gradient"
    extra = {n: v for n, v in feeds.items() if n in ("s", "z")} or None
    inputs = {n: v for n, v in feeds.items() if n not in ("s", "z", "baseline_x")}
    asked: Any = targets
    if isinstance(targets, str) and targets.startswith("input"):
        asked = [(0, 1), (1, 1)] if name.startswith("positions") else "top-2"
    rest: dict[str, Any] = {"additional_forward_args": extra}
    if "baseline_x" in feeds:
        rest["baselines"] = {"x": feeds["baseline_x"]}
    if options.get("path_as_input") or options.get("form") == "step":
        rest["n_steps"] = 6
    found = opened.explain_targets(inputs, asked if asked is not targets else None, **rest)
    with pytest.raises(UsageError, match="call explain_targets"):
        opened.attribute(inputs, additional_forward_args=extra)
    choice = {k: options[k] for k in ("at", "multiply_by_inputs", "batch_axis") if k in options}
    method = (onnx_ig.InputXGradient if ixg else onnx_ig.IntegratedGradients)(source, provider="cpu", **choice)
    steps = {k: options[k] for k in ("n_steps", "tolerance") if k in options}
    for one in found:
        target = one.report.target
        own = [tuple(map(int, t)) for t in target] if target.ndim > 1 else target
        want = method.explain(inputs, target=own, **({} if ixg else steps), **rest)
        pairs = [(one.attributions, want.attributions)]
        if isinstance(want.attributions, dict):
            pairs = [(one.attributions[key], value) for key, value in want.attributions.items()]
        for got, value in pairs:
            assert got.dtype == value.dtype
            close = 2e-3 if name == "half" else 2e-5
            np.testing.assert_allclose(got, value, rtol=0, atol=close * max(1.0, np.abs(value).max()))
        np.testing.assert_allclose(one.scores, want.scores, rtol=1e-3 if name == "half" else 1e-5)
        if one.convergence_delta is not None:
            np.testing.assert_allclose(one.convergence_delta, want.convergence_delta, atol=2e-3)


@pytest.mark.filterwarnings("ignore::onnx_ig.errors.OnnxIgWarning")
@pytest.mark.parametrize("target", ["input", "predicted", 2])
def test_a_file_for_one_target_answers_for_several_one_by_one(target: Any, tmp_path: Path) -> None:
    opened = onnx_ig.open(onnx_ig.export(net(), tmp_path / "one.onnx", target=target, n_steps=6), provider="cpu")
    if target != "input":
        with pytest.raises(UsageError, match="explains one target of each example"):
            opened.explain_targets(X, "top-2")
        return
    want = onnx_ig.IntegratedGradients(net(), provider="cpu").explain_targets(X, "top-2", n_steps=6)
    for got, expected in zip(opened.explain_targets(X, "top-2"), want, strict=True):
        np.testing.assert_allclose(got.attributions, expected.attributions, atol=1e-6)
        assert got.report.target.tolist() == expected.report.target.tolist()


@pytest.mark.parametrize("options", [{"targets": "top-2"}, {"targets": [2, 0]}, {"targets": "input-2"},
                                     {"targets": "top-2", "tolerance": 0.05}, {"targets": "top-2", "form": "step"},
                                     {"targets": "top-3", "algorithm": "input-x-gradient"}], ids=str)  # fmt: skip
def test_the_test_data_are_torchs_and_runtimes_meet_them(options: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.GELU(), torch.nn.Linear(16, 5)).eval()
    x = torch.from_numpy(X[:2])
    file = onnx_ig.export(module, tmp_path / "m.onnx", example_inputs=(x,), with_test_data=True, **options)
    assert "torch autograd" in (tmp_path / "test_data_set_0" / "note.txt").read_text()
    for runtime in ("onnxruntime", "reference"):
        assert conform(file, runtime).passed


@pytest.mark.parametrize(
    ("source", "options", "error", "words"),
    [
        (net(), {"targets": "best"}, UsageError, "give 'top-3', 'input-3', or a list"),
        (net(), {"targets": []}, UsageError, "give 'top-3', 'input-3', or a list"),
        (net(), {"targets": "top-7"}, InputError, "not that many classes"),
        (net(), {"targets": [0, 6]}, InputError, "does not select"),
        (net(), {"targets": [0, "predicted"]}, UsageError, "among several"),
        (net(), {"targets": 0}, UsageError, "1 or more"),
        (net(), {"targets": True}, UsageError, "give 'top-3', 'input-3', or a list"),
        (net(), {"targets": 2.0}, UsageError, "give 'top-3', 'input-3', or a list"),
        (net(), {"targets": {1, 2}}, UsageError, "give 'top-3', 'input-3', or a list"),
        (net(), {"targets": [1.5]}, InputError, "give an index"),
        (net(), {"targets": [1, True]}, InputError, "give 'input', 'predicted', an int"),
        (net(), {"targets": "top-2", "target": 1}, UsageError, "contradict each other"),
        (MAPS, {"targets": "top-2"}, InputError, "not that many classes"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    source: Any, options: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        onnx_ig.export(source, tmp_path / "m.onnx", **options)
    assert not (tmp_path / "m.onnx").exists()


def test_what_is_baked_is_held_to(tmp_path: Path) -> None:
    opened = onnx_ig.open(onnx_ig.export(net(), tmp_path / "m.onnx", targets="top-2", n_steps=6))
    with pytest.raises(UsageError, match=r"targets= \(--targets\) top-3: this attribution model has top-2 baked in"):
        opened.explain_targets(X, "top-3")
    opened = onnx_ig.open(onnx_ig.export(net(), tmp_path / "m.onnx", targets=[1, 2], n_steps=6, overwrite=True))
    assert [found.report.target.tolist() for found in opened.explain_targets(X, (1, 2))] == [[1] * len(X), [2] * len(X)]
    for other in (3, 1.5, [2, 1], [1], np.array([1, 2]), [[1, 2]] * 2):
        with pytest.raises(UsageError, match="baked in"):
            opened.explain_targets(X, other)
