"""An additional input with its examples on another axis than the first (states of recurrent layers), by every door."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from click.testing import CliRunner, Result

import onnx_ig
from onnx_ig.cli.app import app
from onnx_ig.errors import InputError
from tests.helpers.doors import DOORS, NODES, PRODUCTS, STEPS, WEIGHTS, Case, assert_right, first_rows

RNG = np.random.default_rng(5)
X, Z = (RNG.normal(size=(7, 3)).astype(np.float32) for _ in range(2))
STATE = RNG.normal(size=(2, 7, 3)).astype(np.float32)
W = RNG.normal(size=(3, 2)).astype(np.float32)


def model(named: bool, mixing: str = "k = Identity (h)") -> onnx.ModelProto:
    """y = tanh((x · sin s₀ + s₁) W) for states s [2, N, 3]; ``mixing`` makes k of h = x · sin s₀ + s₁."""
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x, float[2, N, 3] s) => (float[N, 2] y)
        <int64 zero = {{0}}, int64 one = {{1}}, int64[1] first = {{0}}> {{ a = Gather (s, zero)  b = Gather (s, one)
        c = Sin (a)  m = Mul (x, c)  h = Add (m, b)  {mixing}  p = MatMul (k, w)  y = Tanh (p) }}"""
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(W, "w"))
    for value in () if named else (*proto.graph.input, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            dim.ClearField("dim_param") if dim.dim_param else None
    return proto


def by_formula(baseline: np.ndarray | float, integrated: bool) -> np.ndarray:
    x, s = X.astype(np.float64), STATE.astype(np.float64)
    start = np.broadcast_to(np.asarray(baseline, np.float64), x.shape)
    total = np.zeros(x.shape)
    for a, weight in zip(NODES, WEIGHTS, strict=True) if integrated else [(1.0, 1.0)]:
        slope = 1 - np.tanh(((start + a * (x - start)) * np.sin(s[0]) + s[1]) @ W)[:, 1:] ** 2
        total += weight * slope * np.sin(s[0]) * W[:, 1]
    return np.asarray((x - start) * total)


@pytest.mark.parametrize("named", [True, False])
def test_states(named: bool, tmp_path: Path) -> None:
    for doors, integrated in (({k: DOORS[k] for k in ("engine", "complete", "step")}, True), (PRODUCTS, False)):
        baselines = {"x": Z} if integrated else {}
        wanted = {"x": by_formula(Z if integrated else 0, integrated)}
        for door, opened in doors.items():
            attribute = opened(Case(model(named), {"x": X}, {}, {"s": STATE}), baselines, tmp_path)
            for n in (1, 2, 7):
                case = Case(model(named), {"x": X[:n]}, {}, {"s": STATE[:, :n]})
                assert_right(attribute(case, first_rows(baselines, n)), first_rows(wanted, n), note=f"{door}, {n}")


# of h to k, and of which models: where nobody names the states' axis of examples, they are values for all examples
MIXING = {
    "mean": ("q = ReduceMean <keepdims = 1> (h, first)  k = Add (h, q)", (True, False)),
    "softmax": ("k = Softmax <axis = 0> (h)", (True, False)),
    "cumulative sum": ("k = CumSum (h, zero)", (True, False)),
    "cumulative sum backwards": ("k = CumSum <reverse = 1> (h, zero)", (True, False)),
    "threshold far away": (
        "j = ReduceMax <keepdims = 1> (m, first)  t = Constant <value_float = 9.0> ()  o = Greater (j, t)  n = Neg (h)"
        " k = Where (o, n, h)",
        (True, False),
    ),
    "mean of states": ("q = ReduceMean <keepdims = 1> (c, first)  k = Add (h, q)", (True,)),
}
MIXING_MODELS = [(name, named) for name, (_, how) in MIXING.items() for named in how]
WRITTEN: dict[str, dict[str, Any]] = {
    "complete": {"n_steps": STEPS},
    "step": {"form": "step"},
    "product": {"algorithm": "input-x-gradient"},
}


def on_the_command_line(proto: onnx.ModelProto, written: str, folder: Path, *further: str) -> Result:
    """`attribute` of the model, or of the file that is ``written`` of it."""
    np.save(folder / "x.npy", X)
    np.save(folder / "s.npy", STATE)
    file = folder / f"{written}.onnx"
    options = ("--n-steps", str(STEPS)) if written in ("model", "step") else ()
    if written == "model":
        onnx.save(proto, file)
    else:
        onnx_ig.export(proto, file, inputs=["x"], target=1, overwrite=True, **WRITTEN[written])
    target = ("--target", "1") if written == "model" else ()
    data = ("-i", f"x={folder / 'x.npy'}", "--extra", f"s={folder / 's.npy'}", "-o", str(folder / "out"))
    return CliRunner().invoke(app, ["attribute", str(file), *data, *target, *options, *further])


@pytest.mark.parametrize("written", ["model", *WRITTEN])
@pytest.mark.parametrize("named", [True, False])
def test_states_on_the_command_line(named: bool, written: str, tmp_path: Path) -> None:
    result = on_the_command_line(model(named), written, tmp_path)
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "out" / "attributions.npz") as found:
        assert_right({"x": found["attribution_x"]}, {"x": by_formula(0, written != "product")})
    if written != "complete":
        result = on_the_command_line(model(named), written, tmp_path, "--internal-batch-size", "2")
        assert result.exit_code == 4 and "stay together" in result.stderr, result.output


