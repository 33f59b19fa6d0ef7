"""Path points are added until the attributions are as exact as was asked for, example by example.

The one idea: the truth is the mean of torch's gradient in float64 at 4,000 points of the path, which shares nothing
with the rule; every case holds for every number of examples and every tolerance.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from sklearn.datasets import load_digits

import onnx_ig
from onnx_ig.common.types import Array
from onnx_ig.engine.path_rule import path_rule
from onnx_ig.errors import OnnxIgWarning, UsageError
from onnx_ig.quadrature import is_between, nested_factors, nested_levels, nested_points

POINTS = 4000
RNG = np.random.default_rng(0)
W1, W2, V = RNG.normal(size=(4, 24)), RNG.normal(size=(24, 24)) / 3, RNG.normal(size=(24, 1))
STEEP = np.array([[1], [25], [3], [60], [0.1], [9], [120]])  # so that each example needs another number of steps


def model(text: str, size: str = "float", **weights: Array) -> onnx.ModelProto:
    made = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> f {text}')
    dtype = np.float64 if size == "double" else np.float32
    made.graph.initializer.extend(onnx.numpy_helper.from_array(w.astype(dtype), n) for n, w in weights.items())
    return made


def net(activation: str, rows: str = "N", size: str = "float") -> onnx.ModelProto:
    return model(
        f"({size}[{rows}, 4] x) => ({size}[{rows}, 1] y) {{ a = MatMul (x, w1)  h = {activation} (a)"
        f"  b = MatMul (h, w2)  g = {activation} (b)  y = MatMul (g, v) }}",
        size,
        w1=W1,
        w2=W2,
        v=V,
    )


def torch_net(activation: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    w1, w2, v = (torch.tensor(w) for w in (W1, W2, V))
    return lambda x: activation(activation(x @ w1) @ w2) @ v


@dataclass(frozen=True)
class Case:
    """``function``: the model's in torch, of the attributed inputs and then the additional ones.

    ``slack``: of random ReLU networks, whose gradient jumps, fewer than one example in a hundred is further off than
    its estimate.
    """

    model: onnx.ModelProto
    function: Callable[..., torch.Tensor]
    shapes: Sequence[tuple[int, ...]] = ((4,),)
    extra: Array | None = None
    call: dict[str, Any] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)
    start: str = "zero"
    examples: Sequence[int] = (1, 2, 7)
    dtype: type = np.float32
    positive: bool = False
    slack: float = 1.0


SIGMOID = """(float[N, 2] x, float[N, 1] s) => (float[N, 1] y)
    { p = ReduceSum <keepdims = 1> (x, axes)  d = Sub (p, at)  m = Mul (d, s)  y = Sigmoid (m) }"""

CASES: dict[str, Case] = {
    "linear": Case(model("(float[N, 4] x) => (float[N, 1] y) { y = MatMul (x, v) }", v=V[:4]),
                   lambda x: x @ torch.tensor(V[:4])),
    "polynomial": Case(
        model("(float[N, 2] x) => (float[N] y) { s = Mul (x, x)  q = Mul (s, x)  y = ReduceSum <keepdims = 0>"
              " (q, axes) }", axes=np.ones(1)), lambda x: (x**3).sum(dim=1), ((2,),)),
    "root": Case(model("(float[N, 3] x) => (float[N] y) { r = Sqrt (x)  y = ReduceSum <keepdims = 0> (r, axes) }",
                       axes=np.zeros(0)), lambda x: x.sqrt().sum(dim=1), ((3,),), positive=True),
    "tanh": Case(net("Tanh"), torch_net(torch.tanh)),
    "relu": Case(net("Relu"), torch_net(torch.relu)),
    "relu, baselines": Case(net("Relu"), torch_net(torch.relu), slack=1.1, start="each"),
    "relu, one baseline": Case(net("Relu"), torch_net(torch.relu), slack=1.1, start="one"),
    "relu, small runs": Case(net("Relu"), torch_net(torch.relu), call={"internal_batch_size": 3}),
    "tanh, fixed batch": Case(net("Tanh", "2"), torch_net(torch.tanh), examples=(2, 7)),
    "tanh, one example": Case(net("Tanh", "3"), torch_net(torch.tanh), method={"batch_axis": None},
                              call={"target": (1, 0)}, examples=(3,)),
    "relu, float64": Case(net("Relu", size="double"), torch_net(torch.relu), dtype=np.float64, slack=1.1, start="each"),
    "steps of many widths": Case(
        model(SIGMOID, axes=np.ones(1), at=np.array(0.7)), lambda x, s: torch.sigmoid((x.sum(1, True) - 0.7) * s),
        ((2,),), extra=STEEP, positive=True),
    "a step near the end": Case(
        model(SIGMOID, axes=np.ones(1), at=np.array(1.95)), lambda x, s: torch.sigmoid((x.sum(1, True) - 1.95) * s),
        ((2,),), extra=STEEP, positive=True),
    "two inputs": Case(
        model("(float[N, 4] x, float[N, 2, 2] z) => (float[N, 1] y) { f = Flatten (z)  m = Mul (x, f)  t = Tanh (m)"
              "  y = MatMul (t, v) }", v=V[:4]),
        lambda x, z: torch.tanh(x * z.flatten(1)) @ torch.tensor(V[:4]), ((4,), (2, 2)), start="each"),
}  # fmt: skip
for _name in ("polynomial", "root", "steps of many widths", "a step near the end"):
    for _weight in CASES[_name].model.graph.initializer:
        if _weight.name == "axes":
            _weight.CopyFrom(onnx.numpy_helper.from_array(np.array([1], np.int64), "axes"))


def arguments(case: Case, examples: int) -> tuple[list[Array], list[Array]]:
    """Inputs, and their baselines of as many rows."""
    rng = np.random.default_rng(examples)
    draw = (lambda s: 0.9 + 0.1 * rng.random(s)) if case.positive else rng.normal
    inputs = [np.asarray(draw(size=(examples, *s)) if not case.positive else draw((examples, *s))) for s in case.shapes]
    shapes = {"zero": 0, "one": 1, "each": examples}[case.start]
    starts = [
        np.zeros_like(x) if not shapes else np.broadcast_to(0.3 * rng.normal(size=(shapes, *x.shape[1:])), x.shape)
        for x in inputs
    ]
    return [x.astype(case.dtype) for x in inputs], [s.astype(case.dtype) for s in starts]


def truth(case: Case, inputs: Sequence[Array], starts: Sequence[Array], extra: Array | None) -> list[Array]:
    """(x − x') · mean of ∇F at the middles of 4,000 equal parts of the path."""
    a = (np.arange(POINTS) + 0.5) / POINTS
    points, leaves = len(a), []
    for x, start in zip(inputs, starts, strict=True):
        wide, begin = x.astype(np.float64), start.astype(np.float64)
        path = begin + a.reshape(-1, *[1] * x.ndim) * (wide - begin)
        leaves.append(torch.tensor(path.reshape(-1, *x.shape[1:])).requires_grad_())
    further = [] if extra is None else [torch.tensor(np.tile(extra, (points, 1)))]
    output = case.function(*leaves, *further)
    chosen = output.reshape(points, -1)[:, 1] if "target" in case.call else output
    gradients = torch.autograd.grad(chosen.sum(), leaves)
    return [
        g.numpy().reshape(points, *x.shape).mean(axis=0) * (x.astype(np.float64) - s)
        for g, x, s in zip(gradients, inputs, starts, strict=True)
    ]


def f_of(case: Case, inputs: Sequence[Array], extra: Array | None) -> Array:
    further = [] if extra is None else [torch.tensor(extra)]
    output = case.function(*(torch.tensor(x.astype(np.float64)) for x in inputs), *further).numpy()
    return np.asarray(output.reshape(-1)[1:2] if "target" in case.call else output.reshape(len(inputs[0])))


def errors(found: Sequence[Array], true: Sequence[Array], alone: bool = False) -> Array:
    """Σ |found − true| / Σ |true| of each example."""
    rows = 1 if alone else len(true[0])
    off = sum(np.abs(f - t).reshape(rows, -1).sum(axis=1) for f, t in zip(found, true, strict=True))
    return np.asarray(off / sum(np.abs(t).reshape(rows, -1).sum(axis=1) for t in true))


@pytest.mark.filterwarnings("ignore:the attributions of .* do not add up")  # to a tenth
@pytest.mark.parametrize("name", CASES)
def test_true_errors_are_within_the_tolerance(name: str) -> None:
    case = CASES[name]
    method = onnx_ig.IntegratedGradients(case.model, provider="cpu", **case.method)
    for examples in case.examples:
        inputs, starts = arguments(case, examples)
        extra = None if case.extra is None else case.extra[:examples]
        true = truth(case, inputs, starts, extra)
        baselines = tuple(s[:1] if case.start == "one" else s for s in starts)
        fed = None if extra is None else extra.astype(case.dtype)
        for tolerance in (0.1, 0.01):
            found = method.explain(
                tuple(inputs), baselines, additional_forward_args=fed, tolerance=tolerance, **case.call
            )
            alone = "batch_axis" in case.method
            error = errors(found.attributions, true, alone)
            assert (error <= case.slack * tolerance).all(), (name, examples, tolerance, error, found.steps_used)
            assert (found.error_estimate <= tolerance).all() and not any("not within" in w for w in found.warnings)
            assert set(found.steps_used.tolist()) <= set(nested_levels(1024))
            assert found.scores.shape == found.baseline_scores.shape == found.steps_used.shape == (len(error),)
            change = f_of(case, inputs, extra) - f_of(case, starts, extra)
            assert np.allclose(found.scores - found.baseline_scores, change, atol=1e-5 * max(1, np.abs(change).max()))
            summed = sum(a.reshape(len(error), -1).sum(axis=1) for a in found.attributions)
            assert np.allclose(found.convergence_delta, summed - (found.scores - found.baseline_scores), atol=1e-5)
    if name == "linear":
        assert (found.steps_used == 8).all() and (found.error_estimate < 1e-5).all()
    if name == "steps of many widths":
        assert len(set(found.steps_used.tolist())) >= 3  # they left the batch at different levels


@pytest.mark.parametrize("places", ["h", ["h"], ["h", "x"]])
def test_inside_the_graph(places: str | list[str]) -> None:
    """At an inner tensor beside which the input goes its own way: that stays at x, and F(baseline) is the model's."""
    branched = model(
        "(float[N, 4] x) => (float[N, 1] y) { a = MatMul (x, w)  h = Tanh (a)  s = Mul (h, h)  b = Mul (x, h)"
        "  c = Add (s, b)  y = MatMul (c, v) }",
        w=W1[:, :4],
        v=V[:4],
    )
    rng = np.random.default_rng(3)
    x = rng.normal(size=(5, 4)).astype(np.float32)
    v = torch.tensor(V[:4])
    h = np.tanh(x.astype(np.float64) @ W1[:, :4])
    inner = places != ["h", "x"]
    beside = Case(branched, lambda h, x: (h * h + x * h) @ v)
    apart = Case(branched, lambda h: (h * h + torch.tensor(np.tile(x.astype(np.float64), (POINTS, 1))) * h) @ v)
    values = [h] if inner else [h, x.astype(np.float64)]
    true = truth(apart if inner else beside, values, [np.zeros_like(value) for value in values], None)
    method = onnx_ig.IntegratedGradients(branched, at=places, provider="cpu")
    found = method.explain(x, tolerance=0.01)
    attributions = [found.attributions] if isinstance(places, str) else found.attributions
    assert (errors(attributions, true) <= 0.01).all() and (found.error_estimate <= 0.01).all()
    assert np.allclose(found.baseline_scores, 0) and found.scores.shape == (5,)
    again = method.attribute(x, tolerance=0.01)
    assert all(np.array_equal(a, b) for a, b in zip(again, found.attributions, strict=True))


def test_trained_digits() -> None:
    """Piecewise linear and trained: of 60 digits at three tolerances, all are within."""
    path = Path(__file__).resolve().parents[2] / "models" / "digits_cnn" / "digits_cnn.onnx"
    method = onnx_ig.IntegratedGradients(path, provider="cpu")
    x = (load_digits().images[1400:1460, None] / 16).astype(np.float32)
    true = method.attribute(x, target="predicted", n_steps=POINTS // 4, method="riemann_middle")
    for tolerance in (0.1, 0.05, 0.02):
        found = method.explain(x, target="predicted", tolerance=tolerance)
        error = errors([found.attributions], [true])
        assert (error <= tolerance).mean() >= 0.99 and (error <= 2 * tolerance).all()
        assert np.median(found.error_estimate / error) < 4  # and not for being absurdly careful
        assert len(set(found.steps_used.tolist())) > 1


def test_local_attributions_are_without_the_factor() -> None:
    case = CASES["tanh"]
    (x,), _ = arguments(case, 5)
    method = onnx_ig.IntegratedGradients(case.model, multiply_by_inputs=False, provider="cpu")
    found = method.explain(x, 0.3, tolerance=0.01)
    true = truth(case, [x], [np.full_like(x, 0.3)], None)[0] / (x - np.float32(0.3))
    assert (errors([found.attributions], [true]) <= 0.01).all() and (found.error_estimate <= 0.01).all()


def test_torch_functions_give_tensors() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.GELU(), torch.nn.Linear(16, 3)).eval()
    x = torch.randn(3, 4)
    method = onnx_ig.IntegratedGradients(module, provider="cpu")
    found = method.explain(x, target=1, tolerance=0.02)
    true = method.attribute(x, target=1, n_steps=200).numpy()
    assert (errors([found.attributions.numpy()], [true]) <= 0.02).all()
    with torch.no_grad():
        assert torch.allclose(found.scores, module(x)[:, 1], atol=1e-5)
    attributions, delta = method.attribute(x, target=1, tolerance=0.02, return_convergence_delta=True)
    assert torch.equal(attributions, found.attributions) and torch.equal(delta, found.convergence_delta)
    assert found.error_estimate.dtype == torch.float32 and found.steps_used.tolist() == [8] * 3


def test_too_few_steps_give_the_best_value_and_a_warning() -> None:
    case = CASES["steps of many widths"]
    method = onnx_ig.IntegratedGradients(case.model, provider="cpu")
    (x,), _ = arguments(case, 7)
    seen: list[tuple[int, int]] = []
    with pytest.warns(OnnxIgWarning, match=r"of 7 examples are not within the tolerance of 0.1 % after 24 steps"):
        found = method.explain(
            x,
            additional_forward_args=STEEP.astype(np.float32),
            tolerance=0.001,
            max_steps=31,
            progress=lambda done, total: seen.append((done, total)),
        )
    late = found.error_estimate > 0.001
    assert late.any() and not late.all() and (found.steps_used[late] == 24).all()
    assert np.isfinite(found.attributions).all() and any("not within" in note for note in found.warnings)
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1] == (found.steps_used + 1).sum()
    full = method.explain(x, additional_forward_args=STEEP.astype(np.float32), tolerance=0.001)
    assert (full.error_estimate <= 0.001).all()


