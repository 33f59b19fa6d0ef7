"""What exporters write out is differentiated as one function, and keeps one tensor or two."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch
from numpy.testing import assert_allclose

import onnx_ig
from onnx_ig.runtime.session import Session

HEADER = '<ir_version: 8, opset_import: ["" : 18]> g (float[N, 5] x) => (float[N, 5] y)'
CONSTANTS = """<float half = {0.5}, float one = {1.0}, float root = {1.4142135}, float inverse = {0.70710678},
    float three = {3.0}, float cubic = {0.044715}, float scale = {0.79788456}, float nought = {0.0},
    float two = {2.0}, float small = {0.01}, int64[1] last = {-1}>"""

ERF = [
    "a = Div(x, root) b = Erf(a) c = Add(b, one) d = Mul(half, c) y = Mul(x, d)",
    "a = Div(x, root) b = Erf(a) c = Add(b, one) d = Mul(x, c) y = Mul(d, half)",
    "a = Mul(x, inverse) b = Erf(a) c = Add(one, b) d = Mul(x, half) y = Mul(d, c)",
]
TANH = [
    "a = Pow(x, three) b = Mul(a, cubic) c = Add(x, b) d = Mul(c, scale) e = Tanh(d) f = Add(e, one) h = Mul(x, half)"
    " y = Mul(h, f)",
    "a = Mul(x, x) b = Mul(a, x) c = Mul(cubic, b) d = Add(c, x) e = Mul(scale, d) t = Tanh(e) f = Add(one, t)"
    " h = Mul(half, f) y = Mul(x, h)",
]
SILU = ["s = Sigmoid(x) y = Mul(x, s)", "s = Sigmoid(x) y = Mul(s, x)"]
ROOT_MEAN_SQUARE = [
    "p = Pow(x, two) m = ReduceMean(p, last) a = Add(m, small) q = Sqrt(a) r = Div(one, q) y = Mul(x, r)",
    "p = Mul(x, x) m = ReduceMean(p, last) a = Add(m, small) q = Sqrt(a) r = Reciprocal(q) y = Mul(r, x)",
]
SOFTMAX = "s = Softmax(x) n = IsNaN(s) y = Where(n, nought, s)"
REFERENCE = {
    **dict.fromkeys(ERF, torch.nn.functional.gelu),
    **dict.fromkeys(TANH, lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
    SOFTMAX: lambda x: torch.softmax(x, 1),
    **dict.fromkeys(SILU, torch.nn.functional.silu),
    **dict.fromkeys(ROOT_MEAN_SQUARE, lambda x: x * torch.rsqrt((x * x).mean(1, keepdim=True) + 0.01)),
}
READ = {SOFTMAX: {"y"}, **{n: {"s", "y"} for n in SILU}, **{n: {"r", "x"} for n in ROOT_MEAN_SQUARE}}


def differentiated(nodes: str) -> onnx.ModelProto:
    return onnx_ig.differentiate(onnx.parser.parse_model(f"{HEADER} {CONSTANTS} {{ {nodes} }}"))


@pytest.mark.parametrize("nodes", list(REFERENCE))
def test_gradient(nodes: str) -> None:
    rng = np.random.default_rng(0)
    x, dy = (3 * rng.normal(size=(7, 5)).astype(np.float32) for _ in range(2))
    found = Session(differentiated(nodes), "cpu").run({"x": x, "cotangent_y": dy})["grad_x"]
    leaf = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    REFERENCE[nodes](leaf).backward(torch.tensor(dy, dtype=torch.float64))
    assert leaf.grad is not None
    assert_allclose(found, leaf.grad.numpy(), atol=1e-5)


@pytest.mark.parametrize("nodes", list(REFERENCE))
def test_the_backward_pass_reads_a_tensor_of_the_forward_pass_or_two(nodes: str) -> None:
    graph = differentiated(nodes).graph
    forward, read = [], {"y"}
    for node in reversed(graph.node):
        if read.intersection(node.output):
            forward.append(node)
            read.update(node.input)
    made = {y for node in forward for y in node.output}
    assert len(forward) == len(onnx.parser.parse_model(f"{HEADER} {CONSTANTS} {{ {nodes} }}").graph.node)
    backward = {x for node in graph.node if node not in forward for x in node.input}
    assert backward & (made | {"x"}) == READ.get(nodes, {"x"})


@pytest.mark.parametrize("nodes", ERF)
def test_onnx_runtime_fuses_the_forward_pass(nodes: str, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    model = differentiated(nodes).SerializeToString()
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    assert "Gelu" in {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}


def test_a_row_masked_altogether_has_no_gradient() -> None:
    x = np.full((2, 5), -np.inf, np.float32)
    x[0] = 1
    found = Session(differentiated(SOFTMAX), "cpu").run({"x": x, "cotangent_y": np.eye(2, 5, dtype=np.float32)})
    assert np.isfinite(found["grad_x"]).all() and not found["grad_x"][1].any()


@pytest.mark.parametrize(
    "nodes",
    [
        "a = Div(x, root) b = Erf(a) c = Add(b, half) d = Mul(half, c) y = Mul(x, d)",  # another number
        "a = Div(x, one) b = Erf(a) c = Add(b, one) d = Mul(half, c) y = Mul(x, d)",  # another slope
    ],
)
def test_what_only_looks_like_gelu_is_not_taken_for_it(nodes: str) -> None:
    x = np.linspace(-3, 3, 20, dtype=np.float32).reshape(4, 5)
    session = Session(differentiated(nodes), "cpu")
    ones, step = np.ones_like(x), np.float32(1e-2)
    above, below = (session.run({"x": x + s, "cotangent_y": ones})["y"] for s in (step, -step))
    found = session.run({"x": x, "cotangent_y": ones})["grad_x"]
    assert_allclose(found, (above - below) / (2 * step), atol=2e-3)


def test_an_inner_tensor_can_still_be_asked_for() -> None:
    model = onnx.parser.parse_model(f"{HEADER} {CONSTANTS} {{ {ERF[0]} }}")
    proto = onnx_ig.differentiate(model, wrt=["c"])
    assert Counter(node.op_type for node in proto.graph.node)["Erf"] == 1
    assert [y.name for y in proto.graph.output] == ["y", "grad_c"]


# as PyTorch's exporter transposes the keys of attention
IN_THREE = """a = Shape(x) p = Slice(a, two, three) q = Slice(a, three, four) first = Slice(a, nought, two)
    b = Concat<axis = 0>(minus, p, q) f = Reshape(x, b) t = Transpose<perm = [0, 2, 1]>(f)
    c = Concat<axis = 0>(first, q, p) y = Reshape(t, c)"""
OF_FOUR = '<ir_version: 8, opset_import: ["" : 18]> g (float[N, 3, S, 5] x) => (float[N, 3, R, Q] y)'
INTEGERS = "<int64[1] nought={0}, int64[1] two={2}, int64[1] three={3}, int64[1] four={4}, int64[1] minus={-1}>"


def of_four(nodes: str) -> onnx.ModelProto:
    return onnx_ig.differentiate(onnx.parser.parse_model(f"{OF_FOUR} {INTEGERS} {{ {nodes} }}"))


def test_matrices_transposed_in_three_dimensions_are_transposed_in_four() -> None:
    proto = of_four(IN_THREE)
    assert Counter(node.op_type for node in proto.graph.node) == {"Transpose": 2}
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 3, 4, 5)).astype(np.float32), rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
    found = Session(proto, "cpu").run({"x": x, "cotangent_y": dy})
    np.testing.assert_array_equal(found["y"], np.swapaxes(x, 2, 3))
    np.testing.assert_array_equal(found["grad_x"], np.swapaxes(dy, 2, 3))


@pytest.mark.parametrize(
    ("was", "other"),
    [
        ("c = Concat<axis = 0>(first, q, p)", "c = Concat<axis = 0>(first, p, q)"),
        ("b = Concat<axis = 0>(minus, p, q)", "b = Concat<axis = 0>(minus, q, p)"),
        ("perm = [0, 2, 1]", "perm = [0, 1, 2]"),
        ("perm = [0, 2, 1]", "perm = [1, 2, 0]"),
    ],
)
def test_what_only_looks_like_matrices_transposed_is_not_taken_for_it(was: str, other: str) -> None:
    assert was in IN_THREE
    proto = of_four(IN_THREE.replace(was, other))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    plain = onnx.parser.parse_model(f"{OF_FOUR} {INTEGERS} {{ {IN_THREE.replace(was, other)} }}")
    y = Session(plain, "cpu").run({"x": x})["y"]
    units = np.arange(y.size, dtype=np.float32).reshape(y.shape)  # every element has a place of its own
    found = Session(proto, "cpu").run({"x": x, "cotangent_y": units})
    np.testing.assert_array_equal(found["y"], y)
    places = Session(plain, "cpu").run({"x": np.arange(x.size, dtype=np.float32).reshape(x.shape)})["y"]
    expected = np.empty(x.size, np.float32)
    expected[places.astype(int).ravel()] = units.ravel()
    np.testing.assert_array_equal(found["grad_x"], expected.reshape(x.shape))
