"""The path laid behind the affine prefix gives what the path laid at the inputs gives."""

import numpy as np
import onnx
import onnx.parser
import pytest

import onnx_ig
from onnx_ig.attribution import build, make_plan
from onnx_ig.attribution.affine import affine_frontier
from onnx_ig.autodiff.gradient import lowered_graph
from onnx_ig.loading.model import Model, tensors_of
from onnx_ig.quadrature import path_nodes_and_weights
from onnx_ig.runtime.session import Session


def attribute(model: Model, feeds: dict[str, np.ndarray], affine_prefix: bool) -> dict[str, np.ndarray]:
    """Attributions of every float input at the first target, baselines of 0.1, six path points."""
    inputs = [str(x.name) for x in model.inputs if feeds[str(x.name)].dtype.kind == "f"]
    rank = len(model.outputs[0].shape) - 1
    plan = make_plan(
        model,
        inputs=inputs,
        target=(0,) * rank,
        baselines=0.1,
        path=path_nodes_and_weights("gausslegendre", 6),
        affine_prefix=affine_prefix,
    )
    result = Session(build(model, plan), "cpu").run(feeds)
    return {name: value for name, value in result.items() if name.startswith(("attribution_", "convergence"))}


def assert_equal(model: Model, feeds: dict[str, np.ndarray]) -> None:
    plain, optimised = (attribute(model, feeds, affine) for affine in (False, True))
    scale = max(np.abs(value).max() for value in plain.values())
    for name, value in plain.items():  # the delta is a difference of sums: it carries their rounding
        total = sum(np.abs(v).sum() for n, v in plain.items() if n.startswith("attribution_"))
        bound = 2e-5 * scale if name.startswith("attribution_") else 1e-5 * max(total, 1.0)
        np.testing.assert_allclose(optimised[name], value, atol=bound)


# text of the graph, the frontier's tensors
FRONTIERS = {
    "behind a product": ("h = MatMul (x, w)  r = Relu (h)  y = MatMul (r, w)", {"h"}),
    "two branches": ("h = MatMul (x, w)  a = Relu (h)  b = Sin (x)  y = Add (a, b)", {"h", "x"}),
    "joined": ("h = MatMul (x, w)  s = Add (h, x)  m = Mul (s, c)  y = Tanh (m)", {"m"}),
    "product of two moving": ("h = MatMul (x, w)  y = Mul (h, x)", {"h", "x"}),
    "nothing costly": ("h = Add (x, c)  y = Tanh (h)", {"x"}),
    "affine altogether": ("h = MatMul (x, w)  y = Add (h, c)", {"y"}),
    "quotient": ("h = MatMul (x, w)  y = Div (c, h)", {"h"}),
    "its own scale": ("h = MatMul (x, w)  n = ReduceMean (h, ax)  d = Sub (h, n)  y = Exp (d)", {"d"}),
}


@pytest.mark.parametrize("name", FRONTIERS)
def test_frontier(name: str) -> None:
    text, expected = FRONTIERS[name]
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x) => (float[N, 3] y)
        <float[3, 3] w = {{1, 2, 3, 4, 5, 6, 7, 8, 10}}, float[3] c = {{0.5, 1, 2}}, int64[1] ax = {{1}}>
        {{ {text} }}"""
    )
    model = onnx_ig.load(proto)
    graph = model.ir_model.graph
    values = {v.name: v for v in tensors_of(graph)}
    found = affine_frontier(list(graph), [values["x"]], values["y"], batched=True)
    assert {v.name for v in found} == expected
    assert_equal(model, {"x": np.array([[0.1, 0.7, -0.4], [0.9, 0.2, 0.3]], np.float32)})


# the same of sequences; what gives the examples no axis of their own is not part of the prefix
OF_SEQUENCES = {
    "examples on axis 1": (
        "h = MatMul (x, w)  t = Transpose <perm = [1, 0, 2]> (h)  e = Tanh (t)  u = Transpose <perm = [1, 0, 2]> (e)",
        {"t"},
    ),
    "and again on axis 0": (
        "h = MatMul (x, w)  t = Transpose <perm = [1, 0, 2]> (h)  u0 = Transpose <perm = [1, 0, 2]> (t)  u = Exp (u0)",
        {"u0"},
    ),
    "examples and steps in one axis": (
        "h = MatMul (x, w)  f = Reshape (h, flat)  e = Tanh (f)  s = Shape (x)  u = Reshape (e, s)",
        {"h"},
    ),
    "an axis before": ("h = MatMul (x, w)  b = Unsqueeze (h, zero)  e = Tanh (b)  u = Squeeze (e, zero)", {"b"}),
    # the adjoint of the product reads tᵀ, which is x at its end point and not on the path
    "a transposed factor": (
        "t = Transpose <perm = [0, 2, 1]> (x)  h = MatMul (w, t)  e = Tanh (h)  a = Transpose <perm = [0, 2, 1]> (e)"
        "  p = MatMul (a, t)  u = MatMul (p, a)",
        {"h", "t"},
    ),
    "transposed twice": (
        "t = Transpose <perm = [0, 2, 1]> (x)  q = Transpose <perm = [0, 2, 1]> (t)  h = MatMul (q, w)  e = Tanh (h)"
        "  u = Mul (e, q)",
        {"h", "q"},
    ),
    "the same twice": ("h = MatMul (x, w)  g = MatMul (x, w)  e = Tanh (h)  f = Exp (g)  u = Add (e, f)", {"h", "g"}),
    "a vector for each place": ("h = MatMul (x, w)  m = Mul (h, places)  u = Tanh (m)", {"m"}),
}


@pytest.mark.parametrize("name", OF_SEQUENCES)
def test_frontier_of_sequences(name: str) -> None:
    text, expected = OF_SEQUENCES[name]
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]> f (float[N, 4, 3] x) => (float[N, 3] y)
        <float[3, 3] w = {{1, 2, 3, 4, 5, 6, 7, 8, 10}}, float[4, 1] places = {{0.5, 1, 2, 1}}, int64[1] ax = {{1}},
         int64[2] flat = {{-1, 3}}, int64[1] zero = {{0}}>
        {{ {text}  y = ReduceMean <keepdims = 0> (u, ax) }}"""
    )
    model = onnx_ig.load(proto)
    graph = model.ir_model.graph
    values = {v.name: v for v in tensors_of(graph)}
    found = affine_frontier(list(graph), [values["x"]], values["y"], batched=True)
    assert {v.name for v in found} == expected
    assert_equal(model, {"x": np.random.default_rng(0).normal(scale=0.1, size=(3, 4, 3)).astype(np.float32)})


