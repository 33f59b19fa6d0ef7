"""The portable form: no loop, every size known, and the numbers of the ordinary form."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from click.testing import CliRunner

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.errors import InputError, ModelError, UsageError
from onnx_ig.loading.model import Model
from tests.helpers.networks import NETWORKS, exported

MODELS = Path(__file__).parents[3] / "models"
DIGITS = MODELS / "digits_cnn" / "digits_cnn.onnx"
HEAD = '<ir_version: 8, opset_import: ["" : 18]>\n'
# Nothing of the path is left to the caller but what a row says.
FORMS: dict[str, dict[str, Any]] = {
    "predicted": {"target": "predicted", "n_steps": 9, "steps_per_run": 4},
    "baked": {"target": 1, "n_steps": 5, "steps_per_run": 2, "batch": 2},
    "one chunk": {"target": "input", "n_steps": 5, "steps_per_run": 0, "batch": 2},
    "path as input": {"path_as_input": True, "n_steps": 5, "steps_per_run": 3, "baselines": "input"},
    "step": {"form": "step", "steps_per_run": 3, "baselines": "input", "batch": 2},
    "input-x-gradient": {"algorithm": "input-x-gradient", "target": 1},
}


@cache
def given(name: str) -> tuple[Model, dict[str, np.ndarray]]:
    """A model, and values of two examples for its inputs."""
    if name == "digits_cnn":
        x = np.load(DIGITS.with_name("seven.npy")).astype(np.float32)
        return onnx_ig.load(DIGITS), {"image": np.concatenate([x, 0.5 * x])}
    model, network = exported(name), NETWORKS[name]
    tensors = (*network.inputs(2), *network.extras(2))
    return model, {str(x.name): tensor.numpy() for x, tensor in zip(model.inputs, tensors, strict=True)}


def attributions(file: Path, arguments: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the file says, called as users call it; 5 path points where the path is theirs."""
    opened = onnx_ig.open(file)
    names = opened.contract.named("attributed")
    own = {name: arguments[name] for name in names}
    baked = opened.contract.baked
    found = opened.attribute(
        own,
        target=None if "target" in baked else [1, 0],
        baselines={name: 0.1 * value for name, value in own.items()} if opened.contract.named("baseline") else None,
        additional_forward_args={name: value for name, value in arguments.items() if name not in names} or None,
        n_steps=5 if opened.contract.named("path") else None,
    )
    return {name: np.asarray(found[name]) for name in names}


CASES = [*(("digits_cnn", form) for form in FORMS), ("lstm", "baked"), ("lstm", "step")]


@pytest.mark.parametrize(("name", "form"), CASES)
def test_no_loop_and_the_same_numbers(name: str, form: str, tmp_path: Path) -> None:
    model, arguments = given(name)
    options = {"inputs": [n for n, v in arguments.items() if v.dtype.kind == "f"], "example_inputs": arguments}
    plain = {k: v for k, v in FORMS[form].items() if k != "batch" and not (k == "steps_per_run" and form == "step")}
    usual = onnx_ig.export(model, tmp_path / "usual.onnx", **options, **plain)
    portable = onnx_ig.export(model, tmp_path / "portable.onnx", portable=True, **options, **FORMS[form])
    written = onnx.load(portable)
    onnx.checker.check_model(written, full_check=True)
    assert not {"Loop", "Scan", "If", "Shape", "Range"} & {node.op_type for node in written.graph.node}
    constants = {x.name for x in written.graph.initializer}
    assert not any(y.name in constants for y in written.graph.output)
    for value in ir.from_proto(written).graph.all_nodes():
        assert all(y.shape is not None and y.shape.is_static() for y in value.outputs if y.name)
    first = ir.from_proto(written).graph.inputs[0].shape
    assert first is not None and first[0] == FORMS[form].get("batch", 1)
    want = attributions(usual, arguments)
    for key, value in attributions(portable, arguments).items():
        np.testing.assert_allclose(value, want[key], rtol=0, atol=1e-5 * np.abs(want[key]).max())


OPEN = "f (float[N, T, 2] x) => (float[N] y) <int64[2] a = {1, 2}> { s = Sin (x)  y = ReduceSum <keepdims = 0> (s, a) }"
MIXED = "f (float[N, 2] x) => (float[N, 2] y) <int64[1] a = {0}> { m = ReduceMean (x, a)  s = Sin (x)  y = Mul (s, m) }"
FIXED = "f (float[2, 3] x) => (float[2, 3] y) { y = Sin (x) }"
ROWS = "f (float[N, 3] x) => (float[N, 3] y) { y = Sin (x) }"
WHOLE = "f (float[3] x) => (float[3] y) { y = Sin (x) }"
NONZERO = """f (float[N, 3] x) => (float[N, 3] y) <float z = {0}>
    { b = NonZero (x)  g = Cast <to = 1> (b)  r = ReduceMax <keepdims = 0> (g)  s = Sin (x)  y = Mul (s, r) }"""
REFUSED: dict[str, tuple[str, dict[str, Any], type[Exception], str]] = {
    "an open axis": (OPEN, {}, InputError, r"axis 1 \(T\) of input 'x' is open: give it with --example-input"),
    "examples mixed": (MIXED, {}, InputError, "mixes"),
    "another number of examples": (FIXED, {"batch": 3}, UsageError, "the model takes 2 examples"),
    "no axis of examples": (WHOLE, {"batch": 3}, UsageError, "one example, without an axis of examples"),
    "a batch without the form": (FIXED, {"portable": False, "batch": 2}, UsageError, "goes with portable="),
    "a tolerance": (FIXED, {"tolerance": 0.1}, UsageError, "the data tell how many path points"),
    "a constant that OpenCV 4 cannot find": (
        ROWS,
        {"for_runtime": "opencv4", "targets": [0, 2]},
        ModelError,
        r"outputs that are constant \(baseline_score\)",
    ),
    "rows that OpenCV 4 sums wrong": (FIXED, {"for_runtime": "opencv4", "target": 1}, UsageError, "several rows wrong"),
    "an unknown runtime": (FIXED, {"for_runtime": "opencv3"}, UsageError, "unknown runtime 'opencv3' \\(did you mean"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str, tmp_path: Path) -> None:
    text, options, kind, message = REFUSED[what]
    with pytest.raises(kind, match=message):
        onnx_ig.export(onnx.parser.parse_model(HEAD + text), tmp_path / "m.onnx", **{"portable": True, **options})
    assert not (tmp_path / "m.onnx").exists()


def test_sizes_that_only_the_data_tell_are_refused(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(HEAD + NONZERO)
    with pytest.raises((ModelError, InputError)):
        onnx_ig.export(model, tmp_path / "m.onnx", portable=True, target=0)


def test_an_open_axis_has_the_size_of_the_examples(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(HEAD + OPEN)
    file = onnx_ig.export(
        model, tmp_path / "m.onnx", portable=True, example_inputs={"x": np.ones((4, 7, 2), np.float32)}, n_steps=3
    )
    assert [d.dim_value for d in onnx.load(file).graph.input[0].type.tensor_type.shape.dim] == [1, 7, 2]


def test_command_line(tmp_path: Path) -> None:
    file = tmp_path / "digits.onnx"
    done = CliRunner().invoke(
        app, ["export", str(DIGITS), "-o", str(file), "--for", "litert", "--batch", "2", "--n-steps", "3"]
    )
    assert done.exit_code == 0, done.stderr
    assert f"next: onnx2tf -i {file}" in done.stdout
    assert "float32 [2, 1, 8, 8]" in done.stdout
