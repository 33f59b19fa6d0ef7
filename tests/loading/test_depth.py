"""Reading a model costs rounds of shape inference over the whole graph: so many, however deep the model is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

import onnx_ig
from onnx_ig.loading import shape_facts

WEIGHT = 0.5 * np.eye(8, dtype=np.float32)


def normalised(i: int) -> str:
    """A residual layer and a LayerNormalization in small operators."""
    return f"""a{i} = MatMul (h{i}, w)  r{i} = Relu (a{i})  c{i} = Add (h{i}, r{i})  m{i} = ReduceMean (c{i}, last)
    d{i} = Sub (c{i}, m{i})  q{i} = Mul (d{i}, d{i})  v{i} = ReduceMean (q{i}, last)  e{i} = Add (v{i}, tiny)
    s{i} = Sqrt (e{i})  h{i + 1} = Div (d{i}, s{i})"""


def heads(i: int) -> str:
    """A layer that splits its features into heads and joins them again, by shapes computed in the graph."""
    return f"""a{i} = MatMul (h{i}, w)  s{i} = Shape (a{i})  f{i} = Slice (s{i}, zero, two, zero)
    t{i} = Concat <axis = 0> (f{i}, two, minus)  g{i} = Reshape (a{i}, t{i})
    p{i} = Transpose <perm = [0, 2, 1, 3]> (g{i})
    k{i} = Softmax (p{i})  u{i} = Transpose <perm = [0, 2, 1, 3]> (k{i})  h{i + 1} = Reshape (u{i}, s{i})"""


def deep(layer: Callable[[int], str], layers: int) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]> f (float[N, T, 8] x) => (float[N, 8] y)
        <int64[1] last = {{-1}}, int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}},
         int64[1] minus = {{-1}}, float tiny = {{0.00001}}>
        {{ h0 = Identity (x) {" ".join(layer(i) for i in range(layers))}
           y = ReduceMean <keepdims = 0> (h{layers}, one) }}"""
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHT, "w"))
    return proto


@pytest.mark.parametrize("layer", [normalised, heads])
def test_rounds_of_inference(layer: Callable[[int], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, counts = [0], []
    once = shape_facts.onnx_inference

    def counted(model: ir.Model) -> None:
        rounds[-1] += 1
        once(model)

    monkeypatch.setattr(shape_facts, "onnx_inference", counted)
    for layers in (2, 5):
        path = onnx_ig.export(deep(layer, layers), tmp_path / f"{layers}.onnx", target=1, n_steps=4)
        for source in (deep(layer, layers), path):
            rounds.append(0)
            onnx_ig.load(source)
        counts.append(rounds[-2:])
    assert counts[0] == counts[1]