def test_frontier_in_recurrent_layers() -> None:
    """The layer's products by its input, of all steps at once, and what its initial states are."""
    generator = np.random.default_rng(0)
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 7, 3] x, float[N, 4] c) => (float[N, 10] y)
        <int64[3] apart = {0, 2, 5}, int64[2] together = {0, -1}> {
          t = Transpose <perm = [1, 0, 2]> (x)  h = MatMul (c, s)  hs = Reshape (h, apart)
          h0 = Transpose <perm = [1, 0, 2]> (hs)
          all, last = LSTM <hidden_size = 5, direction = "bidirectional"> (t, w, r, b, , h0)
          ends = Transpose <perm = [1, 0, 2]> (last)  y = Reshape (ends, together) }"""
    )
    for name, shape in {"w": (2, 20, 3), "r": (2, 20, 5), "b": (2, 40), "s": (4, 10)}.items():
        value = generator.normal(scale=0.4, size=shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    model = onnx_ig.load(proto)
    lowered = lowered_graph(model.ir_model, ["x", "c"], ["y"])
    laid = affine_frontier(lowered.nodes, lowered.wrt, lowered.outputs[0], batched=True)
    found = [([d if isinstance(d, int) else d.value for d in f.shape], axis) for f, axis in laid.items()]
    assert sorted(found, key=str) == [(["N", 5], 0)] * 2 + [([7, "N", 20], 1)] * 2
    feeds = {"x": generator.normal(size=(2, 7, 3)), "c": generator.normal(size=(2, 4))}
    assert_equal(model, {name: value.astype(np.float32) for name, value in feeds.items()})


# the graph, a tensor to attribute at that simplification would take for another
AT = {
    "an Identity": ("i = Identity (x)  h = MatMul (i, w)  y = Tanh (h)", "i"),
    "transposed twice": (
        "t = Transpose <perm = [1, 0]> (x)  i = Transpose <perm = [1, 0]> (t)  h = MatMul (i, w)  y = Tanh (h)",
        "i",
    ),
    "computed twice": (
        "j = Mul (x, c)  i = Mul (x, c)  a = Tanh (j)  h = MatMul (i, w)  b = Tanh (h)  y = Add (a, b)",
        "i",
    ),
}


@pytest.mark.parametrize("name", AT)
def test_a_tensor_to_attribute_at_stays_one(name: str) -> None:
    text, at = AT[name]
    model = onnx_ig.load(
        onnx.parser.parse_model(
            f"""<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x) => (float[N, 3] y)
            <float[3, 3] w = {{1, 2, 3, 4, 5, 6, 7, 8, 10}}, float[3] c = {{0.5, 1, 2}}> {{ {text} }}"""
        )
    )
    x = np.array([[0.1, 0.7, -0.4], [0.9, 0.2, 0.3]], np.float32)
    path = path_nodes_and_weights("gausslegendre", 6)
    found = []
    for affine_prefix in (True, False):
        plan = make_plan(model, at=[at], target=(1,), baselines=0.1, path=path, affine_prefix=affine_prefix)
        found.append(Session(build(model, plan), "cpu").run({"x": x})[f"attribution_{at}"])
    assert np.abs(found[0]).max() > 1e-2
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