@pytest.mark.parametrize(("name", "named"), MIXING_MODELS)
def test_a_model_that_mixes_examples_is_refused(name: str, named: bool, tmp_path: Path) -> None:
    proto = model(named, MIXING[name][0])
    for kind in (onnx_ig.IntegratedGradients, onnx_ig.InputXGradient):
        for n in (2, 7):
            with pytest.raises(InputError, match="mixes examples"):
                kind(proto, provider="cpu").attribute(
                    {"x": X[:n]}, target=1, additional_forward_args={"s": STATE[:, :n]}
                )
        alone = kind(proto, provider="cpu").attribute(
            {"x": X[:1]}, target=1, additional_forward_args={"s": STATE[:, :1]}
        )
        assert np.isfinite(alone["x"]).all()
    one_row = {"x": X[:1], "s": STATE[:, :1]}
    for given in (None, one_row, {"x": X, "s": STATE}):
        with pytest.raises(InputError, match="mixes examples"):
            onnx_ig.export(proto, tmp_path / "new.onnx", inputs=["x"], target=1, example_inputs=given)
    assert not (tmp_path / "new.onnx").exists()


@pytest.mark.parametrize("written", ["model", *WRITTEN])
@pytest.mark.parametrize(("name", "named"), MIXING_MODELS)
def test_the_command_line_refuses_it(
    name: str, named: bool, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file that another program wrote as well: nothing was checked then."""
    monkeypatch.setattr("onnx_ig.exporting.export._require_examples_apart", lambda *_: None)
    result = on_the_command_line(model(named, MIXING[name][0]), written, tmp_path)
    assert result.exit_code == 4 and "mixes examples" in result.stderr, result.output


def test_rows_joined_by_data_that_all_share() -> None:
    """Edges [2, E] between rows look like states of E examples."""
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x, int64[2, E] edges) => (float[N, 3] y)
        <int64 zero = {0}, int64 one = {1}, int64[1] last = {-1}> { from = Gather (edges, zero)
        to = Gather (edges, one)  h = Gather (x, from)  i = Unsqueeze (to, last)
        a = ScatterND <reduction = "add"> (x, i, h)  y = Tanh (a) }"""
    )
    for value in (*proto.graph.input, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            dim.ClearField("dim_param") if dim.dim_param else None
    method = onnx_ig.IntegratedGradients(proto, provider="cpu")
    with pytest.raises(InputError, match="mixes examples"):
        method.attribute({"x": X}, None, 1, {"edges": np.array([[0, 1, 2, 3], [1, 2, 3, 4]])})
    loops = np.array([[0, 1, 2, 3, 4, 5, 6]] * 2)
    found = onnx_ig.IntegratedGradients(proto, provider="cpu").attribute(
        {"x": X}, None, 1, {"edges": loops}, n_steps=20
    )
    wanted = np.zeros(X.shape)
    wanted[:, 1] = np.tanh(2 * X[:, 1])
    np.testing.assert_allclose(found["x"], wanted, atol=1e-5)


def test_examples_stay_together() -> None:
    with pytest.raises(InputError, match="stay together"):
        onnx_ig.InputXGradient(model(True)).attribute({"x": X}, 1, {"s": STATE}, internal_batch_size=2)


def test_dimensions_that_a_branch_not_taken_cannot_have() -> None:
    """Opened again for fixed shapes, ONNX Runtime would refuse the branch that squeezes what is no one."""
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> f (float[N, L] x) => (float[N, 1] y)
        <int64[1] one = {1}, int64[1] two = {2}, float[1, 1, 2] k = {0.5, 2}> {
        u = Unsqueeze (x, one)  c = Conv (u, k)  t = Tanh (c)  s = Shape (t)  d = Gather (s, two)  e = Equal (d, one)
        f = Squeeze (e)  g = If (f) <then_branch = a () => (p) { p = Squeeze (t, two) },
        else_branch = b () => (q) { q = ReduceSum <keepdims = 0> (t, two) }>  y = Identity (g) }"""
    )
    attribute = onnx_ig.IntegratedGradients(proto, provider="cpu").attribute
    x = RNG.normal(size=(1, 5)).astype(np.float32)
    first = attribute({"x": x}, n_steps=4)["x"]
    for _ in range(14):
        np.testing.assert_allclose(attribute({"x": x}, n_steps=4)["x"], first, rtol=1e-5, atol=1e-7)
