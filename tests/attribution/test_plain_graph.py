"""Attribution models agree with the plain computation, in which every optimisation of the graph is left out.

The plain computation differentiates the model as it is loaded, runs that at one path point after the other with a
one-hot cotangent and without ONNX Runtime's own optimisations, and sums in numpy.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import onnx_ir as ir
import onnxruntime as ort
import pytest

import onnx_ig
from onnx_ig.attribution import affine, build, make_plan
from onnx_ig.autodiff import composites, gradient, masks
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.loading.model import Model
from onnx_ig.quadrature import path_nodes_and_weights
from onnx_ig.runtime.session import Session
from tests.helpers.networks import NETWORKS, exported

MODELS = Path(__file__).parents[2] / "models"
TRAINED = {"digits_cnn": "seven.npy", "tabular_mlp": "malignant.npy"}
PIECES = """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 2] x) => (float[N, 4] y)
    <float[2, 4] w = {1, 2, 3, 4, 5, 6, 7, -8}>
    { a, b = Split <axis = 1, num_outputs = 2> (w)  v = Concat <axis = 1> (b, a)  h = MatMul (x, v)  y = Tanh (h) }"""
BASELINE = 0.1
PATH = path_nodes_and_weights("gausslegendre", 6)
TOLERANCE = 1e-5  # of the largest attribution

Arrays = dict[str, np.ndarray]


def _unchanged(_: ir.passes.InPlacePass, model: ir.Model) -> ir.passes.PassResult:
    return ir.passes.PassResult(model, False)


# Each optimisation: what it is called by, what stands there when it is left out, a model that it acts on.
OPTIMISATIONS: dict[str, tuple[Any, str, Any, str]] = {
    "path behind the affine prefix": (affine, "_COSTLY", frozenset(), "lenet_smooth"),
    "GELU as one function": (composites, "_gelu", lambda node: None, "vit"),
    "guarded Softmax as one function": (composites, "_guarded_softmax", lambda node: None, "bert"),
    "matrices transposed as one function": (composites, "_transposed_matrices", lambda node: None, "vit"),
    "products instead of transposes": (gradient, "turn_products", lambda op, but: None, "bert"),
    "what is not read": (gradient, "narrow", lambda op, kept: None, "vit"),
    "rearranged constants": (gradient.FoldRearrangedConstantsPass, "call", _unchanged, "weight in pieces"),
    "constants folded": (OpBuilder, "_folded", lambda op, values: values, "lenet_smooth"),
    "masks as products": (masks, "_may_be_infinite", lambda y: True, "lenet"),
    "common subexpressions": (gradient.passes.CommonSubexpressionEliminationPass, "call", _unchanged, "lstm"),
    "identities": (gradient.RemoveIdentitiesPass, "call", _unchanged, "lenet_smooth"),
    "transposed weights": (gradient.SeparateTransposedWeightsPass, "call", _unchanged, "unet_smooth"),
}


def _given(name: str) -> tuple[Model, Arrays, tuple[Any, ...]]:
    """The model, values for its inputs, and the target of every example."""
    if name in TRAINED:
        model = onnx_ig.load(MODELS / name / f"{name}.onnx")
        return model, {str(model.inputs[0].name): np.load(MODELS / name / TRAINED[name]).astype(np.float32)}, (1,)
    if name == "weight in pieces":
        return onnx_ig.load(onnx.parser.parse_model(PIECES)), {"x": np.array([[0.2, -0.1]], np.float32)}, (1,)
    network, model = NETWORKS[name], exported(name)
    tensors = (*network.inputs(), *network.extras())
    feeds = {str(x.name): tensor.numpy() for x, tensor in zip(model.inputs, tensors, strict=True)}
    return model, feeds, network.target if isinstance(network.target, tuple) else (network.target,)


def _moving(feeds: Arrays) -> Arrays:
    return {name: value for name, value in feeds.items() if value.dtype.kind == "f"}


def _plain(model: Model, feeds: Arrays, target: tuple[int, ...]) -> Arrays:
    """(x − x') · Σ_k w_k ∇F(x' + a_k (x − x')) of each float input."""
    with pytest.MonkeyPatch.context() as patch:
        for place, name, without, _ in OPTIMISATIONS.values():
            patch.setattr(place, name, without)
        proto = ir.to_proto(gradient.gradient_model(model.ir_model, list(_moving(feeds))))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (y,) = model.outputs
    assert y.shape is not None
    cotangent = np.zeros([len(next(iter(feeds.values()))), *y.shape[1:]], np.float32)
    cotangent[(slice(None), *target)] = 1
    sums: dict[str, Any] = dict.fromkeys(_moving(feeds), 0.0)
    for a, weight in zip(*PATH, strict=True):
        point = {n: ((1 - a) * BASELINE + a * x).astype(np.float32) for n, x in _moving(feeds).items()}
        grads = session.run([f"grad_{n}" for n in sums], {**feeds, **point, f"cotangent_{y.name}": cotangent})
        sums = {n: total + weight * grad for (n, total), grad in zip(sums.items(), grads, strict=True)}
    return {n: (x - BASELINE) * sums[n] for n, x in _moving(feeds).items()}


def _optimised(model: Model, feeds: Arrays, target: tuple[int, ...], form: str) -> ir.Model:
    plan = make_plan(model, form=form, inputs=list(_moving(feeds)), target=target, baselines=BASELINE, path=PATH)
    return build(model, plan)


def _assert_equal(built: ir.Model, feeds: Arrays, expected: Arrays) -> None:
    found = Session(built, "cpu", threads=1).run(feeds, [f"attribution_{name}" for name in expected])
    largest = max(np.abs(value).max() for value in expected.values())
    assert largest > 1e-3
    for name, value in expected.items():
        np.testing.assert_allclose(found[f"attribution_{name}"], value, rtol=0, atol=TOLERANCE * largest)


@pytest.mark.parametrize("name", [*TRAINED, "weight in pieces", *NETWORKS])
def test_agrees_with_the_plain_graph(name: str) -> None:
    given = _, feeds, _ = _given(name)
    expected = _plain(*given)
    for form in ("complete", "step"):
        _assert_equal(_optimised(*given, form), feeds, expected)


def _size(model: ir.Model) -> Counter[str]:
    """How many nodes of each operator there are, and how many constants."""
    operators = Counter(node.op_type for node in ir.traversal.RecursiveGraphIterator(model.graph))
    return operators + Counter(constants=len(model.graph.initializers))


@pytest.mark.parametrize("optimisation", OPTIMISATIONS)
def test_each_optimisation_changes_the_graph_and_not_the_result(
    optimisation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, without, acts_on = OPTIMISATIONS[optimisation]
    given = _, feeds, _ = _given(acts_on)
    built = _optimised(*given, "complete")
    result = Session(built, "cpu", threads=1).run(feeds)
    monkeypatch.setattr(place, name, without)
    less_optimised = _optimised(*given, "complete")
    assert _size(less_optimised) != _size(built)
    _assert_equal(less_optimised, feeds, {n: result[f"attribution_{n}"] for n in _moving(feeds)})
