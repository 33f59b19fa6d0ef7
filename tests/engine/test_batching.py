"""Fixed batches: freed where running shows that nothing else changes, evaluated one path point at a time elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch

import onnx_ig
from onnx_ig.attribution import Contract
from onnx_ig.engine.engine import Engine
from onnx_ig.errors import InputError, UsageError
from onnx_ig.runtime.session import Session

_rng = np.random.default_rng(0)


def model(body: str, x: str, y: str, more: str = "", **constants: np.ndarray) -> onnx.ModelProto:
    text = f"""<ir_version: 8, opset_import: ["" : 18]> f (float[{x}] x{more}) => (float[{y}] y) {{ {body} }}"""
    proto = onnx.parser.parse_model(text)
    for name, value in constants.items():
        value = value.astype(np.float32) if value.dtype == np.float64 else value
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return proto


def weights(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape)


W = weights(4, 2)
_LSTM = {"w": weights(1, 12, 4), "r": weights(1, 12, 3), "h": weights(1, 1, 3), "c": weights(1, 1, 3)}
_TIME_FIRST = (
    "t = Transpose <perm = [1, 0, 2]> (x) l = LSTM <hidden_size = 3> (t, w, r, , , h, c)"
    " b = Transpose <perm = [2, 0, 1, 3]> (l) f = Reshape (b, flat) y = MatMul (f, v)"
)

# body, x, y, constants: any number of examples rides together
FREED: dict[str, tuple[str, str, str, dict[str, np.ndarray]]] = {
    "nothing to rewrite": ("s = Sin (x) y = MatMul (s, w)", "1, 4", "1, 2", {"w": W}),
    "several rows": ("s = Sin (x) y = MatMul (s, w)", "3, 4", "3, 2", {"w": W}),
    "reshape to the batch": (
        "s = Sin (x) f = Reshape (s, flat) y = MatMul (f, w)", "1, 2, 2", "1, 2", {"w": W, "flat": np.array([1, -1])}
    ),
    "merged with another axis and split again": (
        "m = Reshape (x, merged) s = Sin (m) b = Reshape (s, split) y = ReduceSum <keepdims = 0> (b, last)",
        "1, 2, 3", "1, 2",
        {"merged": np.array([2, 3]), "split": np.array([1, 2, 3]), "last": np.array([2])},
    ),
    "class token": (
        "j = Concat <axis = 1> (token, x) s = Softmax <axis = 1> (j) y = ReduceMax <keepdims = 0> (s, one)",
        "1, 3, 2", "1, 2", {"token": weights(1, 1, 2), "one": np.array([1])},
    ),
    "resized to a fixed size": (
        "r = Resize <mode = \"linear\"> (x, , , sizes) s = Sin (r) f = Reshape (s, flat) y = MatMul (f, v)",
        "1, 1, 2, 2", "1, 2", {"sizes": np.array([1, 1, 3, 3]), "flat": np.array([1, 9]), "v": weights(9, 2)},
    ),
    "recurrent with initial states": (
        _TIME_FIRST, "1, 2, 4", "1, 2", _LSTM | {"flat": np.array([1, 6]), "v": weights(6, 2)}
    ),
}  # fmt: skip

# the same, evaluated one path point at a time
KEPT: dict[str, tuple[str, str, str, dict[str, np.ndarray]]] = {
    "a row by its number": (
        "s = Sin (x) m = MatMul (s, w) y = Gather (m, zero)", "1, 4", "1, 2",
        {"w": W, "zero": np.array([0])},
    ),
    "control flow that looks at all rows": (
        """m = ReduceMax <keepdims = 0> (x) c = Greater (m, limit)
        y = If (c) <then_branch = a () => (float[1, 4] p) { p = Neg (x) },
                    else_branch = b () => (float[1, 4] q) { q = Sin (x) }>""",
        "1, 4", "1, 4", {"limit": np.array(1000.0)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FREED | KEPT)
def test_a_fixed_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body, x_shape, y_shape, constants = (FREED | KEPT)[name]
    proto = model(body, x_shape, y_shape, **constants)
    shape = [int(d) for d in x_shape.split(",")]
    x = _rng.standard_normal((5, *shape[1:])).astype(np.float32)
    targets = [0, 1, 0, 1, 1]
    request: dict[str, Any] = {"baselines": 0.1, "target": targets, "n_steps": 6}
    loaded = onnx_ig.load(proto)
    method = onnx_ig.IntegratedGradients(loaded, provider="cpu")
    method.attribute(x, **request)
    runs: list[int] = []
    original = Session.run

    def run(self: Session, feeds: Any, outputs: Any = None) -> Any:
        runs.append(len(feeds["x"]))
        return original(self, feeds, outputs)

    monkeypatch.setattr(Session, "run", run)
    got = method.attribute(x, **request)
    assert runs == ([5] if name in FREED else [1] * (30 + 2 * 5))  # the path with its ends, or then its ends
    apart = onnx_ig.IntegratedGradients(loaded, provider="cpu", batch_axis=None)
    rows = [np.resize(x[i : i + 1], shape) for i in range(5)]  # as many as the model takes, all the same
    ones = [apart.attribute(r, **request | {"target": (0, t)}) for r, t in zip(rows, targets, strict=True)]
    np.testing.assert_allclose(got, np.concatenate([one[:1] for one in ones]), atol=1e-5)
    assert np.abs(got).max() > 1e-2


def test_the_exported_file_keeps_the_declared_batch(tmp_path: Path) -> None:
    body, x_shape, y_shape, constants = FREED["class token"]
    proto = model(body, x_shape, y_shape, **constants)
    x, results = _rng.standard_normal((1, 3, 2)).astype(np.float32), []
    for steps in (None, 0, 1):
        path = tmp_path / f"ig_{steps}.onnx"
        file = onnx_ig.export(proto, path, target=1, baselines="input", n_steps=5, steps_per_run=steps)
        onnx.checker.check_model(file, full_check=True)
        contract = Contract.from_json(onnx.load(file).metadata_props[0].value)
        assert contract.layout == "fixed" and [entry.shape for entry in contract.inputs] == [[1, 3, 2]] * 2
        session = onnxruntime.InferenceSession(file)
        assert [tuple(i.shape) for i in session.get_inputs()] == [(1, 3, 2)] * 2
        assert [tuple(o.shape) for o in session.get_outputs()] == [(1, 2), (1, 3, 2), (1,), (1,), (1,)]
        results.append(session.run(["attribution_x"], {"x": x, "baseline_x": 0 * x})[0])
    np.testing.assert_allclose(results[0], results[2], atol=1e-6)
    np.testing.assert_allclose(results[1], results[2], atol=1e-6)
    expected = onnx_ig.IntegratedGradients(proto).attribute(x, target=1, n_steps=5)
    np.testing.assert_allclose(results[0], expected, atol=1e-6)


# what follows the states of all steps l and the last state h; the output's shape of S steps and N examples; the target
HEADS: dict[str, tuple[str, str, Any]] = {
    "scores per step": ("s = Squeeze (l, one) y = MatMul (s, v)", "S, N, 2", (1, 1)),
    "one score vector": ("s = Squeeze (h, zero) y = MatMul (s, v)", "N, 2", 1),
}


@pytest.mark.parametrize("sizes", [("S", "N"), ("2", "N"), ("2", "1")])
@pytest.mark.parametrize("name", HEADS)
def test_examples_on_another_axis(name: str, sizes: tuple[str, str], tmp_path: Path) -> None:
    """A recurrent network, steps first: as the one that turns examples-first inputs around itself."""
    head, y_shape, target = HEADS[name]
    constants = {key: _LSTM[key] for key in "wr"} | {"v": weights(3, 2), "one": np.array([1]), "zero": np.array([0])}
    steps, examples = sizes
    shapes = [shape.replace("S", steps).replace("N", examples) for shape in ("S, N, 4", y_shape)]
    proto = model(f"l, h = LSTM <hidden_size = 3> (x, w, r) {head}", *shapes, **constants)
    turn = "Transpose <perm = [1, 0, 2]>"
    back = f"z = {turn if name == 'scores per step' else 'Identity'} (y)"
    turned = f"t = {turn} (x) l, h = LSTM <hidden_size = 3> (t, w, r) {head} {back}"
    twin = model(turned, "N, 2, 4", "N, 2, 2" if name == "scores per step" else "N, 2", **constants)
    twin.graph.output[0].name = "z"
    x = _rng.standard_normal((3, 2, 4)).astype(np.float32)
    request: dict[str, Any] = {"baselines": np.full((1, 2, 4), 0.1, np.float32), "target": target, "n_steps": 5}
    expected = onnx_ig.IntegratedGradients(twin, provider="cpu").attribute(x, **request)
    got = onnx_ig.IntegratedGradients(proto, provider="cpu", batch_axis=1).attribute(x, **request)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert onnx_ig.verify(proto, inputs=x, target=target, batch_axis=1, samples=0).passed
    file = onnx_ig.export(proto, tmp_path / "ig.onnx", batch_axis=1, **request)
    fed = x[:1] if examples == "1" else x
    (result,) = onnxruntime.InferenceSession(file).run(["attribution_x"], {"x": fed})
    np.testing.assert_allclose(result, expected[: len(fed)], atol=1e-6)


def test_an_axis_that_the_inputs_do_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="batch_axis=2"):
        onnx_ig.InputXGradient(model("y = Sin (x)", "N, 3", "N, 3"), batch_axis=2)
    with pytest.raises(UsageError, match="batch_axis=1 goes with ONNX models"):
        onnx_ig.verify(torch.nn.Identity(), inputs=torch.ones(2, 3), batch_axis=1)


def test_rows_that_depend_on_those_before_are_refused() -> None:
    proto = model("s = CumSum (x, zero) y = MatMul (s, w)", "3, 4", "3, 2", w=W, zero=np.array(0))
    with pytest.raises(InputError, match="mixes examples"):
        onnx_ig.InputXGradient(proto, provider="cpu").attribute(np.ones((3, 4), np.float32), target=1)


def test_rows_that_a_model_mixes_are_one_example_or_refused() -> None:
    proto = model("s = Softmax <axis = 0> (x) y = MatMul (s, w)", "3, 4", "3, 2", w=W)
    x = _rng.standard_normal((3, 4)).astype(np.float32)
    with pytest.raises(InputError, match=r"mixes examples.*batch_axis=None"):
        onnx_ig.InputXGradient(proto, provider="cpu").attribute(x, target=1)
    got = onnx_ig.InputXGradient(proto, provider="cpu", batch_axis=None).attribute(x, target=(2, 1))
    soft = np.exp(x) / np.exp(x).sum(axis=0)
    np.testing.assert_allclose(got, x * W[:, 1] * soft[2] * (np.eye(3)[2][:, None] - soft), atol=1e-5)


def test_one_axis_of_fixed_length_holds_features() -> None:
    x = _rng.standard_normal(3).astype(np.float32)
    got = onnx_ig.InputXGradient(model("y = Sin (x)", "3", "3"), provider="cpu").attribute(x, target=1)
    np.testing.assert_allclose(got, [0, x[1] * np.cos(x[1]), 0], atol=1e-6)


def test_an_output_of_other_rows_is_refused() -> None:
    proto = model("s = Sin (x) r = Concat <axis = 0> (s, s) y = ReduceSum <keepdims = 0> (r, one)", "N, 4", "M",
                  one=np.array([1]))  # fmt: skip
    with pytest.raises(InputError, match="2 score"):
        onnx_ig.IntegratedGradients(proto, provider="cpu").attribute(np.ones((1, 4), np.float32))


def test_one_output_for_many_examples() -> None:
    proto = model("s = Sin (x) y = ReduceSum <keepdims = 0> (s)", "N, 4", "")
    x = _rng.standard_normal((3, 4)).astype(np.float32)
    got, delta = onnx_ig.IntegratedGradients(proto, provider="cpu").attribute(x, return_convergence_delta=True)
    np.testing.assert_allclose(got, np.sin(x), atol=1e-5)
    assert delta.shape == (1,) and abs(delta[0]) < 1e-5


def test_an_additional_input_of_one_row_serves_every_example() -> None:
    proto = model("p = Mul (x, k) s = Sin (p) y = MatMul (s, w)", "1, 4", "1, 2", ", float[1, 4] k", w=W)
    x, k = _rng.standard_normal((3, 4)).astype(np.float32), _rng.standard_normal((3, 4)).astype(np.float32)
    method = onnx_ig.InputXGradient(proto, provider="cpu")
    for given in (k, k[:1]):
        got = method.attribute(x, target=1, additional_forward_args=given)
        np.testing.assert_allclose(got, x * given * np.cos(x * given) * W[:, 1], atol=1e-5)


def test_the_engine_alone_takes_the_model_as_it_is() -> None:
    body, x_shape, y_shape, constants = FREED["several rows"]
    engine = Engine(onnx_ig.load(model(body, x_shape, y_shape, **constants)), algorithm="input-x-gradient")
    assert (engine.plan.layout.kind, engine.plan.layout.n) == ("fixed", 3)
