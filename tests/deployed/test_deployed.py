"""Exported files called from Python: the numbers of the method that they hold; what is baked in is held to."""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from click.testing import CliRunner

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.errors import InputError, UsageError

RNG = np.random.default_rng(0)
X, Z = (RNG.normal(size=(5, 3)).astype(np.float32) for _ in range(2))


def model() -> onnx.ModelProto:
    """y = tanh(x · W + c), [N, 4]; ``inner`` is what tanh is taken of."""
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x, float[N, 4] c) => (float[N, 4] y)
        { h = MatMul (x, w)  inner = Add (h, c)  y = Tanh (inner) }"""
    )
    weight = np.cos(np.arange(12)).reshape(3, 4).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    return proto


C = RNG.normal(size=(5, 4)).astype(np.float32)
# options of export; arguments that the method takes as well, arguments of the method alone
FILES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "complete": ({}, {"target": [0, 1, 2, 3, 0]}, {}),
    "complete, steps baked": ({"n_steps": 7, "method": "riemann_middle"}, {"target": 2},
                              {"n_steps": 7, "method": "riemann_middle"}),
    "loop-free": ({"n_steps": 5, "steps_per_run": 0}, {"target": 1}, {"n_steps": 5}),
    "path as input": ({"path_as_input": True}, {"target": 3, "n_steps": 9, "method": "riemann_trapezoid"}, {}),
    "step": ({"form": "step"}, {"target": 1, "n_steps": 11, "internal_batch_size": 4}, {}),
    "target baked": ({"target": 2}, {}, {"target": 2}),
    "predicted baked": ({"target": "predicted"}, {}, {"target": "predicted"}),
    "predicted": ({}, {"target": "predicted"}, {}),
    "baseline baked": ({"baselines": 0.5}, {"target": 0}, {"baselines": 0.5}),
    "baseline an input": ({"baselines": "input"}, {"target": 0, "baselines": Z}, {}),
    "local": ({"multiply_by_inputs": False}, {"target": 0}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_the_file_answers_as_the_method(name: str, tmp_path: Path) -> None:
    options, both, alone = FILES[name]
    path = onnx_ig.export(model(), tmp_path / "explained.onnx", inputs=["x"], per_example=["c"], **options)
    local = options.get("multiply_by_inputs", True)
    method = onnx_ig.IntegratedGradients(model(), multiply_by_inputs=local, provider="cpu")
    want, delta = method.attribute(X, additional_forward_args=C, **both, **alone, return_convergence_delta=True)
    opened = onnx_ig.open(path, provider="cpu")
    found = opened.attribute(X, additional_forward_args=C, **both)
    assert found.dtype == want.dtype
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)
    again, given = opened.attribute(X, additional_forward_args=C, **both, return_convergence_delta=True)
    np.testing.assert_array_equal(again, found)
    np.testing.assert_allclose(given, delta, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"n_steps": 5, "steps_per_run": 0}], ids=["complete", "loop-free"])
def test_many_examples_take_as_many_runs_as_memory_needs(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of a Run do not grow with the examples; the answer is the same as all at once."""
    path = onnx_ig.export(model(), tmp_path / "explained.onnx", inputs=["x"], per_example=["c"], **options)
    opened = onnx_ig.open(path, provider="cpu")
    x, c = np.tile(X, (40, 1)), np.tile(C, (40, 1))
    target = np.arange(len(x)) % 4
    together = opened.attribute(x, additional_forward_args=c, target=target)
    ran: list[int] = []
    run = opened.session.run
    counted = lambda feeds, *rest: (ran.append(len(feeds["x"])), run(feeds, *rest))[1]  # noqa: E731
    monkeypatch.setattr(opened.session, "run", counted)
    monkeypatch.setattr("onnx_ig.engine.memory.free_memory", lambda: 60_000)
    apart = opened.attribute(x, additional_forward_args=c, target=target)
    assert len(ran) > 4 and max(ran) < len(x) / 3
    np.testing.assert_allclose(apart, together, rtol=1e-5, atol=1e-7)


def test_input_x_gradient(tmp_path: Path) -> None:
    path = onnx_ig.export(model(), tmp_path / "explained.onnx", inputs=["x"], algorithm="input-x-gradient")
    opened = onnx_ig.open(path, provider="cpu")
    want = onnx_ig.InputXGradient(model(), provider="cpu").attribute(X, 1, C)
    np.testing.assert_allclose(opened.attribute(X, None, 1, C), want, rtol=1e-5, atol=1e-7)
    with pytest.raises(UsageError, match="no convergence delta"):
        opened.attribute(X, None, 1, C, return_convergence_delta=True)
    with pytest.raises(UsageError, match=r"n_steps= .*no path"):
        opened.attribute(X, None, 1, C, n_steps=3)


