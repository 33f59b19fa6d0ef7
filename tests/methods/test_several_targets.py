"""Several targets of an example together: the numbers of as many calls, from one forward pass at each path point."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

import onnx_ig
from onnx_ig.engine.engine import Engine
from onnx_ig.errors import InputError, UsageError
from onnx_ig.loading.model import load
from tests.helpers.several_classes import CHOICE, DIGITS, IMAGES, MAPS, ROWS, STATES, X, Z, model, net

# source, options of the method, inputs, arguments, targets
CASES: dict[str, tuple[Any, dict[str, Any], Any, dict[str, Any], Any]] = {
    "digits": (DIGITS, {}, IMAGES, {}, "top-3"),
    "small runs": (DIGITS, {}, IMAGES, {"internal_batch_size": 4}, [3, 5]),
    "one example": (net(), {}, X[:1], {}, "top-2"),
    "baselines": (net(), {}, X, {"baselines": Z}, [0, 4]),
    "one for each example": (net(), {}, X, {}, [[0, 1, 2, 3, 4], 5]),
    "rows": (ROWS, {}, {"x": X}, {"additional_forward_args": {"z": Z}}, "top-3"),
    "two inputs": (ROWS, {}, {"x": X, "z": Z}, {}, [0, 2]),
    "fixed batch": (net("2"), {}, X, {}, "top-2"),
    "no batch": (net("3"), {"batch_axis": None}, X[:3], {}, [(0, 1), (2, 5)]),
    "rows elsewhere": (STATES, {}, {"x": X}, {"additional_forward_args": {"s": np.stack([X, Z])}}, "top-2"),
    "by the data": (CHOICE, {}, X, {}, [0, 3]),
    "several axes": (MAPS, {}, X, {}, [(0, 1), (1, 1)]),
    "inside": (net(), {"at": "h"}, X, {}, "top-2"),
    "local": (net(), {"multiply_by_inputs": False}, X, {}, "top-2"),
    "half": (net(size="float16", dtype=np.float16), {}, X.astype(np.float16), {}, "top-2"),
}


@pytest.mark.filterwarnings("ignore::onnx_ig.errors.OnnxIgWarning")
@pytest.mark.parametrize("rule", [{"n_steps": 6}, {"tolerance": 0.05}], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_each_target_has_the_answer_of_its_own_call(name: str, rule: dict[str, Any]) -> None:
    source, options, inputs, arguments, targets = CASES[name]
    method = onnx_ig.IntegratedGradients(source, provider="cpu", **options)
    together = method.explain_targets(inputs, targets, **arguments, **rule)
    close = 2e-3 if name == "half" else 1e-5
    for i, found in enumerate(together):
        target = found.report.target
        own = list(map(tuple, target)) if target.ndim > 1 else target
        if not isinstance(targets, str):
            assert np.array_equal(target, np.broadcast_to(targets[i], target.shape))
        alone = method.explain(inputs, target=own, **arguments, **rule)
        pairs = [(found.attributions, alone.attributions)]
        if isinstance(inputs, dict):
            pairs = [(found.attributions[key], value) for key, value in alone.attributions.items()]
        for got, want in pairs:
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=0, atol=close * np.abs(want).max())
        for key in ("scores", "baseline_scores", "convergence_delta", "error_estimate"):
            np.testing.assert_allclose(getattr(found, key), getattr(alone, key), rtol=close, atol=10 * close)
        assert (found.steps_used is None) == (alone.steps_used is None)
        assert found.steps_used is None or found.steps_used.tolist() == alone.steps_used.tolist()
    if isinstance(targets, str):
        ranked = np.stack([found.scores for found in together])
        assert (np.diff(ranked, axis=0) <= 0).all()  # the largest first


def test_torch_modules_give_tensors() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.GELU(), torch.nn.Linear(16, 5)).eval()
    x = torch.from_numpy(X)
    method = onnx_ig.IntegratedGradients(module, provider="cpu")
    together = method.explain_targets(x, "top-2", n_steps=6)
    with torch.no_grad():
        best = module(x).argsort(dim=1, descending=True)
    for k, found in enumerate(together):
        assert torch.equal(torch.from_numpy(found.report.target), best[:, k])
        want = method.attribute(x, target=best[:, k], n_steps=6)
        torch.testing.assert_close(found.attributions, want, rtol=0, atol=1e-5)


def test_the_forward_pass_is_there_once() -> None:
    counts = []
    for targets in (1, 3):
        engine = Engine(load(net()), algorithm="integrated-gradients", provider="cpu", targets=targets)
        nodes = [node.op_type for node in ir.traversal.RecursiveGraphIterator(engine._built.graph)]
        counts.append({name: nodes.count(name) for name in ("Tanh", "Softmax", "MatMul")})
    one, three = counts
    assert three["Tanh"] == one["Tanh"] and three["Softmax"] == one["Softmax"]
    assert one["MatMul"] < three["MatMul"] < 3 * one["MatMul"]


@pytest.mark.parametrize(
    ("source", "targets", "error", "words"),
    [
        (net(), 3, UsageError, "give 'top-3', or a list"),
        (net(), "best", UsageError, "give 'top-3', or a list"),
        (net(), "top-0", UsageError, "give 'top-3', or a list"),
        (net(), [], UsageError, "give 'top-3', or a list"),
        (net(), "top-7", InputError, r"shape \[6\] per example, not that many classes"),
        (MAPS, "top-2", InputError, r"shape \[2, 2\] per example"),
        (net(), [0, 6], InputError, "6"),
        (model("(float[N, 4] x) => (float[N] y) { y = ReduceSum <keepdims = 0> (x, a) }", a=np.array([1])), "top-2",
         InputError, "one number per example"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(source: Any, targets: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        onnx_ig.IntegratedGradients(source, provider="cpu").explain_targets(X, targets)
