"""Additional inputs of every length beside the examples: the value of each example alone, or a refusal of its shape.

The one idea: a row too many is never dropped, and what the runtime says of sizes is said of the caller's arrays.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from click.testing import CliRunner

import onnx_ig
from onnx_ig.cli.app import app
from onnx_ig.errors import InputError

RNG = np.random.default_rng(0)
X, K = RNG.normal(size=(7, 3)).astype(np.float32), RNG.normal(size=(9, 3)).astype(np.float32)
SCAN = """c, o = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1], body = b
    (float[2] s, float[2] u) => (float[2] t, float[2] v) { t = Mul (s, u)  v = Sin (t) }> (ones, x)
    h = Mul (o, k)  y = Sigmoid (h)"""
PRODUCT = "h = Mul (x, k)  y = Sigmoid (h)"
# the inputs; the nodes; how many examples, the shapes of k that are answered, and those that are refused and why
MODELS: dict[str, tuple[str, str, int, list[tuple[int, ...]], dict[tuple[int, ...], str]]] = {
    "one row for all": (
        "float[N, 3] x, float[1, 3] k", PRODUCT, 7, [(1, 3)],
        {(7, 3): r"needs float \[1, 3\], which all examples.*once per example", (3,): r"needs float \[1, 3\]"},
    ),
    "a row each": (
        "float[N, 3] x, float[N, 3] k", PRODUCT, 7, [(7, 3), (1, 3)],
        {(8, 3): "one row for each of the 7", (2, 3): "one row for each of the 7"},
    ),
    "rows of another name": (
        "float[N, 3] x, float[M, 3] k", PRODUCT, 7, [(7, 3), (1, 3)], {(9, 3): "one row for each of the 7"},
    ),
    "a fixed batch": (
        "float[2, 3] x, float[2, 3] k", PRODUCT, 4, [(4, 3), (1, 3)], {(7, 3): "one row for each of the 4"},
    ),
    "a fixed batch that stays": (
        "float[2, 3] x, float[2, 3] k", SCAN, 4, [(4, 3), (1, 3)], {(2, 3): "one row for each of the 4"},
    ),
    "a matrix": (
        "float[N, 3] x, float[A, B] k", "h = MatMul (x, k)  y = Sigmoid (h)", 7, [(3, 3)],
        {(4, 3): r"itself does not run on these arrays \(x \[7, 3\], k \[4, 3\]\): .*MatMul"},
    ),
}  # fmt: skip


def model(inputs: str, nodes: str) -> onnx.ModelProto:
    rows = "2" if "[2" in inputs else "N"
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]> f ({inputs}) => (float[{rows}, 3] y)
        <float[2] ones = {{1, 1}}> {{ {nodes} }}"""
    )


@pytest.mark.parametrize("name", MODELS)
def test_additional_inputs(name: str) -> None:
    inputs, nodes, n, answered, refused = MODELS[name]
    for kind in (onnx_ig.IntegratedGradients, onnx_ig.InputXGradient):
        method = kind(model(inputs, nodes), provider="cpu")
        for shape in answered:
            k = np.resize(K, shape)
            found = method.attribute(X[:n], target=1, additional_forward_args=k)
            own = len(shape) > 1 and shape[0] == n
            for i in range(n):  # beside itself, where a model takes two
                pair = np.repeat(X[i : i + 1], 2, axis=0)
                theirs = np.repeat(k[i : i + 1], 2, axis=0) if own else k
                alone = method.attribute(pair, target=1, additional_forward_args=theirs)
                np.testing.assert_allclose(found[i], alone[0], rtol=0, atol=1e-6)
        for shape, why in refused.items():
            with pytest.raises(InputError, match=why):
                method.attribute(X[:n], target=1, additional_forward_args=np.resize(K, shape))


def test_inputs_of_one_example_have_lengths_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its output has no N in messages."""
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> f (float[5, 3] a, float[4, 3] b) => (float[1, 3] y)
        <int64[1] rows = {0}> { s = ReduceSum (a, rows)  t = ReduceMean (b, rows)  h = Mul (s, t)  y = Sigmoid (h) }"""
    )
    a, b = X[:5], K[:4]
    method = onnx_ig.IntegratedGradients(proto, provider="cpu")
    found, delta = method.attribute((a, b), target=(0, 1), return_convergence_delta=True)
    assert [v.shape for v in found] == [a.shape, b.shape] and np.abs(found[1]).max() > 1e-3
    np.testing.assert_allclose(delta, 0, atol=1e-5)
    for target, why in ((None, r"shape \[1, 3\]: a target"), (3, r"out of range for output \[1, 3\]")):
        with pytest.raises(InputError, match=why):
            method.attribute((a, b), target=target)
    monkeypatch.chdir(tmp_path)
    onnx.save(proto, "model.onnx")
    np.savez("inputs.npz", a=a, b=b)
    onnx_ig.export("model.onnx", "complete.onnx", inputs=["a", "b"], n_steps=4)
    for source in ("model", "complete"):
        words = ["attribute", f"{source}.onnx", "-i", "inputs.npz", "-o", "out", "--overwrite", "--target"]
        result = CliRunner().invoke(app, [*words, "0,1"])
        assert result.exit_code == 0, result.output
        result = CliRunner().invoke(app, [*words, "0,5"])
        assert result.exit_code == 4 and "out of range for output [1, 3]" in result.stderr, result.output