def test_forms_of_inputs(tmp_path: Path) -> None:
    """Tensors for tensors, dicts for dicts, tuples for tuples; an inner tensor alone."""
    path = onnx_ig.export(model(), tmp_path / "both.onnx", inputs=["x", "c"], target=1)
    opened = onnx_ig.open(path, provider="cpu")
    x, c = opened.attribute((X, C))
    named = opened.attribute({"x": X, "c": C}, {"c": 0.0})
    np.testing.assert_array_equal(named["x"], x)
    np.testing.assert_array_equal(named["c"], c)
    tensors = opened.attribute((torch.from_numpy(X), torch.from_numpy(C).double()))
    assert tensors[1].dtype == torch.float64
    np.testing.assert_array_equal(tensors[0].numpy(), x)
    inner = onnx_ig.open(onnx_ig.export(model(), tmp_path / "inner.onnx", inputs=["x"], at=["inner"], target=1))
    assert inner.attribute(X, additional_forward_args=C).shape == (5, 4)


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "another target": ({"target": 3}, UsageError, r"target= \(--target\) 3: .* has 2 baked in"),
    "another baseline": ({"baselines": 0.25}, UsageError, r"0.25: .* has 0.5 for 'x' baked in"),
    "an array for a number": ({"baselines": Z}, UsageError, "an array: .* has 0.5 for 'x' baked in"),
    "another rule": ({"method": "riemann_left"}, UsageError, "riemann_left: .* has gausslegendre baked in"),
    "pieces": ({"internal_batch_size": 2}, UsageError, "form='step'"),
    "an input left out": ({"additional_forward_args": None}, InputError, "'c' is not fed"),
    "too many inputs": ({"additional_forward_args": (C, C)}, InputError, "2 values in additional_forward_args"),
    "not a number": ({"inputs": np.full_like(X, np.nan)}, InputError, "NaN"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_baked_is_held_to(name: str, tmp_path: Path) -> None:
    arguments, kind, message = REFUSED[name]
    path = onnx_ig.export(model(), tmp_path / "explained.onnx", inputs=["x"], target=2, baselines=0.5)
    with pytest.raises(kind, match=message):
        onnx_ig.open(path, provider="cpu").attribute(**{"inputs": X, "additional_forward_args": C, **arguments})


def test_an_input_with_a_value_need_not_be_fed(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 18]>
        f (float[n, 2] x, float[2] k) => (float[n, 2] y) { z = Mul(x, x) y = Mul(z, k) }""")
    made = onnx.load(onnx_ig.export(proto, tmp_path / "e.onnx", inputs=["x"]))
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([2, 3]), "k"))
    onnx.save(made, tmp_path / "e.onnx")
    x = np.float32([[1, 2]])
    np.save(tmp_path / "x.npy", x)
    words = ["attribute", "e.onnx", "-i", "x.npy", "--target", "1", "-o", "out"]
    with contextlib.chdir(tmp_path):
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    stored = np.load(tmp_path / "out" / "attributions.npz")["attribution_x"]
    np.testing.assert_allclose(stored, [[0, 12]], rtol=1e-5)
    np.testing.assert_array_equal(onnx_ig.open(tmp_path / "e.onnx").attribute(x, target=1), stored)


def test_other_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no attribution model: write one with"):
        onnx_ig.open(model())
    with pytest.raises(UsageError, match=r"gone\.onnx"):
        onnx_ig.open(tmp_path / "gone.onnx")


def test_pickled_and_in_memory(tmp_path: Path) -> None:
    path = onnx_ig.export(model(), tmp_path / "explained.onnx", inputs=["x"], target=2)
    opened = onnx_ig.open(path, provider="cpu")
    want = opened.attribute(X, additional_forward_args=C)
    assert "explained" in repr(opened) and opened.contract.at == ["x"]
    for other in (pickle.loads(pickle.dumps(opened)), onnx_ig.AttributionModel(onnx.load(path), provider="cpu")):
        np.testing.assert_allclose(other.attribute(X, additional_forward_args=C), want, rtol=1e-6)
