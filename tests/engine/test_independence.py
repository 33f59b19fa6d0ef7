"""Models that mix the examples of a batch are refused by every door; those that only look so are answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.errors import InputError, NotDifferentiableError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3)).astype(np.float32)
MANY, ONE = X, np.abs(X[:1])

# from x [N, 3] to y [N, 2]: what comes out for a row depends on the others
MIXING = {
    "softmax": "s = Softmax <axis = 0> (x)  y = MatMul (s, w)",
    "mean": "m = ReduceMean <keepdims = 1> (x, zeroth)  d = Sub (x, m)  s = Exp (d)  y = MatMul (s, w)",
    "layer norm": """m = ReduceMean <keepdims = 1> (x, zeroth)  d = Sub (x, m)  q = Mul (d, d)
        v = ReduceMean <keepdims = 1> (q, zeroth)  e = Add (v, half)  r = Sqrt (e)  s = Div (d, r)
        y = MatMul (s, w)""",
    "unbiased standard deviation": """m = ReduceMean <keepdims = 1> (x, zeroth)  d = Sub (x, m)  q = Mul (d, d)
        v = ReduceSum <keepdims = 1> (q, zeroth)  n = Shape <end = 1> (x)  p = Sub (n, first)  c = Cast <to = 1> (p)
        e = Div (v, c)  r = Sqrt (e)  s = Div (x, r)  y = MatMul (s, w)""",
    "largest": "m = ReduceMax <keepdims = 1> (x)  d = Div (x, m)  s = Tanh (d)  y = MatMul (s, w)",
    "length of all": "m = ReduceL2 <keepdims = 1> (x)  d = Div (x, m)  y = MatMul (d, w)",
    "sum along axis 0": "c = CumSum (x, zero)  s = Sin (c)  y = MatMul (s, w)",
    "sum back along axis 0": "c = CumSum <reverse = 1> (x, zero)  s = Sin (c)  y = MatMul (s, w)",
    "sorted along axis 0": "n = Shape <end = 1> (x)  v, i = TopK <axis = 0> (x, n)  s = Sin (v)  y = MatMul (s, w)",
    "each with each": "t = Transpose (x)  g = MatMul (x, t)  s = Tanh (g)  h = MatMul (s, x)  y = MatMul (h, w)",
    "attention along axis 0": """t = Transpose (x)  g = MatMul (x, t)  s = Softmax (g)  h = MatMul (s, x)
        y = MatMul (h, w)""",
    "axes folded": "t = Transpose (x)  s = Shape (x)  r = Reshape (t, s)  e = Sin (r)  y = MatMul (e, w)",
    "a threshold far off": """m = ReduceMean <keepdims = 1> (x)  c = Greater (m, far)  n = Sin (x)  o = Exp (x)
        s = Where (c, n, o)  y = MatMul (s, w)""",
    "values that occur once": "u = Unique (x)  t = ReduceSum <keepdims = 0> (u)  s = Mul (x, t)  y = MatMul (s, w)",
    "how many": """g = Greater (x, half)  n = NonZero (g)  c = Shape <start = 1> (n)  f = Cast <to = 1> (c)
        s = Mul (x, f)  e = Sin (x)  t = Add (s, e)  y = MatMul (t, w)""",
    "steps of a recurrence": """u = Unsqueeze (x, first)  l = LSTM <hidden_size = 2> (u, lw, lr)
        h = Squeeze (l, ends)  y = Sin (h)""",
    "a ten-thousandth of the mean": """m = ReduceMean <keepdims = 1> (x, zeroth)  k = Mul (m, little)  d = Sub (x, k)
        s = Exp (d)  y = MatMul (s, w)""",
    "the next row": """n = Shape <end = 1> (x)  f = Slice (x, first, n, zeroth)  b = Slice (x, zeroth, first, zeroth)
        r = Concat <axis = 0> (f, b)  p = Mul (x, r)  y = MatMul (p, w)""",
}  # fmt: skip
RANDOM = {
    "RandomNormalLike": "r = RandomNormalLike (x)  s = Mul (x, r)  y = MatMul (s, w)",
    "RandomUniformLike": "r = RandomUniformLike (x)  s = Mul (x, r)  y = MatMul (s, w)",
    "RandomNormal": "r = RandomNormal <shape = [1, 3]> ()  s = Mul (x, r)  y = MatMul (s, w)",
    "RandomUniform": "r = RandomUniform <shape = [1, 3]> ()  s = Mul (x, r)  y = MatMul (s, w)",
    "Bernoulli": "p = Sigmoid (x)  r = Bernoulli (p)  s = Mul (x, r)  y = MatMul (s, w)",
    "Multinomial": "r = Multinomial <sample_size = 3> (x)  c = Cast <to = 1> (r)  s = Mul (x, c)  y = MatMul (s, w)",
    "Dropout": "d = Dropout (x, half, yes)  y = MatMul (d, w)",
    "BatchNormalization": "d = BatchNormalization <training_mode = 1> (x, ones, ones, ones, ones)  y = MatMul (d, w)",
}
# rows that never meet, though a check may think so: kinks, constants, NaN of the data, indices made of numbers
APART = {
    "kinks": "m = MatMul (x, w)  r = Relu (m)  s = Softmax (r)  y = Sub (r, s)",
    "largest of a row": """v, i = TopK (x, first)  f = Cast <to = 1> (i)  m = MatMul (x, w)  a = Add (m, f)
        y = Mul (a, v)""",
    "logarithm": "a = Add (x, half)  l = Log (a)  y = MatMul (l, w)",
    "nothing of the input": "t = Mul (x, zero_)  m = MatMul (t, w)  y = Add (m, half)",
    "a table": """f = Floor (x)  c = Cast <to = 7> (f)  k = Add (c, two)  g = Gather (rows, k)
        s = ReduceSum <keepdims = 0> (g, ends)  e = Sin (x)  a = Add (e, s)  y = MatMul (a, w)""",
    "rows marked by a condition": """c = Greater (x, half)  n = NonZero (c)  i = Transpose (n)  v = GatherND (x, i)
        e = Sin (v)  t = ScatterND (x, i, e)  y = MatMul (t, w)""",
}


def model(body: str) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x) => (float[N, 2] y)
        <float[3, 2] w = {{1, -2, 3, 4, -5, 6}}, int64[1] zeroth = {{0}}, int64[1] first = {{1}}, int64 zero = {{0}},
         int64[2] ends = {{1, 2}}, float half = {{0.5}}, float far = {{50}}, float zero_ = {{0}}, bool yes = {{1}},
         float little = {{1e-4}},
         int64 two = {{2}}, float[3] ones = {{1, 1, 1}}> {{ {body} }}"""
    )
    lstm = {"lw": RNG.normal(size=(1, 8, 3)), "lr": RNG.normal(size=(1, 8, 2)), "rows": RNG.normal(size=(60, 1, 1))}
    for name, value in lstm.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value.astype(np.float32), name))
    return proto