def test_rows_that_are_not_finite_end_and_are_said() -> None:
    method = onnx_ig.IntegratedGradients(net("Tanh"), provider="cpu")
    x = np.ones((2, 4), np.float32)
    x[1, 2] = np.nan
    with pytest.warns(OnnxIgWarning, match=r"1 of 2 examples are not within .* after 4 steps.* not known"):
        found = method.explain(x, tolerance=0.01, allow_nonfinite=True)
    assert found.steps_used[0] > 4 and found.error_estimate[0] <= 0.01 and not np.isfinite(found.error_estimate[1])


def test_an_input_that_is_its_baseline_is_exact() -> None:
    method = onnx_ig.IntegratedGradients(net("Tanh"), provider="cpu")
    with pytest.warns(OnnxIgWarning, match="equal their baseline"):
        found = method.explain(np.zeros((2, 4), np.float32), tolerance=0.01)
    assert not found.attributions.any() and not found.error_estimate.any() and (found.steps_used == 8).all()


def test_a_jump_of_the_output_does_not_keep_points_coming() -> None:
    """F's change is not the integral of its gradient: the delta never vanishes, and the attributions are exact."""
    jump = model("(float[N, 2] x) => (float[N] y) { f = Floor (x)  g = Add (x, f)  y = ReduceSum <keepdims = 0>"
                 " (g, axes) }")  # fmt: skip
    jump.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "axes"))
    x = np.array([[2.5, 1.5]], np.float32)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = onnx_ig.IntegratedGradients(jump, provider="cpu").explain(x, tolerance=0.01)
    assert np.allclose(found.attributions, x, rtol=1e-3) and found.steps_used == [256] and found.error_estimate <= 0.01
    assert [w for w in said if "do not add up" in str(w.message)]


