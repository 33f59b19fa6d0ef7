"""Evaluation in pieces: batches beyond memory, fixed batches, models without a batch, providers, element types."""

from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
import onnx
import onnx.parser
import pytest

import onnx_ig
from onnx_ig.attribution.layout import Layout
from onnx_ig.engine import engine as engine_module
from onnx_ig.engine import memory
from onnx_ig.engine.grid import Grid
from onnx_ig.errors import InputError, OutOfMemoryError, ProviderError
from onnx_ig.runtime.session import Session

WEIGHTS = np.array([[1, -2], [3, 4], [-5, 6]], np.float64)


def model(shape: str, out: str, dtype: str = "float") -> onnx.ModelProto:
    """y = sin(x) @ W with the declared shapes: attribution of target t from a zero baseline is sin(x) · W[:, t]."""
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]> f ({dtype}[{shape}] x) => ({dtype}[{out}] y)
        {{ s = Sin (x)  y = MatMul (s, w) }}"""
    )
    numpy_type = onnx.helper.tensor_dtype_to_np_dtype(proto.graph.input[0].type.tensor_type.elem_type)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHTS.astype(numpy_type), "w"))
    return proto


def rows(n: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (n, 3)).astype(dtype)


@pytest.mark.parametrize(("shape", "out"), [("N, 3", "N, 2"), ("2, 3", "2, 2"), ("1, 3", "1, 2")])
@pytest.mark.parametrize("examples", [1, 2, 5])
def test_any_number_of_examples(shape: str, out: str, examples: int) -> None:
    x = rows(examples)
    method = onnx_ig.IntegratedGradients(model(shape, out), provider="cpu")
    targets = (np.arange(examples) % 2).tolist()
    got, delta = method.attribute(x, target=targets, n_steps=30, return_convergence_delta=True)
    np.testing.assert_allclose(got, np.sin(x) * WEIGHTS.T[targets], atol=1e-5)
    np.testing.assert_allclose(delta, 0, atol=1e-5)
    gradient = onnx_ig.InputXGradient(model(shape, out), provider="cpu").attribute(x, target=targets)
    np.testing.assert_allclose(gradient, x * np.cos(x) * WEIGHTS.T[targets], atol=1e-5)


def test_only_what_is_asked_for_is_computed() -> None:
    """The model's own outputs, of which one has a tensor of its own, are no part of what the engine runs."""
    several = model("N, 3", "N, 2")
    several.graph.node.append(onnx.helper.make_node("Tan", ["x"], ["further"]))
    several.graph.output.append(onnx.helper.make_tensor_value_info("further", onnx.TensorProto.FLOAT, ["N", 3]))
    found = engine_module.Engine(onnx_ig.load(several), algorithm="input-x-gradient", provider="cpu", output="y")
    assert sorted(found.session.output_names) == ["onnx_ig.attribution_x", "onnx_ig.score"]
    assert "Tan" not in {node.op_type for node in found._built.graph}


def test_no_batch_axis() -> None:
    x = rows(1)[0]
    method = onnx_ig.IntegratedGradients(model("3", "2"), provider="cpu")
    got, delta = method.attribute(x, target=1, n_steps=30, return_convergence_delta=True)
    np.testing.assert_allclose(got, np.sin(x) * WEIGHTS[:, 1], atol=1e-5)
    assert delta.shape == (1,)


@pytest.mark.parametrize(
    ("dtype", "numpy_type", "tolerance"), [("double", np.float64, 1e-12), ("float16", np.float16, 2e-2)]
)
def test_element_types(dtype: str, numpy_type: Any, tolerance: float) -> None:
    x = rows(3, numpy_type)
    method = onnx_ig.IntegratedGradients(model("N, 3", "N, 2", dtype), provider="cpu")
    got = method.attribute(x, target=0, n_steps=30)
    assert got.dtype == numpy_type
    np.testing.assert_allclose(got.astype(float), np.sin(x.astype(float)) * WEIGHTS[:, 0], atol=tolerance)