def _integrated(proto: onnx.ModelProto, x: np.ndarray, folder: Path) -> Any:
    return onnx_ig.IntegratedGradients(proto, provider="cpu").attribute(x, target=1, n_steps=60)


def _gradient(proto: onnx.ModelProto, x: np.ndarray, folder: Path) -> Any:
    return onnx_ig.InputXGradient(proto, provider="cpu").attribute(MANY if x is ONE else x, target=1)


def _scores(proto: onnx.ModelProto, x: np.ndarray, folder: Path) -> Any:
    rows = MANY if x is ONE else x
    return onnx_ig.InputXGradient(proto, provider="cpu").scorer(rows, 1)({"x": rows})


def _export(proto: onnx.ModelProto, x: np.ndarray, folder: Path) -> Any:
    file = onnx_ig.export(proto, folder / "attribution.onnx", target=1, overwrite=True)
    return onnxruntime.InferenceSession(file).run(["attribution_x"], {"x": x})[0]


DOORS: dict[str, Callable[[onnx.ModelProto, np.ndarray, Path], Any]] = {
    "IntegratedGradients": _integrated, "InputXGradient": _gradient, "scorer": _scores, "export": _export
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", MIXING)
def test_a_model_that_mixes_examples_is_refused(name: str, door: str, tmp_path: Path) -> None:
    for x in (ONE, MANY):
        with pytest.raises(InputError, match=r"mixes examples.*batch_axis=None.*target=\(0, 3\)"):
            DOORS[door](model(MIXING[name]), x, tmp_path)


@pytest.mark.parametrize("door", ["IntegratedGradients", "export"])
@pytest.mark.parametrize(("above", "below"), [(0.1, 0.25), (0.25, 0.4), (0.55, 0.75)])
def test_rows_that_meet_on_a_part_of_the_path_are_refused(
    above: float, below: float, door: str, tmp_path: Path
) -> None:
    """Where the norm of a row lies between two parts of that of the first; nowhere at the ends of the path."""
    norm = float(np.linalg.norm(X[0]))
    proto = model(
        f"""low = Constant <value_float = {above * norm}> ()  high = Constant <value_float = {below * norm}> ()
        n = ReduceL2 <keepdims = 1> (x, first)  a = Greater (n, low)  b = Less (n, high)  c = And (a, b)
        g = Cast <to = 1> (c)  m = ReduceMean <keepdims = 1> (x, zeroth)  t = Mul (g, m)  z = Add (x, t)
        y = MatMul (z, w)"""
    )
    with pytest.raises(InputError, match=r"mixes examples"):
        DOORS[door](proto, X[:1], tmp_path)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", RANDOM)
def test_a_model_that_draws_is_refused_by_name(name: str, door: str, tmp_path: Path) -> None:
    with pytest.raises(NotDifferentiableError, match=f"{name} .*(draws|drops) at random|{name}.*evaluation mode"):
        DOORS[door](model(RANDOM[name]), MANY, tmp_path)


@pytest.mark.filterwarnings("ignore::onnx_ig.OnnxIgWarning")
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", APART)
def test_rows_that_never_meet_are_answered(name: str, door: str, tmp_path: Path) -> None:
    data = np.clip(X, -0.4, 2) if name == "logarithm" else X
    assert np.isfinite(DOORS[door](model(APART[name]), data, tmp_path)).all()


@pytest.mark.parametrize("written", ["model", "complete", "step"])
@pytest.mark.parametrize("name", ["mean", "unbiased standard deviation", "sum along axis 0"])
def test_the_command_line_refuses_too(name: str, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file that another program wrote as well: nothing was checked then."""
    monkeypatch.chdir(tmp_path)
    np.save("one.npy", ONE)
    onnx.save(model(MIXING[name]), "model.onnx")
    if written != "model":
        monkeypatch.setattr("onnx_ig.exporting.export._require_examples_apart", lambda *_: None)
        onnx_ig.export("model.onnx", f"{written}.onnx", form=written, n_steps=4)
    result = CliRunner().invoke(app, ["attribute", f"{written}.onnx", "-i", "one.npy", "--target", "1", "-o", "out"])
    assert result.exit_code == 4 and "mixes examples" in result.stderr, result.output
    result = CliRunner().invoke(app, ["export", "model.onnx", "-o", "new.onnx", "--target", "1"])
    assert written != "model" or (result.exit_code == 4 and "mixes examples" in result.stderr), result.output
    assert not Path("new.onnx").exists() or written != "model"


def _differences(proto: onnx.ModelProto, x: np.ndarray, step: float = 1e-2) -> np.ndarray:
    """x · ∂F/∂x of one row by central differences of the forward pass."""
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    moved = [x + sign * step * e.reshape(x.shape) for e in np.eye(x.size, dtype=np.float32) for sign in (1, -1)]
    up, down = np.array([session.run(None, {"x": row})[0][0, 1] for row in moved]).reshape(-1, 2).T
    return x * ((up - down) / (2 * step)).reshape(x.shape)


@pytest.mark.parametrize("name", sorted(MIXING.keys() - {"unbiased standard deviation"}))  # 0/0 for one row
def test_one_example_at_one_point_is_answered(name: str) -> None:
    """Nothing rides together: F of the one row is what the model makes of it, statistics over the batch and all."""
    proto = model(MIXING[name])
    got = onnx_ig.InputXGradient(proto, provider="cpu").attribute(ONE, target=1)
    expected = _differences(proto, ONE)
    np.testing.assert_allclose(got, expected, rtol=0, atol=5e-3 * max(1.0, np.abs(expected).max()))
    slope = onnx_ig.Saliency(proto, provider="cpu").attribute(ONE, target=1)
    np.testing.assert_allclose(slope * ONE, np.abs(got), rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:the attributions of")  # each branch has a value of its own where they meet
def test_a_row_is_explained_alone_where_its_data_decide_what_is_run(tmp_path: Path) -> None:
    """Whatever the branch does with several rows: F of a row is what the model makes of that row."""
    proto = model(
        """m = ReduceMean <keepdims = 0> (x)  c = Greater (m, zero_)
        s = If (c) <then_branch = g () => (float[N, 3] t) { t = Sin (x) }, else_branch = h () => (float[N, 3] u)
        { u = Exp (x) }>  p = Softmax <axis = 0> (s)  q = Mul (p, s)  z = Tanh (q)  y = MatMul (z, w)"""
    )
    alone = [_differences(proto, row[np.newaxis]) for row in X]
    np.testing.assert_allclose(_gradient(proto, X, tmp_path), np.concatenate(alone), rtol=0, atol=2e-2)
    for door in (_integrated, _export, _scores):
        alone = [door(proto, row[np.newaxis], tmp_path) for row in X]
        np.testing.assert_allclose(door(proto, X, tmp_path), np.concatenate(alone), rtol=1e-5, atol=1e-6)


class _AcrossRows(nn.Module):
    """Subtracts the mean of all rows, weights by a softmax over them, divides by their norm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        centred = hidden - hidden.mean(0, keepdim=True)
        result: torch.Tensor = self.last(torch.softmax(hidden, 0) * hidden / hidden.norm() + torch.exp(centred))
        return result


def test_one_example_of_a_torch_module_is_answered_as_by_captum() -> None:
    module, x = _AcrossRows().eval(), torch.from_numpy(ONE)
    for kind in ("InputXGradient", "Saliency"):
        theirs = getattr(captum.attr, kind)(module).attribute(x, target=1).detach()
        torch.testing.assert_close(getattr(onnx_ig, kind)(module).attribute(x, target=1), theirs, rtol=1e-4, atol=1e-5)
    theirs = captum.attr.LayerGradientXActivation(module, module.first).attribute(x, target=1).detach()
    ours = onnx_ig.LayerGradientXActivation(module, module.first).attribute(x, target=1)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


# rows that belong together: four are one example to "folded", the nodes of one graph to "graph"; x, target, further
TOGETHER = {
    "folded": (
        """f (float[N, 4] x) => (float[M, 3] y) <int64[3] s = {-1, 4, 3}, int64[1] one = {1}> { m = MatMul (x, v)
        t = Tanh (m)  q = Reshape (t, s)  y = ReduceMean <keepdims = 0> (q, one) }""",
        (1, 1), {},
    ),
    "graph": (
        """f (float[N, 4] x, int64[2, E] edges) => (float[N, 3] y) <int64 z = {0}, int64 o = {1}, int64[1] last = {-1}>
        { from = Gather (edges, z)  to = Gather (edges, o)  h = Gather (x, from)  n = Shape (x)  b = ConstantOfShape (n)
        i = Unsqueeze (to, last)  a = ScatterND <reduction = "add"> (b, i, h)  k = Add (a, x)  t = Tanh (k)
        y = MatMul (t, v) }""",
        (2, 1), {"edges": np.array([[0, 1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7, 0]])},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TOGETHER)
def test_rows_that_belong_together_are_one_example(name: str) -> None:
    text, target, further = TOGETHER[name]
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(4, 3, dtype=np.float32) + 0.1, "v"))
    x = RNG.normal(size=(8, 4)).astype(np.float32)
    for kind in (onnx_ig.IntegratedGradients, onnx_ig.InputXGradient):
        with pytest.raises(InputError, match=r"mixes examples.*batch_axis=None \(--batch-axis none\).*target=\(0, 3\)"):
            kind(proto, provider="cpu").attribute({"x": x}, target=1, additional_forward_args=further or None)
    method = onnx_ig.IntegratedGradients(proto, provider="cpu", batch_axis=None)
    for baselines in (None, 0.3, 0.1 * x[:1], 0.1 * x):
        got, delta = method.attribute(
            {"x": x}, baselines, target, further or None, n_steps=30, return_convergence_delta=True
        )
        assert got["x"].shape == x.shape and np.abs(got["x"]).max() > 1e-2
        np.testing.assert_allclose(delta, [0], atol=1e-5)


# rows that meet where no element is larger than a half, which no row is: on the path to the baseline alone
ON_THE_WAY = """a = Abs (e)  c = Less (a, half)  m = ReduceMean <keepdims = 1> (e, zeroth)  d = Mul (e, m)
    s = Where (c, d, e)  t = Sin (s)  y = MatMul (t, w)"""
LARGE = (np.sign(X) * (0.6 + np.abs(X))).astype(np.float32)


def _on_the_way() -> onnx.ModelProto:
    return model(f"e = Identity (x)  {ON_THE_WAY}")


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("door", ["IntegratedGradients", "export"])
def test_rows_that_meet_on_the_way_to_the_baseline_are_refused(door: str, rows: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mixes examples"):
        DOORS[door](_on_the_way(), LARGE[:rows], tmp_path)
    alone = [_gradient(_on_the_way(), row[np.newaxis], tmp_path) for row in LARGE]
    np.testing.assert_allclose(_gradient(_on_the_way(), LARGE, tmp_path), np.concatenate(alone), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "written",
    [{}, {"path_as_input": True}, {"steps_per_run": 0}, {"form": "step"}],
    ids=lambda w: str(*w) or "complete",
)
def test_a_file_whose_rows_meet_on_the_way_is_refused(
    written: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("onnx_ig.exporting.export._require_examples_apart", lambda *_: None)
    np.save("one.npy", LARGE[:1])
    onnx_ig.export(_on_the_way(), "attribution.onnx", **written)
    result = CliRunner().invoke(app, ["attribute", "attribution.onnx", "-i", "one.npy", "--target", "1", "-o", "out"])
    assert result.exit_code == 4 and "mixes examples" in result.stderr, result.output


def test_rows_that_meet_between_embeddings_are_refused() -> None:
    """The path begins at an inner tensor: no input lies on it."""
    proto = model(f"i = Cast <to = 7> (x)  g = Gather (table, i)  e = Reshape (g, shape)  {ON_THE_WAY}")
    table = np.array([[-0.9, 0.8, -0.7], [1.2, -0.8, 0.9], [-0.7, 0.6, 1.5]], np.float32)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    for name, value in {"table": table, "shape": np.array([0, -1])}.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    method = onnx_ig.IntegratedGradients(proto, provider="cpu", at="e")
    for ids in ([[1]], [[1], [2]]):
        with pytest.raises(InputError, match="mixes examples"):
            method.attribute(np.array(ids, np.float32), target=1)
