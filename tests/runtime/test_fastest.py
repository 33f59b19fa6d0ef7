"""``auto`` on a CPU: which runtime goes on after the first long Run, and that this is remembered."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

import onnx_ig
from onnx_ig.common.types import Array
from onnx_ig.errors import ModelError
from onnx_ig.runtime import fastest
from onnx_ig.runtime.openvino_session import OpenVinoSession
from onnx_ig.runtime.providers import open_session

CPU, OPENVINO = "CPUExecutionProvider", "openvino"
MODEL = onnx.parser.parse_model(
    """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x) => (float[N, 2] y)
    <float[3, 2] w = {1, -2, 0.5, 1, 2, -1}> { h = Tanh(x)  y = MatMul(h, w) }"""
)
OTHER = onnx.parser.parse_model(
    """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x) => (float[N, 3] y) { y = Tanh(x) }"""
)
DECIDING = onnx.parser.parse_model(
    """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x) => (float[K, 3] y) {
        flat = ReduceMax <keepdims = 0> (x)
        zero = Constant <value = float {0}> ()
        above = Greater(flat, zero)
        y = If (above) <then_branch = g () => (float[K, 3] a) { a = Identity(x) },
                        else_branch = h () => (float[K, 3] b) { b = Neg(x) }>
    }"""
)
QUANTISED = onnx.parser.parse_model(
    """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x) => (float[N, 3] y) <float s = {0.1}, uint8 z = {128}>
    { q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }"""
)
DOUBLE = onnx.parser.parse_model(
    """<ir_version: 8, opset_import: ["" : 18]> f (double[N, 3] x) => (double[N, 3] y) { y = Tanh(x) }"""
)
X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[float]]:
    """Seconds of ONNX Runtime and of OpenVINO, in turn, as they are measured; every Run is long enough."""
    taken: list[float] = []

    def measured(run: Any) -> float:
        run()
        return taken.pop(0)

    monkeypatch.setattr(fastest, "seconds", measured)
    monkeypatch.setattr(fastest, "WORTH", 0.0)
    monkeypatch.setattr(fastest, "CALLS", 1e9)  # compiling is repaid
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield taken
    assert not taken  # each was asked for


@pytest.mark.parametrize(("seconds", "chosen"), [((2.0, 1.0), OPENVINO), ((1.0, 2.0), CPU), ((1.0, 0.95), CPU)])
def test_the_faster_goes_on_and_is_remembered(times: list[float], seconds: tuple[float, ...], chosen: str) -> None:
    times += seconds
    want = X.astype(np.float64)
    want = np.tanh(want) @ np.array([[1, -2], [0.5, 1], [2, -1]])
    for _ in range(2):  # the second session measures nothing
        session = open_session(MODEL)
        for rows in (X, X, X[:1]):
            np.testing.assert_allclose(session.run({"x": rows})["y"], want[: len(rows)], rtol=1e-5)
            assert session.provider == chosen


def test_other_models_are_measured_for_themselves(times: list[float]) -> None:
    times += [2.0, 1.0, 1.0, 2.0]
    assert [_provider(model) for model in (MODEL, OTHER, MODEL, OTHER)] == [OPENVINO, CPU, OPENVINO, CPU]


def _provider(model: onnx.ModelProto) -> str:
    session = open_session(model)
    session.run({"x": X})
    return session.provider


def _wrong(self: OpenVinoSession, feeds: Any, outputs: Any = None) -> dict[str, Array]:
    return {"y": np.ones((4, 2), np.float32)}


def _refuses(self: OpenVinoSession, feeds: Any, outputs: Any = None) -> dict[str, Array]:
    raise ModelError("no")


@pytest.mark.parametrize("run", [_wrong, _refuses])
def test_what_openvino_computes_otherwise_stays(times: list[float], monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    monkeypatch.setattr(OpenVinoSession, "run", run)
    assert _provider(MODEL) == CPU


def test_a_refusal_on_the_way_goes_back(times: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    times += [2.0, 1.0]
    session = open_session(MODEL)
    want = session.run({"x": X})["y"]
    assert session.provider == OPENVINO
    monkeypatch.setattr(OpenVinoSession, "run", _refuses)
    np.testing.assert_allclose(session.run({"x": X})["y"], want, rtol=1e-5)
    assert session.provider == CPU


def test_each_shape_is_compared(times: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    times += [2.0, 1.0]
    session = open_session(MODEL)
    session.run({"x": X})
    right = OpenVinoSession.run
    monkeypatch.setattr(
        OpenVinoSession,
        "run",
        lambda self, feeds, outputs=None: {
            name: value + (len(feeds["x"]) == 2) for name, value in right(self, feeds, outputs).items()
        },
    )
    for rows in (X[:2], X[:2], X):
        np.testing.assert_allclose(
            session.run({"x": rows})["y"], open_session(MODEL, "cpu").run({"x": rows})["y"], rtol=1e-5
        )
    assert session.provider == OPENVINO


def test_as_many_shapes_as_stay_compiled(times: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    times += [2.0, 1.0]
    session = open_session(MODEL)
    asked: list[int] = []
    run = OpenVinoSession.run
    monkeypatch.setattr(
        OpenVinoSession,
        "run",
        lambda self, feeds, outputs=None: (asked.append(len(feeds["x"])), run(self, feeds, outputs))[1],
    )
    for _ in range(2):
        for count in (4, 3, 2, 1):
            session.run({"x": X[:count]})
    assert asked == [4, 4, 3, 4, 3]  # of the first once more, to see how long it takes


@pytest.mark.parametrize("why", ["short", "quantised", "deciding", "in float64", "missing", "broken", "by name"])
def test_what_is_not_tried(times: list[float], monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    if why == "short":
        monkeypatch.setattr(fastest, "WORTH", 1e9)
    if why == "missing":
        monkeypatch.setattr(fastest, "_versions", lambda: None)
    if why == "broken":
        monkeypatch.setitem(sys.modules, "openvino", None)
    model = {"quantised": QUANTISED, "deciding": DECIDING, "in float64": DOUBLE}.get(why, MODEL)
    session = open_session(model, "cpu" if why == "by name" else "auto")
    session.run({"x": X.astype(np.float64) if model is DOUBLE else X})
    assert session.provider == CPU


@pytest.mark.parametrize(("calls", "chosen"), [(1e9, OPENVINO), (1e-9, CPU)])
def test_compiling_must_be_repaid(
    times: list[float], monkeypatch: pytest.MonkeyPatch, calls: float, chosen: str
) -> None:
    times += [2.0, 1.0]
    assert _provider(MODEL) == OPENVINO
    monkeypatch.setattr(fastest, "CALLS", calls)
    assert _provider(MODEL) == chosen  # as remembered


def test_a_call_is_as_long_as_its_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    calls: list[float] = []
    clock = iter(range(100))
    monkeypatch.setattr(fastest.time, "process_time", lambda: float(next(clock)))  # a second for each Run
    monkeypatch.setattr(fastest._Memory, "worth", lambda self, call: bool(calls.append(call)))
    session = open_session(MODEL)
    for count, runs in ((4, 7), (3, None), (4, 5), (2, 2)):
        if runs is not None:
            session.expect(runs)
        session.run({"x": X[:count]})
    assert calls == [7.0, 1.0, 2.0]  # of shapes that are new


def test_without_a_place_to_remember_it_is_measured_again(
    times: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    times += [2.0, 1.0, 2.0, 1.0]
    assert _provider(MODEL) == _provider(MODEL) == OPENVINO


def test_attributions_go_the_same_way(times: list[float]) -> None:
    times += [2.0, 1.0] * 2  # the gradient's model, and F alone at the ends of the path
    found = onnx_ig.IntegratedGradients(MODEL).explain(X, target=1, n_steps=6)
    want = onnx_ig.IntegratedGradients(MODEL, provider="cpu").explain(X, target=1, n_steps=6)
    assert found.provider == OPENVINO
    np.testing.assert_allclose(found.attributions, want.attributions, atol=1e-5)
    times.clear()