def test_fixed_steps_take_as_many_as_asked_for_and_the_gradient_at_x_has_one_score() -> None:
    x = np.ones((2, 4), np.float32)
    method = onnx_ig.IntegratedGradients(net("Tanh"), provider="cpu")
    found = method.explain(x, n_steps=20, method="riemann_middle")
    expected, delta = method.attribute(x, n_steps=20, method="riemann_middle", return_convergence_delta=True)
    assert np.allclose(found.attributions, expected, atol=1e-6) and np.allclose(
        found.convergence_delta, delta, atol=1e-5
    )
    assert found.steps_used is None and found.provider == "CPUExecutionProvider"
    assert found.seconds > 0
    at_x = onnx_ig.InputXGradient(net("Tanh"), provider="cpu")
    one = at_x.explain(x)
    assert np.array_equal(one.attributions, at_x.attribute(x)) and np.allclose(one.scores, found.scores)
    assert one.baseline_scores is None and one.convergence_delta is None
    with pytest.raises(AttributeError):
        one.scores = 0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tolerance": 0.01, "n_steps": 50}, "n_steps= .*contradict"),
        ({"tolerance": 0.01, "method": "riemann_left"}, "method= .*contradict"),
        ({"max_steps": 100}, "goes with tolerance="),
        ({"tolerance": 0.01, "max_steps": 7}, "max_steps is 7: .*8 or more"),
        ({"tolerance": 0.01, "max_steps": 9.5}, "max_steps is 9.5"),
        ({"tolerance": 0.01, "max_steps": True}, "max_steps is True"),
        *[({"tolerance": t}, "tolerance is .*between 0 and 1") for t in (0, 1, -0.1, np.nan, "0.01", True)],
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        path_rule(**given)
    with pytest.raises(UsageError, match=words):
        onnx_ig.IntegratedGradients(net("Tanh"), provider="cpu").attribute(np.ones((1, 4), np.float32), **given)


@pytest.mark.parametrize("power", range(6))
def test_the_nested_rule_uses_every_point_again(power: int) -> None:
    """Sums that grow by new points alone give ∫₀¹ aᵖ da: constants and lines at once, others with h⁴."""
    inner, before = 0.0, {False: np.inf, True: np.inf}
    seen: list[float] = [0.0, 1.0]
    for intervals in nested_levels(128):
        nodes, weights = nested_points(intervals)
        new = float(weights @ nodes**power)
        seen += nodes.tolist()
        known, added, end = nested_factors(intervals)
        between = is_between(intervals)
        error = abs(known * inner + added * new + end * ((0.0**power) + 1) - 1 / (power + 1))
        inner += new
        assert len(set(seen)) == intervals + 1
        assert power or error < 1e-13
        assert between or (error < 1e-13 if power < 2 else error < max(before[False] / 15, 1e-13))
        assert error < max(before[between] / 3.9, 1e-13)
        before[between] = error
