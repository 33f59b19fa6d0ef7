"""Graphs written in unusual ways, through every door: all of them are y = tanh(x W), whose gradient is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.errors import ModelError
from onnx_ig.inspection import inspect
from onnx_ig.runtime.session import Session
from tests.helpers.doors import DOORS, NODES, WEIGHTS, Case, assert_right

_rng = np.random.default_rng(0)
W = np.round(_rng.standard_normal((3, 4)), 1).astype(np.float32) * (_rng.uniform(size=(3, 4)) < 0.7)
X = _rng.standard_normal((2, 3)).astype(np.float32)
PRODUCT, TANH = helper.make_node("MatMul", ["x", "W"], ["h"]), helper.make_node("Tanh", ["h"], ["y"])
BATCH = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])


def out(name: str, shape: Sequence[Any] = ("N", 4), kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def weight(array: np.ndarray, name: str = "W") -> onnx.TensorProto:
    return numpy_helper.from_array(array, name)


def model(
    nodes: Sequence[onnx.NodeProto] = (PRODUCT, TANH),
    weights: Sequence[onnx.TensorProto] = (weight(W),),
    *,
    inputs: Sequence[onnx.ValueInfoProto] = (BATCH,),
    outputs: Sequence[onnx.ValueInfoProto] = (out("y"),),
    opsets: Sequence[tuple[str, int]] = (("", 17),),
    **parts: Any,
) -> onnx.ModelProto:
    functions = parts.pop("functions", ())
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(weights), **parts)
    imports = [helper.make_opsetid(*each) for each in opsets]
    return helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=8)


def sparse(flat: bool) -> onnx.SparseTensorProto:
    """W by its elements that are not zero, at flat places or at one row of coordinates each."""
    places = np.flatnonzero(W) if flat else np.argwhere(W)
    return helper.make_sparse_tensor(weight(W[W != 0]), weight(places, "places"), W.shape)


def constant(**value: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["W"], **value)


def of_another_opset(opset: int) -> onnx.ModelProto:
    """tanh h as (1 − exp(−2h)) / (1 + exp(−2h)), in a function with a reduction as that opset writes it."""
    text = f"""<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[N, 3] x) => (float[N, 4] y) {{ h = MatMul (x, W)  y = own.tanh (h) }}
        <domain: "own", opset_import: ["" : {opset}]> tanh (h) => (y) {{
          axes = Constant <value_ints = [-1]> ()  column = Unsqueeze (h, axes)
          z = Sub (column, column)  other = Concat <axis = -1> (column, z)
          sum = {"ReduceSum (other, axes)" if opset >= 13 else "ReduceSum <axes = [-1]> (other)"}
          flat = {"Squeeze (sum, axes)" if opset >= 13 else "Squeeze <axes = [-1]> (sum)"}  y = Tanh (flat) }}"""
    parsed = onnx.parser.parse_model(text)
    parsed.graph.initializer.append(weight(W))
    return parsed


def with_default(first: bool = False) -> onnx.ModelProto:
    """y = tanh(s · x W), where s is an input that is 1 unless fed."""
    nodes = [PRODUCT, helper.make_node("Mul", ["h", "s"], ["q"]), helper.make_node("Tanh", ["q"], ["y"])]
    inputs = [BATCH, out("s", [1])]
    return model(nodes, [weight(W), weight(np.ones(1, np.float32), "s")], inputs=inputs[::-1] if first else inputs)


def with_every_weight_listed(ir_version: int) -> onnx.ModelProto:
    proto = model(inputs=[BATCH, out("W", [3, 4])])
    proto.ir_version = ir_version
    return proto


CASES: dict[str, Callable[[], onnx.ModelProto]] = {
    "as usual": model,
    "nodes in no order": lambda: model([TANH, PRODUCT]),
    "sparse weight": lambda: model(weights=[], sparse_initializer=[sparse(flat=True)]),
    "sparse weight by coordinates": lambda: model(weights=[], sparse_initializer=[sparse(flat=False)]),
    "sparse constant": lambda: model([constant(sparse_value=sparse(flat=True)), PRODUCT, TANH], []),
    "an output that is a weight": lambda: model(outputs=[out("y"), out("W", [3, 4])]),
    "an output that is a constant": lambda: model(
        [helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0]), PRODUCT, TANH],
        outputs=[out("c", [2]), out("y")],
    ),
    "an output that is the input": lambda: model(outputs=[BATCH, out("y")]),
    "an output twice": lambda: model(outputs=[out("y"), out("y")]),
    "strings": lambda: model(
        [helper.make_node("Constant", [], ["s"], value_strings=["a", "b"]), PRODUCT, TANH],
        outputs=[out("y"), out("s", [2], TensorProto.STRING)],
    ),
    "a function of a newer opset": lambda: of_another_opset(18),
    "a function of an older opset": lambda: of_another_opset(13),
    "a default not fed": with_default,
    "a default not fed, listed first": lambda: with_default(first=True),
    "a default of the attributed input": lambda: model(weights=[weight(W), weight(np.zeros((1, 3), np.float32), "x")]),
    "weights listed as inputs, of old": lambda: with_every_weight_listed(3),
    "weights listed as inputs": lambda: with_every_weight_listed(8),
    "an optional": lambda: model(
        [
            *(
                PRODUCT,
                helper.make_node("Optional", ["h"], ["o"]),
                helper.make_node("OptionalGetElement", ["o"], ["g"]),
            ),
            helper.make_node("Tanh", ["g"], ["y"]),
        ]
    ),
    "domains that nothing uses": lambda: model(opsets=[("ai.onnx.ml", 3), ("", 17), ("org.unknown", 5)]),
}


def gradient(x: np.ndarray, target: int = 1, scale: float = 1.0) -> np.ndarray:
    """∂ tanh(s · x W)_t / ∂x."""
    z = scale * x.astype(np.float64) @ W
    return np.asarray((1 - np.tanh(z[:, target : target + 1]) ** 2) * scale * W[:, target])


def integrated(scale: float = 1.0) -> dict[str, np.ndarray]:
    return {"x": sum(w * gradient(a * X, scale=scale) for a, w in zip(NODES, WEIGHTS, strict=True)) * X}


@pytest.mark.parametrize("name", CASES)
def test_every_door(name: str, tmp_path: Path) -> None:
    proto = CASES[name]()
    case = Case(proto, {"x": X})  # defaults need not be fed
    for door in ("engine", "complete", "step"):
        assert_right(DOORS[door](case, {}, tmp_path)(case, {}), integrated(), note=door)
    assert ("x", "y") in [(g.wrt, g.output) for g in inspect(proto).gradients if g.status == "yes"]
    made = onnx_ig.differentiate(proto, wrt=["x"], outputs=["y"])
    u = np.eye(4, dtype=np.float32)[[1, 1]]
    found = Session(made, "cpu", threads=1).run({"x": X, "cotangent_y": u})
    np.testing.assert_allclose(found["grad_x"], gradient(X), rtol=1e-4, atol=1e-6)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    np.save(tmp_path / "x.npy", X)
    arguments = ["attribute", tmp_path / "m.onnx", "-i", f"x={tmp_path / 'x.npy'}", "--target", "1", "--n-steps", "3"]
    result = CliRunner().invoke(app, [*map(str, arguments), "-o", str(tmp_path / "report")])
    assert result.exit_code == 0, result.stderr
    stored = np.load(tmp_path / "report" / "attributions.npz")
    assert_right({"x": stored[next(k for k in stored.files if k.endswith("x"))]}, integrated(), note="command line")


def test_a_default_is_overridden(tmp_path: Path) -> None:
    proto, s = with_default(), np.array([0.5], np.float32)
    case = Case(proto, {"x": X}, shared={"s": s})
    for door in ("engine", "complete", "step"):
        assert_right(DOORS[door](case, {}, tmp_path)(case, {}), integrated(0.5), note=door)
    positional = onnx_ig.IntegratedGradients(with_default(first=True), provider="cpu")
    for further in (s, (s,), {"s": s}):
        found = positional.attribute(X, target=1, additional_forward_args=further, n_steps=3)
        assert_right({"x": found}, integrated(0.5))
    made = Session(onnx_ig.differentiate(proto, outputs=["y"]), "cpu", threads=1)
    u = np.eye(4, dtype=np.float32)[[1, 1]]
    np.testing.assert_allclose(
        made.run({"x": X, "s": s, "cotangent_y": u})["grad_x"], gradient(X, scale=0.5), rtol=1e-4, atol=1e-6
    )
    assert made.output_names[-1] == "grad_x"  # by the default itself only if asked
    assert onnx_ig.differentiate(proto, wrt=["s"], outputs=["y"]).graph.output[-1].name == "grad_s"


REFUSED = {
    "a circle": (
        lambda: model([helper.make_node("Add", ["x", "y"], ["h"]), TANH], outputs=[out("y", ["N", 3])]),
        "in a circle",
    ),
    "a sparse element outside": (
        lambda: model(
            weights=[],
            sparse_initializer=[
                helper.make_sparse_tensor(weight(np.ones(1, np.float32)), weight(np.array([12]), "places"), W.shape)
            ],
        ),
        "outside its shape",
    ),
    "functions that no converter brings together": (
        lambda: model(
            [PRODUCT, helper.make_node("f", ["h"], ["y"], domain="own")],
            opsets=[("", 17), ("own", 1)],
            functions=[
                helper.make_function(
                    "own", "f", ["a"], ["b"], [helper.make_node("Gelu", ["a"], ["b"])], [helper.make_opsetid("", 20)]
                )
            ],
        ),
        "function own::f is of opset 20 in a model of opset 17",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(ModelError, match=words):
        onnx_ig.load(make())
