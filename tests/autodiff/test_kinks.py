"""Gradients where the derivative does not exist: torch's conventions at kinks and ties, and no NaN beside them."""

import numpy as np
import onnx
import onnx.parser
import pytest

import onnx_ig
from onnx_ig.runtime.session import Session

# (nodes from x to y, x, expected gradient of Σ y)
TABLE: dict[str, tuple[str, list[float], list[float]]] = {
    "relu": ("y = Relu(x)", [-1, 0, 1], [0, 0, 1]),
    "leaky relu": ("y = LeakyRelu<alpha = 0.25>(x)", [-1, 0, 1], [0.25, 0.25, 1]),
    "elu": ("y = Elu<alpha = 0.5>(x)", [0, 1], [0.5, 1]),
    "abs": ("y = Abs(x)", [-2, 0, 2], [-1, 0, 1]),
    "clip passes at its bounds": ("y = Clip(x, low, high)", [-2, -1, 0, 1, 2], [0, 1, 1, 1, 0]),
    "hard swish": ("y = HardSwish(x)", [-4, -3, 3, 4], [0, 0, 1, 1]),
    "hard sigmoid": ("y = HardSigmoid<alpha = 0.5, beta = 0.5>(x)", [-1, 0, 1], [0, 0.5, 0]),
    "prelu": ("y = PRelu(x, high)", [0], [1]),
    "max shares among ties": ("y = Max(x, high)", [0, 1, 2], [0, 0.5, 1]),
    "min shares among ties": ("y = Min(x, high)", [0, 1, 2], [1, 0.5, 0]),
    "reduce max shares among ties": ("y = ReduceMax<keepdims = 0>(x)", [1, 3, 3], [0, 0.5, 0.5]),
    "reduce min shares among ties": ("y = ReduceMin<keepdims = 0>(x)", [1, 1, 3], [0.5, 0.5, 0]),
    "norm of nothing": ("y = ReduceL2<keepdims = 0>(x)", [0, 0], [0, 0]),
    "power zero": ("e = Sub(high, high) y = Pow(x, e)", [0, 2], [0, 0]),
    "product with a zero": ("y = ReduceProd<keepdims = 0>(x)", [2, 0, 3], [0, 6, 0]),
    "product with two zeros": ("y = ReduceProd<keepdims = 0>(x)", [2, 0, 0], [0, 0, 0]),
    "root of relu": ("r = Relu(x) y = Sqrt(r)", [-1, 4], [0, 0.25]),
    "root of clip": ("r = Clip(x, zero) y = Sqrt(r)", [-1, 4], [0, 0.25]),
    "guarded logarithm": (
        "c = Greater(x, zero) r = Where(c, x, zero) l = Log(r) y = Where(c, l, zero)",
        [-1, 2],
        [0, 0.5],
    ),
    "masked with infinity": ("c = Greater(x, zero) r = Where(c, x, minus) y = Exp(r)", [-1, 0.0, 1], [0, 0, np.e]),
    "log of a sum of nothing": ("r = Add(x, minus) y = ReduceLogSumExp<keepdims = 0>(r)", [1, 2], [0, 0]),
}


@pytest.mark.parametrize("name", list(TABLE))
def test_kink(name: str) -> None:
    nodes, x, expected = TABLE[name]
    reduces = "Reduce" in nodes
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]> kink (float[n] x) => (float[{"" if reduces else "n"}] y)
        <float low = {{-1.0}}, float high = {{1.0}}, float zero = {{0.0}}> {{ {nodes} }}"""
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(-np.inf, np.float32), "minus"))
    values = np.array(x, np.float32)
    cotangent = np.array(1.0, np.float32) if reduces else np.ones_like(values)
    session = Session(onnx_ig.differentiate(model, wrt=["x"]), "cpu")
    got = session.run({"x": values, "cotangent_y": cotangent})["grad_x"]
    np.testing.assert_allclose(got, np.array(expected, np.float32), rtol=1e-6)
