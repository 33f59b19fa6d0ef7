"""Whatever a model says of its shapes, its gradient is the same; where only a run tells ranks, one is made to tell."""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from click.testing import CliRunner

import onnx_ig
from onnx_ig.cli.app import app
from onnx_ig.errors import InputError, ModelError, NotDifferentiableError
from onnx_ig.loading.model import load, tensors_of
from onnx_ig.runtime.session import Session
from tests.judging.declaring import declared

RNG = np.random.default_rng(0)


def parsed(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> g {text}')
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(w, name) for name, w in weights.items())
    return proto


def uniform(*shape: int) -> np.ndarray:
    return RNG.uniform(-1, 1, shape).astype(np.float32)


# The model with static shapes, and its inputs.
SAME = {
    "matrices": ("(float[2,3,4] a, float[4,5] b) => (float[2,3,5] y) { y = MatMul (a, b) }", [(2, 3, 4), (4, 5)]),
    "batches": (
        "(float[3,2,4] a, float[6,1,4,5] b) => (float[6,3,2,5] y) { y = MatMul (a, b) }",
        [(3, 2, 4), (6, 1, 4, 5)],
    ),
    "vector and matrix": ("(float[4] a, float[4,5] b) => (float[5] y) { y = MatMul (a, b) }", [(4,), (4, 5)]),
    "batch and vector": (
        "(float[2,3,4] a, float[4] b) => (float[2,3] y) { y = MatMul (a, b) }",
        [(2, 3, 4), (4,)],
    ),
    "vectors": ("(float[4] a, float[4] b) => (float y) { y = MatMul (a, b) }", [(4,), (4,)]),
    "attention": (
        """(float[2,3,8] x, float[8,8] w) => (float[2,3,8] y) {
            q = MatMul (x, w)  k = Einsum <equation = "...ij->...ji"> (x)  s = MatMul (q, k)  p = Softmax (s)
            v = MatMul (p, x)  y = Add (v, x) }""",
        [(2, 3, 8), (8, 8)],
    ),
    "shape arithmetic": (
        """(float[2,3,4,4] x, float[6,3,3,3] w) => (float[2,24] y) <int64[1] n = {0}, int64[1] rest = {-1}> {
            c = Conv <kernel_shape = [3, 3]> (x, w)  r = Relu (c)  s = Shape (r)  b = Gather (s, n)
            t = Concat <axis = 0> (b, rest)  y = Reshape (r, t) }""",
        [(2, 3, 4, 4), (6, 3, 3, 3)],
    ),
    "determinant": ("(float[2,3,3] x) => (float[2] y) { y = Det (x) }", [(2, 3, 3)]),
    "loop": (
        """(float[2,2] x, float[2,2] w) => (float[2,2] y) <int64 n = {3}, bool t = {1}> {
            y = Loop (n, t, x) <body = b (int64 i, bool c, float[] v) => (bool d, float[] u) {
                d = Identity (c)  p = MatMul (v, w)  u = Tanh (p) }> }""",
        [(2, 2), (2, 2)],
    ),
    "branches": (
        """(float[2,3] x, float[3,3] w) => (float[2,3] y) <bool t = {1}> {
            y = If (t) <then_branch = a () => (float[2,3] p) { p = MatMul (x, w) },
                        else_branch = b () => (float[2,3] q) { q = Sin (x) }> }""",
        [(2, 3), (3, 3)],
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_the_gradient_does_not_depend_on_what_is_declared(name: str) -> None:
    text, shapes = SAME[name]
    feeds = {str(x.name): uniform(*s) for x, s in zip(parsed(text).graph.input, shapes, strict=True)}
    results = {}
    for mode in ("static", "symbolic", "none"):
        gradient = onnx_ig.differentiate(declared(parsed(text), mode))
        session = Session(gradient, "cpu", threads=1)
        y = np.ones([int(d.dim_value) for d in parsed(text).graph.output[0].type.tensor_type.shape.dim], np.float32)
        results[mode] = session.run({**feeds, "cotangent_y": np.cumsum(y, dtype=np.float32).reshape(y.shape)})
    for mode in ("symbolic", "none"):
        for tensor, expected in results["static"].items():
            np.testing.assert_allclose(
                results[mode][tensor], expected, rtol=1e-6, atol=1e-6, err_msg=f"{mode} {tensor}"
            )


# Tensors whose rank onnx's own inference does not know, and how many axes they have.
KNOWN = {
    "by the weight": ("(float[] x, float[4,3,3,3] w) => (float[] y) { y = Conv (x, w) }", {"x": 4, "y": 4}),
    "by the kernel": ("(float[] x) => (float[] y) { y = MaxPool <kernel_shape = [2]> (x) }", {"x": 3}),
    "by the permutation": ("(float[] x) => (float[] y) { y = Transpose <perm = [0, 2, 1]> (x) }", {"x": 3, "y": 3}),
    "by the product": ("(float[] x, float[] w) => (float[] y) { y = Gemm (x, w) }", {"x": 2, "w": 2}),
    "by the equation": ("(float[] x) => (float[] y) { y = Einsum <equation = \"ij->j\"> (x) }", {"x": 2, "y": 1}),
    "by a peer": ("(float[] x, float[N,3] w) => (float[] y) { y = Concat <axis = 0> (x, w) }", {"x": 2}),
    "by run-time axes": ("(float[N,1,3] x, int64[1] a) => (float[] y) { y = Squeeze (x, a) }", {"y": 2}),
    "by repeats": ("(float[] x, int64[3] n) => (float[] y) { y = Tile (x, n) }", {"x": 3, "y": 3}),
    "not by a branch that may not run": (
        """(float[] x, bool t) => (float[] y) { y = If (t) <
            then_branch = a () => (float[] p) { p = Transpose <perm = [1, 0]> (x) },
            else_branch = b () => (float[] q) { q = Tanh (x) }> }""",
        {"x": None},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_ranks_are_known_from_what_reads_a_tensor(name: str) -> None:
    text, expected = KNOWN[name]
    tensors = {str(v.name): v for v in tensors_of(load(parsed(text)).ir_model.graph)}
    assert {n: None if tensors[n].shape is None else len(tensors[n].shape) for n in expected} == expected


def resized() -> onnx.ModelProto:
    """y = x reshaped to what is fed, and enlarged: a Resize needs to know how many axes it has."""
    text = """(float[] x, int64[n] s) => (float[] y) {
        h = Reshape (x, s)  t = Tanh (h)  y = Resize <mode = "linear", axes = [2, 3]> (t, , , z) }"""
    return parsed(text, z=np.array([8, 8]))


X, S = uniform(2, 16), np.array([-1, 1, 4, 4])


def test_ranks_that_only_a_run_tells_are_observed() -> None:
    with pytest.raises(NotDifferentiableError, match="number of axes"):
        onnx_ig.differentiate(resized())
    gradient = onnx_ig.differentiate(load(resized(), example_inputs={"x": X, "s": S}))
    expected = onnx_ig.differentiate(load(resized(), shapes={"x": ["N", 16], "s": [4]}))
    v, other = uniform(3, 1, 8, 8), uniform(3, 16)  # other sizes than those observed
    runs = [Session(g, "cpu", threads=1).run({"x": other, "s": S, "cotangent_y": v}) for g in (gradient, expected)]
    np.testing.assert_allclose(runs[0]["grad_x"], runs[1]["grad_x"], rtol=1e-6)
    session = Session(gradient, "cpu", threads=1)
    with pytest.raises(ModelError, match="Reshape"):
        session.run({"x": X, "s": np.array([2, 4, 4]), "cotangent_y": v})
    with pytest.raises(ModelError, match="rank"):
        session.run({"x": X[0], "s": S, "cotangent_y": v})
    with pytest.raises(InputError, match="'s' has none"):
        load(resized(), example_inputs=X)


def test_a_body_that_the_standard_writes_for_known_ranks_only() -> None:
    """RotaryEmbedding of [batch, length, heads · size] or [batch, heads, length, size]."""
    text = """<ir_version: 10, opset_import: ["" : 23]> g (float[] x, float[1,4,2] c, float[1,4,2] s) => (float[] y)
    { y = RotaryEmbedding <num_heads = 2> (x, c, s) }"""
    proto = onnx.parser.parse_model(text)
    with pytest.raises(NotDifferentiableError, match="number of axes of 'x' is unknown"):
        onnx_ig.differentiate(proto, wrt=["x"])
    feeds = {name: uniform(1, 4, size) for name, size in (("x", 8), ("c", 2), ("s", 2), ("cotangent_y", 8))}
    observed = load(proto, example_inputs={name: feeds[name] for name in "xcs"})
    sized = load(proto, shapes={"x": ["N", 4, 8]})
    runs = [Session(onnx_ig.differentiate(m, wrt=["x"]), "cpu", threads=1).run(feeds) for m in (observed, sized)]
    np.testing.assert_allclose(runs[0]["grad_x"], runs[1]["grad_x"], rtol=1e-6)


def test_attribute_observes_ranks_where_it_must(tmp_path: Path) -> None:
    found = onnx_ig.InputXGradient(resized()).attribute(X, (0, 3, 3), S)
    declaring = load(resized(), shapes={"x": ["N", 16], "s": [4]})
    np.testing.assert_allclose(found, onnx_ig.InputXGradient(declaring).attribute(X, (0, 3, 3), S), rtol=1e-6)

    onnx.save(resized(), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", X), np.save(tmp_path / "s.npy", S)
    export = ["export", str(tmp_path / "m.onnx"), "--input", "x", "--target", "0,3,3", "-o", str(tmp_path / "e.onnx")]
    export += ["--algorithm", "input-x-gradient"]
    examples = [f"--example-input={name}={tmp_path / name}.npy" for name in "xs"]
    assert CliRunner().invoke(app, export).exit_code != 0
    assert CliRunner().invoke(app, [*export, *examples]).exit_code == 0
    result = Session(tmp_path / "e.onnx", "cpu", threads=1).run({"x": X, "s": S})
    np.testing.assert_allclose(result["attribution_x"], found, rtol=1e-5)
    attribute = [
        "attribute",
        str(tmp_path / "m.onnx"),
        "-i",
        str(tmp_path / "x.npy"),
        f"--extra=s={tmp_path / 's.npy'}",
    ]
    attribute += ["--target", "0,3,3", "-o", str(tmp_path / "report")]
    result = CliRunner().invoke(app, attribute)
    assert result.exit_code == 0, result.stderr