@pytest.mark.parametrize("fits", [1, 2, 3, 7])
def test_a_batch_beyond_memory_is_halved_until_it_fits(fits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original, sizes = Session.run, []

    def run(self: Session, feeds: dict[str, np.ndarray], outputs: Any = None) -> dict[str, np.ndarray]:
        points = len(feeds.get("onnx_ig.path_nodes", [0]))
        sizes.append(points * len(feeds["x"]))
        if sizes[-1] > fits:
            raise OutOfMemoryError("out of memory")
        return original(self, feeds, outputs)

    x = rows(4)
    monkeypatch.setattr(Session, "run", run)
    method = onnx_ig.IntegratedGradients(model("N, 3", "N, 2"), provider="cpu")
    got = method.attribute(x, target=1, n_steps=20, internal_batch_size=64)
    np.testing.assert_allclose(got, np.sin(x) * WEIGHTS[:, 1], atol=1e-5)
    assert max(sizes) > fits


def test_a_single_row_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: Session, feeds: Any, outputs: Any = None) -> Any:
        raise OutOfMemoryError("out of memory")

    method = onnx_ig.IntegratedGradients(model("N, 3", "N, 2"), provider="cpu")
    monkeypatch.setattr(Session, "run", run)
    with pytest.raises(OutOfMemoryError, match="one example at one path point"):
        method.attribute(rows(4), target=1)


def _layout() -> Layout:
    loaded = onnx_ig.load(model("N, 3", "N, 2"))
    return engine_module.make_plan(loaded, algorithm="integrated-gradients", form="step", baselines="input").layout


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("size", [2, 3, 4, 9, 1000])
def test_pieces_cover_the_grid_and_honour_the_size(size: int, at_once: int) -> None:
    covered = np.zeros((5, 11), int)
    for examples, points, per_run in Grid(_layout(), 5).pieces(size, 11, at_once):
        assert (examples.stop - examples.start) * per_run * at_once <= size
        covered[examples, points] += 1
    assert (covered == 1).all()


def test_pieces_of_one_shape_are_evaluated_together() -> None:
    together, taken = [], np.zeros((5, 12), int)

    def run_each(pieces: Any) -> Any:
        together.append([piece["shape"] for piece in pieces])
        return [piece["at"] for piece in pieces]

    def take(examples: slice, points: slice, at: tuple[slice, slice]) -> None:
        assert at == (examples, points)
        taken[examples, points] += 1

    def feeds(examples: slice, points: slice, size: int) -> dict[str, Any]:
        return {"shape": (examples.stop - examples.start, size), "at": (examples, points)}

    assert not Grid(_layout(), 5).evaluate(feeds, run_each, take, rows=16, points=12, at_once=2)
    assert (taken == 1).all()
    assert together == [[(1, 6)] * 2] * 5
    together.clear()
    assert not Grid(_layout(), 5).evaluate(feeds, run_each, take, rows=8, points=12, at_once=2)
    assert together == [[(1, 3)] * 2] * 10


# examples, path points, rows at most: the only shape of a piece, in examples and points, and how many there are
@pytest.mark.parametrize(
    ("examples", "points", "rows", "shape", "pieces"),
    [
        (64, 48, 45, (1, 24), 128),
        (64, 48, 150, (2, 48), 32),  # three examples would leave one over
        (5, 50, 7, (1, 5), 50),
        (6, 1, 4, (3, 1), 2),
        (1, 48, 10_000, (1, 48), 1),
    ],
)
def test_all_pieces_have_one_shape(examples: int, points: int, rows: int, shape: tuple[int, int], pieces: int) -> None:
    found = [(e.stop - e.start, p.stop - p.start) for e, p, _ in Grid(_layout(), examples).pieces(rows, points)]
    assert found == [shape] * pieces


def test_memory_decides_the_batch() -> None:
    graph = onnx_ig.load(model("N, 3", "N, 2")).ir_model
    small, large = (memory.bytes_per_run(graph, {"x": shape}) for shape in ((1, 3), (100_000, 3)))
    on_cpu = cast(Any, SimpleNamespace(device=None, working_set_bytes=1 << 24))
    rows = memory.rows_per_run
    assert rows(small, on_cpu) > 100 * rows(large, on_cpu) >= 100
    assert rows(small, on_cpu, 7) == 7 and rows(large, on_cpu, 1000) == rows(large, on_cpu)
    on_gpu = cast(Any, SimpleNamespace(device="cuda", working_set_bytes=1 << 24))
    assert rows(large, on_gpu, 1000) == 1000 and rows(large, on_gpu) == rows(large, on_cpu)


