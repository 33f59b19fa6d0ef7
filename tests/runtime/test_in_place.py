"""Weights that ONNX Runtime reads where they lie: which, that they are, and that the numbers stay the same."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from onnx_ig.graph.quirks.transposed_weights import SeparateTransposedWeightsPass
from onnx_ig.runtime.in_place import read_weights_in_place
from onnx_ig.runtime.session import Session

HEAD = '<ir_version: 8, opset_import: ["" : 18]> g '
RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(64, 64)).astype(np.float32)
LARGER = RNG.normal(size=(96, 96)).astype(np.float32)


def model(text: str, **weights: np.ndarray) -> ir.Model:
    """The graph in ``text`` with initialisers in memory of their own."""
    proto = onnx.parser.parse_model(HEAD + text)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in weights.items())
    made = ir.from_proto(proto)
    for name, value in weights.items():
        made.graph.initializers[name].const_value = ir.Tensor(value, name=name)
    return made


def of_onnx_runtime(graph: ir.Model, x: np.ndarray) -> np.ndarray:
    """The output for ``x`` with weights that ONNX Runtime owns."""
    file = ir.to_proto(graph).SerializeToString()
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize(
    ("text", "shape", "chosen"),
    [
        ("(float[N, 70, 64] x) => (float[N, 70, 64] y) { y = MatMul(x, w) }", (2, 70, 64), True),
        ("(float[N, T, 64] x) => (float[N, T, 64] y) { y = MatMul(x, w) }", (2, 70, 64), True),
        ("(float[N, 8, 9, 64] x) => (float[N, 8, 9, 64] y) { y = MatMul(x, w) }", (2, 8, 9, 64), True),
        # packing a weight pays for few rows
        ("(float[N, 5, 64] x) => (float[N, 5, 64] y) { y = MatMul(x, w) }", (2, 5, 64), False),
        ("(float[N, 64] x) => (float[N, 64] y) { y = MatMul(x, w) }", (2, 64), False),
        # what the optimiser may exchange
        ("(float[N, 64, 64] x) => (float[N, 64, 64] y) { y = MatMul(w, x) }", (2, 64, 64), False),
        ("(float[N, 64, 64] x) => (float[N, 64, 64] y) { a = MatMul(x, w) y = Add(a, w) }", (2, 64, 64), False),
        ("(float[N, 64, 64] x) => (float[N, 64, 64] y, float[64, 64] w) { y = MatMul(x, w) }", (2, 64, 64), False),
    ],
)
def test_which(text: str, shape: tuple[int, ...], chosen: bool) -> None:
    graph, weight = model(text, w=WEIGHT), WEIGHT.copy()
    graph.graph.initializers["w"].const_value = ir.Tensor(weight, name="w")
    assert read_weights_in_place(graph.clone()) == (["w"] if chosen else [])
    session, x = Session(graph, "cpu"), RNG.normal(size=shape).astype(np.float32)
    before = session.run({"x": x})["y"].copy()
    assert_allclose(before, of_onnx_runtime(graph, x), rtol=1e-5, atol=1e-5)
    weight *= 2
    after = session.run({"x": x})["y"]
    assert_array_equal(after, 2 * before if chosen else before)  # it has read the array itself, or a copy


def test_weights_that_are_the_lesser_part_are_copied() -> None:
    text = """(float[N, 70, 64] x) => (float[N, 96] y)
    { a = MatMul(x, w) b = ReduceMax<keepdims = 0>(a, axes) c = Pad(b, pads) y = MatMul(c, larger) }"""
    numbers = {"axes": np.array([1]), "pads": np.array([0, 0, 0, 32])}
    assert not read_weights_in_place(model(text, w=WEIGHT, larger=LARGER, **numbers))


@pytest.mark.parametrize("columns", [64, 80])
def test_transposed_weights_are_read_as_they_are(columns: int) -> None:
    text = f"""(float[N, 70, {columns}] x) => (float[N, 70, 64] y)
    {{ v = Unsqueeze(w, axis) s = Transpose<perm = [0, 2, 1]>(v) u = Squeeze(s, axis) a = MatMul(x, u)
       t = Transpose(w) b = MatMul(x, t) c = Transpose<perm = [0, 1]>(square) d = MatMul(b, c) y = Add(a, d) }}"""
    weight = RNG.normal(size=(64, columns)).astype(np.float32)
    graph = model(text, w=weight, square=WEIGHT, axis=np.zeros(1, np.int64))
    changed = graph.clone()
    assert read_weights_in_place(changed) == (["w"] if columns == 80 else [])
    kinds = Counter(node.op_type for node in changed.graph)
    assert kinds == {"FusedMatMul": 2, "MatMul": 1, "Add": 1, "Transpose": 1}
    x = RNG.normal(size=(2, 70, columns)).astype(np.float32)
    assert_allclose(Session(graph, "cpu").run({"x": x})["y"], of_onnx_runtime(graph, x), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_view_that_does_not_transpose_is_not_taken_for_one(axis: int) -> None:
    text = """(float[N, 70, 64] x) => (float[N, 70, 64] y)
    { v = Unsqueeze(w, axis) s = Transpose<perm = [0, 2, 1]>(v) u = Squeeze(s) a = MatMul(x, u)
       t = Einsum<equation = "nij,kj->nik">(a, u) b = MatMul(t, w) y = Relu(b) }"""
    graph = model(text, w=WEIGHT, axis=np.array([axis]))
    x = RNG.normal(size=(2, 70, 64)).astype(np.float32)
    expected = of_onnx_runtime(graph, x)
    changed = graph.clone()
    SeparateTransposedWeightsPass()(changed)
    for found in (Session(graph, "cpu"), Session(changed, "cpu")):
        assert_allclose(found.run({"x": x})["y"], expected, rtol=1e-4, atol=0.1)


@pytest.mark.parametrize("turned", [0, 1])
def test_gemm_reads_the_weight_itself(turned: int) -> None:
    text = f"""(float[N, 64] x) => (float[N, 64] y)
    {{ v = Unsqueeze(w, axis) s = Transpose<perm = [0, 2, 1]>(v) u = Squeeze(s, axis)
       y = Gemm<transB = {turned}>(x, u) }}"""
    graph = model(text, w=WEIGHT, axis=np.zeros(1, np.int64))
    changed = graph.clone()
    assert not read_weights_in_place(changed)  # packing pays for few rows
    assert [node.op_type for node in changed.graph] == ["Gemm"]
    x = RNG.normal(size=(3, 64)).astype(np.float32)
    assert_allclose(Session(graph, "cpu").run({"x": x})["y"], of_onnx_runtime(graph, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("perm", list(itertools.permutations(range(4)))[1:])
def test_transposes_that_the_optimiser_moves_leave_the_weights_alone(perm: tuple[int, ...]) -> None:
    text = f"""(float[36, 36, 36, 36] x) => (float[36, 36, 36, 36] y)
    {{ a = Transpose<perm = {list(perm)}>(x) b = MatMul(a, w) c = Relu(b)
       d = Transpose<perm = {np.argsort(perm).tolist()}>(c) t = Transpose(w) e = MatMul(d, t)
       f = Transpose<perm = {list(perm)}>(e) y = Relu(f) }}"""
    graph = model(text, w=WEIGHT[:36, :36].copy())
    assert read_weights_in_place(graph.clone()) == ["w"]
    x = RNG.normal(size=(36, 36, 36, 36)).astype(np.float32)
    assert_allclose(Session(graph, "cpu").run({"x": x})["y"], of_onnx_runtime(graph, x), rtol=1e-4, atol=1e-3)
