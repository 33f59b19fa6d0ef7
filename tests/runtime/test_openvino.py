"""OpenVINO as a provider: the numbers of ONNX Runtime, compared on the first run, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import openvino
import pytest
from numpy.testing import assert_allclose

import onnx_ig
from onnx_ig.errors import ModelError, ProviderError
from onnx_ig.runtime.openvino_session import OpenVinoSession
from onnx_ig.runtime.session import Session
from tests.helpers.networks import NETWORKS

HEADER = '<ir_version: 8, opset_import: ["" : 18]>'


def model(size: int = 4) -> onnx.ModelProto:
    text = f"g (float[N, {size}] x) => (float[N, {size}] y) {{ h = MatMul(x, W) t = Tanh(h) y = MatMul(t, V) }}"
    proto = onnx.parser.parse_model(HEADER + text)
    for seed, name in enumerate(("W", "V")):
        values = np.random.default_rng(seed).normal(size=(size, size)).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return proto


@pytest.mark.parametrize(
    "name, provider, tolerance",
    [
        ("mlp_smooth", "openvino", 1e-4),
        ("mlp_smooth", "openvino-bf16", 5e-2),
        ("resnet_smooth", "openvino", 1e-4),
        ("lstm", "openvino", 1e-4),
        ("gru", "openvino", 1e-4),
        ("bert", "openvino", 1e-4),
    ],
)
def test_same_attributions(name: str, provider: str, tolerance: float) -> None:
    network = NETWORKS[name]
    source: Any = network.module()
    x, extra = network.inputs(3), network.extras(3)
    keywords: dict[str, Any] = {"target": network.target, "additional_forward_args": extra or None, "n_steps": 8}
    expected = onnx_ig.IntegratedGradients(source, provider="cpu").attribute(x, **keywords, internal_batch_size=6)
    method = onnx_ig.IntegratedGradients(source, provider=provider)
    found, delta = method.attribute(x, **keywords, internal_batch_size=6, return_convergence_delta=True)
    assert method.provider == provider
    assert delta.shape == (3,)
    for a, b in zip(found, expected, strict=True):
        assert_allclose(a, b, atol=tolerance * float(b.abs().max()))


@pytest.mark.parametrize("algorithm", ["input-x-gradient", "integrated-gradients"])
def test_einsums_of_one_weight_in_an_exported_file(algorithm: str, tmp_path: Path) -> None:
    """As a plain client opens it: nothing of our session's is there to help."""
    proto = onnx.parser.parse_model(
        HEADER + "g (float[N, 8, 2, 16] y) => (float[N, 32] z) <int64[1] one = {1}> {"
        ' v = Einsum <equation = "nibd,hbd->nih"> (y, w)  t = Tanh (v)  z = ReduceSum <keepdims = 0> (t, one) }'
    )
    generator = np.random.default_rng(0)
    weight, y = (generator.normal(scale=0.3, size=s).astype(np.float32) for s in [(32, 2, 16), (2, 8, 2, 16)])
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx_ig.export(proto, tmp_path / "g.onnx", algorithm=algorithm, target=1)
    expected = Session(tmp_path / "g.onnx", "cpu").run({"y": y})["attribution_y"]
    compiled = openvino.Core().compile_model(tmp_path / "g.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert_allclose(compiled({"y": y})["attribution_y"], expected, atol=1e-4 * np.abs(expected).max())


class _Wrong:
    """A request whose results are off by a tenth."""

    def __init__(self, right: Any) -> None:
        self._right = right

    def __getattr__(self, name: str) -> Any:
        return getattr(self._right, name)

    def get_output_tensor(self, index: int) -> Any:
        tensor = self._right.get_output_tensor(index)
        tensor.data[:] *= 1.1
        return tensor


def test_wrong_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = OpenVinoSession._requests
    monkeypatch.setattr(
        OpenVinoSession, "_requests", lambda self, *args: [_Wrong(request) for request in requests(self, *args)]
    )
    with pytest.raises(ProviderError, match=r"OpenVINO's numbers for .* are not ONNX Runtime's .* provider='cpu'"):
        onnx_ig.IntegratedGradients(model(), provider="openvino").attribute(np.ones((2, 4), np.float32), target=1)


def test_several_runs_at_once_are_the_same_runs() -> None:
    session, rng = OpenVinoSession(model()), np.random.default_rng(0)
    several = [{"x": rng.normal(size=(3, 4)).astype(np.float32)} for _ in range(2)]
    alone = [session.run(feeds) for feeds in several]
    for a, b in zip(session.run_each(several), alone, strict=True):
        for name in b:
            assert_allclose(a[name], b[name], rtol=1e-6)
    with pytest.raises(ModelError, match="input 'x' is not fed"):
        session.run_each([several[0], {}])


def test_pieces_are_divided_between_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, run_each = [], OpenVinoSession.run_each
    monkeypatch.setattr(OpenVinoSession, "at_once", 2)
    monkeypatch.setattr(OpenVinoSession, "run_each", lambda self, s: counts.append(len(s)) or run_each(self, s))
    x = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    found, expected = (
        onnx_ig.IntegratedGradients(model(), provider=provider).attribute(
            x, target=1, n_steps=12, internal_batch_size=8
        )
        for provider in ("openvino", "cpu")
    )
    assert_allclose(found, expected, atol=1e-5)
    assert counts.count(2) == 3 + 1  # the path, and its ends


def test_a_missing_input_is_an_error() -> None:
    """OpenVINO itself would compute with what the input held before."""
    session = OpenVinoSession(model())
    session.run({"x": np.ones((2, 4), np.float32)})
    with pytest.raises(ModelError, match="input 'x' is not fed"):
        session.run({})
    with pytest.raises(ModelError, match="OpenVINO could not run the model"):
        session.run({"x": np.ones((2, 5), np.float32)})


def test_integers_that_openvino_would_cut_short_are_refused(tmp_path: Path) -> None:
    """Target 2³² + 3 would be explained as target 3."""
    path = onnx_ig.export(model(), tmp_path / "ig.onnx", n_steps=2)
    session = OpenVinoSession(path)
    feeds = {"x": np.ones((1, 4), np.float32), "target": np.array([3])}
    assert np.isfinite(session.run(feeds)["attribution_x"]).all()
    with pytest.raises(ModelError, match=r"input 'target' modulo 2³²"):
        session.run({**feeds, "target": feeds["target"] + 2**32})


def test_no_square_matrix_is_read_both_ways() -> None:
    graph = ir.from_proto(onnx_ig.differentiate(model(520))).graph  # large enough to stay Transpose nodes
    for weight in graph.initializers.values():
        readers = {node.op_type for node, _ in weight.uses()}
        assert not {"MatMul", "Transpose"} <= readers, weight.name
    assert any(node.op_type == "Transpose" for node in graph)


_LINEAR = {
    "MatMul": "{y} = MatMul({x}, {w})",
    "MatMul by the transposed": "{w}t = Transpose({w}) {y} = MatMul({x}, {w}t)",
    "Gemm": "{y} = Gemm({x}, {w})",
    "Gemm by the transposed": "{y} = Gemm<transB = 1>({x}, {w})",
    "Einsum": """{y} = Einsum<equation = "ij,jk->ik">({x}, {w})""",
    "Einsum by the transposed": """{y} = Einsum<equation = "ij, kj -> ik">({x}, {w})""",
    "Einsum without an arrow": """{y} = Einsum<equation = "ij,kj">({x}, {w})""",
}


@pytest.mark.parametrize("n", [8, 1024])
@pytest.mark.parametrize("linear", list(_LINEAR))
def test_square_matrices_are_read_the_right_way_around(linear: str, n: int, tmp_path: Path) -> None:
    """The exported file, as any user opens it: OpenVINO takes a matrix for its transposed where both are one buffer."""
    layers = [_LINEAR[linear].format(x=x, w=w, y=y) for x, w, y in (("x", "V", "h"), ("a", "W", "y"))]
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]> g (float[N, {n}] x) => (float[N, {n}] y)
        {{ {layers[0]} a = Sin(h) {layers[1]} }}"""
    )
    rng = np.random.default_rng(0)
    for name in "VW":
        weight = (rng.normal(size=(n, n)) / n**0.5).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    path = onnx_ig.export(proto, tmp_path / "ig.onnx", n_steps=4)
    feeds = {"x": rng.normal(size=(3, n)).astype(np.float32), "target": np.array([1, 3, 5])}
    found = OpenVinoSession(path, checked=False).run(feeds)["attribution_x"]
    assert_allclose(found, Session(path, "cpu").run(feeds)["attribution_x"], atol=1e-5)
    ours = onnx_ig.IntegratedGradients(proto, provider="openvino").attribute(
        feeds["x"], target=feeds["target"], n_steps=4
    )
    assert_allclose(ours, found, atol=1e-5)


def test_a_weight_put_together_in_nodes_is_an_initialiser_again() -> None:
    """What exporters do to recurrent weights; OpenVINO refuses a Scan that reads what nodes compute."""
    proto = model()
    last = proto.graph.node.pop()
    proto.graph.node.extend(
        [
            onnx.helper.make_node("Split", ["V"], ["a", "b"], axis=0, num_outputs=2),
            onnx.helper.make_node("Concat", ["b", "a"], ["turned"], axis=0),
            onnx.helper.make_node("MatMul", [last.input[0], "turned"], ["y"]),
        ]
    )
    gradient = onnx_ig.differentiate(proto)
    assert not {"Split", "Concat"} & {node.op_type for node in gradient.graph.node}
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in gradient.graph.initializer}
    (before,) = [onnx.numpy_helper.to_array(w) for w in proto.graph.initializer if w.name == "V"]
    np.testing.assert_array_equal(weights["turned"], np.concatenate([before[2:], before[:2]]))
    assert "V" not in weights
    kept = onnx_ig.differentiate(proto, wrt=["V"])  # unless its own gradient is asked for
    assert "grad_V" in [y.name for y in kept.graph.output]