def test_few_shapes_ask_the_model_for_memory() -> None:
    graph = onnx_ig.load(model("N, T", "N, 2")).ir_model
    known = memory.BytesPerRow(graph)
    with mock.patch.object(memory, "bytes_per_run", wraps=memory.bytes_per_run) as asked:
        first = known.per_row({"x": (1, 100)})
        assert known.per_row({"x": (1, 120)}) >= memory.bytes_per_run(graph, {"x": (1, 120)})
        asked.reset_mock()
        assert known.per_row({"x": (1, 3000)}, enough=900 * first) == 900 * first
        assert known.per_row({"x": (1, 3)}, enough=first) == first
        assert not asked.called
        assert known.per_row({"x": (1, 3000)}, enough=900 * first - 1) < 900 * first
        assert asked.call_count == 1


def test_provider_asked_for_by_name_must_be_used() -> None:
    with pytest.raises(ProviderError, match="onnx-ig\\[gpu\\]"):
        onnx_ig.InputXGradient(model("N, 3", "N, 2"), provider="cuda").attribute(rows(1), target=0)
    with pytest.raises(ProviderError, match="unknown provider"):
        onnx_ig.InputXGradient(model("N, 3", "N, 2"), provider="gpu").attribute(rows(1), target=0)
    method = onnx_ig.InputXGradient(model("N, 3", "N, 2"))
    method.attribute(rows(1), target=0)
    assert method.provider == "CPUExecutionProvider"


MIXING = {
    "mean over examples": "m = ReduceMean <keepdims = 1> (x, a)  d = Sub (x, m)  s = Exp (d)  y = MatMul (s, w)",
    "sum along axis 0": "c = CumSum (x, z)  s = Sin (c)  y = MatMul (s, w)",
    "sum back along axis 0": "c = CumSum <reverse = 1> (x, z)  s = Sin (c)  y = MatMul (s, w)",
}


@pytest.mark.parametrize("name", MIXING)
def test_an_output_that_mixes_examples_is_refused(name: str) -> None:
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x) => (float[N, 2] y)
        <float[3, 2] w = {{1, -2, 3, 4, -5, 6}}, int64[1] a = {{0}}, int64 z = {{0}}> {{ {MIXING[name]} }}"""
    )
    with pytest.raises(InputError, match="mixes examples"):
        onnx_ig.IntegratedGradients(proto, provider="cpu").attribute(rows(2), baselines=0.3, target=0)
    with pytest.raises(InputError, match="mixes examples"):
        onnx_ig.InputXGradient(proto, provider="cpu").attribute(rows(2), target=0)


BAD_CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "shape": ((np.zeros((2, 4), np.float32),), {"target": 0}, r"\[2, 4\].*\[N, 3\]"),
    "name": (({"z": rows(2)},), {"target": 0}, "'z'"),
    "unfed": (((),), {"target": 0}, "'x'"),
    "too many": (((rows(2), rows(2)),), {"target": 0}, "2 values"),
    "NaN": ((np.full((2, 3), np.nan, np.float32),), {"target": 0}, "NaN"),
    "target": ((rows(2),), {"target": 2}, "out of range"),
    "no target": ((rows(2),), {}, "target is needed"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls(name: str) -> None:
    arguments, keywords, words = BAD_CALLS[name]
    with pytest.raises(InputError, match=words):
        onnx_ig.IntegratedGradients(model("N, 3", "N, 2"), provider="cpu").attribute(*arguments, **keywords)


def test_by_name_and_additional_arguments() -> None:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x, float[N, 3] k, float s) => (float[N] y)
        <int64[1] a = {1}> { m = Mul (x, k)  t = Mul (m, s)  e = Sin (t)  y = ReduceSum <keepdims = 0> (e, a) }"""
    )
    x, k, s = rows(4), rows(4) + 1, np.array(0.7, np.float32)
    method = onnx_ig.IntegratedGradients(proto, provider="cpu")
    by_name = method.attribute({"x": x}, additional_forward_args={"k": k, "s": s}, n_steps=30)
    np.testing.assert_allclose(by_name["x"], np.sin(x * k * s), atol=1e-5)
    by_position = method.attribute(x, additional_forward_args=(k, s), n_steps=30, internal_batch_size=3)
    np.testing.assert_allclose(by_position, by_name["x"], atol=1e-6)
    both = method.attribute((x, k), additional_forward_args=s, n_steps=60)
    np.testing.assert_allclose(both[0] + both[1], np.sin(x * k * s), atol=1e-5)
