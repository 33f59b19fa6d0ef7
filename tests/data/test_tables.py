"""Tables: an input per column, text, classes with names, arrays and data frames of any type; in every door."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.errors import InputError
from onnx_ig.graph.declared import InputSpec, cast_to_declared
from onnx_ig.inspection import inspect
from tests.helpers.frames import Frame

skl2onnx = pytest.importorskip("skl2onnx", reason="the converter of scikit-learn models (extra 'test')")
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
Array = np.ndarray[Any, Any]
ROWS, SHOWN, TARGET = 60, 3, 1
RNG = np.random.default_rng(0)
COLUMNS: dict[str, Array] = {
    "height": RNG.normal(170, 10, ROWS).astype(np.float32),
    "weight": RNG.normal(70, 12, ROWS).astype(np.float32),
    "age": RNG.integers(18, 80, ROWS),
    "city": np.resize(np.array(["Bern", "Oslo", "Rome"], object), ROWS),
    "job": RNG.choice(np.array(["cook", "poet"], object), ROWS),
    "words": np.array([" ".join(RNG.choice(["good", "bad", "film", "plot"], 4)) for _ in range(ROWS)], object),
}
CLASSES = np.array(["ant", "bee", "cat"])[(np.arange(ROWS) + (COLUMNS["height"] > 170)) % 3]
TYPES = {"f": FloatTensorType, "i": Int64TensorType, "O": StringTensorType}
PREPARE = {
    "one-hot": lambda: ("text", OneHotEncoder(handle_unknown="ignore"), ["city", "job"]),
    "ordinal": lambda: ("text", OrdinalEncoder(), ["city", "job"]),
    "words": lambda: ("text", TfidfVectorizer(), ["words"]),
}  # fmt: skip


class Case(NamedTuple):
    """A model, its data by input name, which inputs are attributed by default, and F(attributed, others) in torch."""

    proto: onnx.ModelProto
    data: dict[str, Array]
    attributed: list[str]
    scores: Callable[[dict[str, torch.Tensor]], torch.Tensor]


def _network(mlp: Any, features: torch.Tensor) -> torch.Tensor:
    """The probabilities that a fitted MLPClassifier with tanh gives."""
    for i, (weight, bias) in enumerate(zip(mlp.coefs_, mlp.intercepts_, strict=True)):
        features = (torch.tanh(features) if i else features) @ torch.tensor(weight).double() + torch.tensor(
            bias
        ).double()
    return torch.softmax(features, 1)


def _mlp() -> Any:
    return MLPClassifier((5,), activation="tanh", max_iter=40, random_state=0)


def _columns(text: str, numbers: list[str]) -> Case:
    """Numbers scaled, text made numbers, and a network behind; an input for each column."""
    name, encoder, texts = PREPARE[text]()
    order = [*numbers, *texts]
    whole = np.empty((ROWS, len(order)), object)
    for i, column in enumerate(order):
        whole[:, i] = COLUMNS[column]
    places = [order.index(column) for column in texts]
    columns = places[0] if text == "words" else places
    table = ColumnTransformer([("numbers", StandardScaler(), list(range(len(numbers)))), (name, encoder, columns)])
    model = make_pipeline(table, _mlp()).fit(whole, CLASSES)
    fitted = model[0].named_transformers_
    options: dict[int, dict[str, Any]] = {id(model): {"zipmap": False}}
    if text == "words":
        options[id(fitted["text"])] = {"locale": "C"}
    types = [(c, TYPES[COLUMNS[c].dtype.kind]([None, 1])) for c in order]
    proto = skl2onnx.convert_sklearn(model, initial_types=types, options=options)
    shown = whole[:SHOWN]
    encoded = fitted["text"].transform(shown[:, columns])
    encoded = torch.tensor(encoded.toarray() if hasattr(encoded, "toarray") else encoded, dtype=torch.float64)
    scaler = fitted["numbers"]

    def scores(given: dict[str, torch.Tensor]) -> torch.Tensor:
        fixed = {c: torch.tensor(COLUMNS[c][:SHOWN, None].astype(float)) for c in numbers}
        raw = torch.cat([given.get(c, fixed[c]) for c in numbers], 1)
        scaled = (raw - torch.tensor(scaler.mean_)) / torch.tensor(scaler.scale_)
        return _network(model[1], torch.cat([scaled, encoded], 1))

    data = {c: COLUMNS[c][:SHOWN, None] for c in order}
    return Case(proto, data, [c for c in numbers if COLUMNS[c].dtype.kind == "f"], scores)


def _matrix(zipmap: Any) -> Case:
    """One input and classes with names."""
    x = np.stack([COLUMNS["height"], COLUMNS["weight"]], 1) / 100
    mlp = _mlp().fit(x, CLASSES)
    proto = skl2onnx.convert_sklearn(
        mlp, initial_types=[("x", FloatTensorType([None, 2]))], options={id(mlp): {"zipmap": zipmap}}
    )
    return Case(proto, {"x": x[:SHOWN]}, ["x"], lambda given: _network(mlp, given["x"]))


def _added() -> Case:
    """Columns that meet in an addition and in a comparison alone."""
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]>
        f (float[p, 1] a, float[q, 1] b, int64[r, 1] c) => (float[s, 2] y) <float[2] w = {1, -2}> {
            t = Tanh (a)  u = Add (t, b)  z = Sigmoid (u)  d = Cast <to = 1> (c)  h = Greater (d, a)
            k = Cast <to = 1> (h)  v = Mul (z, k)  m = Add (v, u)  y = Mul (m, w) }""")
    data = {
        "a": np.array([[0.5], [-1], [2]], np.float32), "b": np.array([[1], [0.3], [-2]], np.float32),
        "c": np.array([[3], [2], [4]]),
    }  # fmt: skip

    def scores(given: dict[str, torch.Tensor]) -> torch.Tensor:
        u = torch.tanh(given["a"]) + given["b"]
        above = (torch.tensor(data["c"]) > given["a"].detach()).double()
        return (torch.sigmoid(u) * above + u) * torch.tensor([1.0, -2.0])

    return Case(proto, data, ["a", "b"], scores)


def _vectors() -> Case:
    """Columns of one axis, each with a name of its own for the rows."""
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18, "ai.onnx.ml" : 3]>
        f (float[n, 1] a, float[height] b, string[text] c) => (float[s, 2] y)
        <int64[1] last = {1}, float[4, 2] w = {1, -2, 0.5, 1, -1, 0.3, 0.2, -0.7}> {
            u = Unsqueeze (b, last)  o = ai.onnx.ml.OneHotEncoder <cats_strings = ["Bern", "Oslo"], zeros = 1> (c)
            m = Concat <axis = 1> (a, u, o)  h = Tanh (m)  y = MatMul (h, w) }""")
    data = {
        "a": np.array([[0.5], [-1], [2]], np.float32), "b": np.array([1, 0.3, -2], np.float32),
        "c": np.array(["Oslo", "Bern", "Rome"], object),
    }  # fmt: skip
    codes = torch.tensor([[0.0, 1], [1, 0], [0, 0]]).double()

    def scores(given: dict[str, torch.Tensor]) -> torch.Tensor:
        weights = torch.tensor([[1, -2], [0.5, 1], [-1, 0.3], [0.2, -0.7]]).double()
        return torch.tanh(torch.cat([given["a"], given["b"][:, None], codes], 1)) @ weights

    return Case(proto, data, ["a", "b"], scores)


CASES: dict[str, Callable[[], Case]] = {
    "columns of one axis": cache(_vectors),
    "columns, one-hot": cache(lambda: _columns("one-hot", ["height", "weight"])),
    "columns, ordinal, integers": cache(lambda: _columns("ordinal", ["height", "weight", "age"])),
    "columns, words": cache(lambda: _columns("words", ["height", "weight"])),
    "classes with names": cache(lambda: _matrix(False)),
    "maps from names": cache(lambda: _matrix(True)),
    "columns that are added": cache(_added),
}


def _expected(case: Case) -> dict[str, Array]:
    """Integrated Gradients from zero in float64, by torch and Gauss and Legendre's points."""
    x = {name: torch.tensor(case.data[name].astype(np.float64)) for name in case.attributed}
    total = {name: torch.zeros_like(value) for name, value in x.items()}
    for node, weight in zip(*np.polynomial.legendre.leggauss(50), strict=True):
        point = {name: (value * (node + 1) / 2).requires_grad_() for name, value in x.items()}
        grads = torch.autograd.grad(case.scores(point)[:, TARGET].sum(), list(point.values()))
        for name, grad in zip(x, grads, strict=True):
            total[name] += grad * weight / 2
    return {name: (x[name] * total[name]).numpy() for name in x}


def _compare(found: dict[str, Array], case: Case) -> None:
    expected = _expected(case)
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-3, atol=2e-4 * np.abs(value).max())


def _others(case: Case) -> dict[str, Array]:
    return {name: value for name, value in case.data.items() if name not in case.attributed}


@pytest.mark.parametrize("name", CASES)
def test_python(name: str) -> None:
    case = CASES[name]()
    inputs = {n: case.data[n] for n in case.attributed}
    method = onnx_ig.IntegratedGradients(case.proto)
    found, delta = method.attribute(
        inputs, additional_forward_args=_others(case), target=TARGET, return_convergence_delta=True
    )
    _compare(found, case)
    if name != "columns that are added":  # a comparison is a jump
        assert np.abs(delta).max() < 1e-4
    product = onnx_ig.InputXGradient(case.proto).attribute(inputs, target=TARGET, additional_forward_args=_others(case))
    assert {n: v.shape for n, v in product.items()} == {n: v.shape for n, v in inputs.items()}


@pytest.mark.filterwarnings("ignore:it was not checked")  # no text can be drawn
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", ["complete", "step"])
def test_exported_file(name: str, form: str, tmp_path: Path) -> None:
    """It opens and runs; its inputs have one name for the examples, and the others of them a row per example."""
    case = CASES[name]()
    path = onnx_ig.export(case.proto, tmp_path / "explained.onnx", form=form, target=TARGET)
    session = onnxruntime.InferenceSession(path)
    feeds = dict(case.data)
    if form == "step":
        nodes, weights = np.polynomial.legendre.leggauss(50)
        feeds |= {"path_nodes": (nodes + 1) / 2, "path_weights": weights / 2}
        feeds |= {key: feeds[key].astype(np.float32) for key in ("path_nodes", "path_weights")}
    wanted = [f"attribution_{n}" for n in case.attributed]
    values = session.run(wanted, feeds)
    _compare(dict(zip(case.attributed, values, strict=True)), case)
    contract = json.loads(onnx.load(path).metadata_props[0].value)
    own = {e["name"]: e for e in contract["inputs"] if e["role"] in ("attributed", "per_example")}
    assert [n for n, e in own.items() if e["role"] == "attributed"] == case.attributed
    assert own.keys() == case.data.keys()
    assert len({e["shape"][0] for e in own.values()}) == 1


@pytest.mark.parametrize("name", CASES)
def test_command_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file holds the table; text and integers in it are not attributed."""
    case = CASES[name]()
    monkeypatch.chdir(tmp_path)
    onnx.save(case.proto, "model.onnx")
    np.savez("table.npz", **{n: v.astype(str) if v.dtype.kind == "O" else v for n, v in case.data.items()})
    for command in ("inspect model.onnx", f"attribute model.onnx -i table.npz --target {TARGET} -o out"):
        result = CliRunner().invoke(app, command.split())
        assert result.exit_code == 0, result.stderr
    with np.load("out/attributions.npz") as found:
        _compare({n: found[f"attribution_{n}"] for n in case.attributed}, case)


ROWS_NAMED: dict[str, tuple[str, str, list[str]]] = {
    "the model's own name before ours": ("?", "batch", ["batch", "batch"]),
    "the first of two": ("rows", "batch", ["rows", "rows"]),
    "none": ("?", "?", ["a_0", "a_0"]),
}


@pytest.mark.parametrize("case", ROWS_NAMED)
def test_columns_side_by_side_have_one_name_for_their_rows(case: str) -> None:
    a, b, names = ROWS_NAMED[case]
    proto = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 18]>
        f (float[{a}, 1] a, float[{b}, 2] b) => (float[s, 3] y) {{ m = Concat <axis = 1> (a, b)  y = Tanh (m) }}""")
    assert [str(x.shape[0]) for x in onnx_ig.load(proto).inputs if x.shape] == names


def test_rows_that_a_sum_may_broadcast_keep_their_names_in_a_gradient() -> None:
    """One of two rows may be a single one, whose gradient is the sum over the other's."""
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]>
        f (float[p, 1] a, float[q, 1] b) => (float[s, 1] y) { m = Add (a, b)  y = Tanh (m) }""")
    gradient = onnx_ig.differentiate(proto)
    a, b = np.array([[0.5], [-1]], np.float32), np.array([[0.25]], np.float32)
    session = onnxruntime.InferenceSession(gradient.SerializeToString())
    found = session.run(["grad_a", "grad_b"], {"a": a, "b": b, "cotangent_y": np.ones((2, 1), np.float32)})
    slope = 1 - np.tanh(a + b) ** 2
    np.testing.assert_allclose(found[0], slope, rtol=1e-5)
    np.testing.assert_allclose(found[1], slope.sum(keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("model", [SGDClassifier("log_loss", random_state=0), GaussianNB()])
def test_classifiers_with_named_classes_can_be_inspected_and_differentiated(model: Any) -> None:
    x = np.stack([COLUMNS["height"], COLUMNS["weight"]], 1) / 100
    proto = skl2onnx.to_onnx(model.fit(x, CLASSES), x[:1], options={id(model): {"zipmap": False}})
    assert [g.status for g in inspect(proto).gradients] == ["yes"]
    assert onnxruntime.InferenceSession(onnx_ig.differentiate(proto).SerializeToString()).get_inputs()[0].name == "X"


@pytest.mark.parametrize("name", ["columns, one-hot", "classes with names"])
def test_a_data_frame_comes_back_as_one(name: str) -> None:
    case = CASES[name]()
    whole = name == "classes with names"
    values = dict(enumerate(case.data["x"].T.tolist())) if whole else {n: v[:, 0] for n, v in case.data.items()}
    frame = Frame(values, index=["i", "j", "k"])  # type: ignore[arg-type]
    found = onnx_ig.IntegratedGradients(case.proto).attribute(frame, target=TARGET)
    assert isinstance(found, Frame) and found.index == frame.index
    assert found.columns == (frame.columns if whole else case.attributed)
    columns = np.stack([found[c] for c in found.columns], 1)
    _compare({"x": columns} if whole else {n: columns[:, [i]] for i, n in enumerate(case.attributed)}, case)


def test_a_data_frame_of_float64_with_another_for_baselines() -> None:
    case = CASES["columns of one axis"]()
    columns = {n: v.reshape(-1) if v.dtype == object else v.reshape(-1).astype(float) for n, v in case.data.items()}
    method = onnx_ig.IntegratedGradients(case.proto)
    found = method.attribute(Frame(columns), Frame({n: v[:1] for n, v in columns.items()}), target=TARGET)
    by_name = {n: case.data[n] for n in case.attributed}
    expected = method.attribute(by_name, {n: v[:1] for n, v in by_name.items()}, TARGET, _others(case))
    for n, value in expected.items():
        assert found[n].dtype == np.float64
        np.testing.assert_allclose(found[n], value.reshape(-1), rtol=1e-6)
    with pytest.raises(InputError, match="column 'label' is no input"):
        method.attribute(Frame({**columns, "label": columns["a"]}), target=TARGET)


BAKED: dict[str, tuple[Any, Any, list[str]]] = {
    "no text": (0, None, ["c"]),
    "one text": (np.array(["Bern"]), np.array(["Bern"]), ["c"]),
    "numbers and texts": (
        {"a": 0.5, "c": np.array(["Bern"], object)}, {"a": 0.5, "c": np.array(["Bern"])}, ["a", "b", "c"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", ["complete", "step"])
@pytest.mark.parametrize("case", BAKED)
def test_text_is_baked_in_as_a_baseline(case: str, form: str, tmp_path: Path) -> None:
    baked, same, attributed = BAKED[case]
    model, place = CASES["columns of one axis"](), "o" if case != "numbers and texts" else "m"
    inputs = {n: model.data[n] for n in attributed}
    others = {n: v for n, v in model.data.items() if n not in attributed}
    expected = onnx_ig.IntegratedGradients(model.proto, at=place).attribute(inputs, same, TARGET, others)
    path = onnx_ig.export(model.proto, tmp_path / "at.onnx", form=form, at=place, target=TARGET, baselines=baked)
    feeds = dict(model.data)
    if form == "step":
        nodes, weights = np.polynomial.legendre.leggauss(50)
        feeds |= {"path_nodes": np.float32((nodes + 1) / 2), "path_weights": np.float32(weights / 2)}
    (found,) = onnxruntime.InferenceSession(path).run([f"attribution_{place}"], feeds)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(expected).max() > 0.1


def test_a_category_that_an_encoder_does_not_know_is_said() -> None:
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18, "ai.onnx.ml" : 3]>
        f (string[n] x) => (float[n, 2] y) {
            e = ai.onnx.ml.OneHotEncoder <cats_strings = ["Bern", "Oslo"], zeros = 0> (x)  y = Tanh (e) }""")
    method = onnx_ig.IntegratedGradients(proto, at="e")
    with pytest.raises(InputError, match=r"does not know .*a baseline, of known categories"):
        method.attribute(np.array(["Oslo"]), target=0)
    assert np.abs(method.attribute(np.array(["Oslo"]), np.array(["Bern"]), target=0)).max() > 0.1


FORMS: dict[str, tuple[Callable[[Array], Any], str]] = {
    "float64": (lambda x: x.astype(np.float64), "float64"),
    "float16": (lambda x: np.float16([[1, 0.5], [2, 1.5]]), "float16"),
    "integers": (lambda x: np.array([[1, 2], [3, 4]]), "float32"),
    "lists": (lambda x: x.tolist(), "float32"),
    "objects": (lambda x: x.astype(object), "float32"),
    "float32": (lambda x: x, "float32"),
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_are_cast_and_answered_in_their_type(form: str) -> None:
    case = CASES["classes with names"]()
    make, dtype = FORMS[form]
    given = make(case.data["x"])
    found = onnx_ig.IntegratedGradients(case.proto).attribute(given, target=TARGET)
    exact = np.asarray(given, np.float64).astype(np.float32)
    expected = _expected(case._replace(data={"x": exact}))["x"]
    assert isinstance(found, np.ndarray) and found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


REFUSED: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "numbers for text": (np.ones((1, 2)), "object", ("takes text", "1.0", ".astype(str)")),
    "a text that is missing": (np.array([["a", None]], object), "object", ("None", "[0, 1]")),
    "text for numbers": (np.array([["a"]]), "float32", ("<U1", "float32")),
    "objects for numbers": (np.array([["a"]], object), "float32", ("<U1", "float32")),
    "fractions for integers": (np.array([[0.5]]), "int64", ("floating-point", ".astype(numpy.int64)")),
    "too large": (np.array([[2**24 + 1]]), "float32", ("16777217",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_cast_is_refused(case: str) -> None:
    given, dtype, words = REFUSED[case]
    with pytest.raises(InputError) as caught:
        cast_to_declared(given, InputSpec("x", np.dtype(dtype), None), "here")
    for word in ("'x'", *words):
        assert word in str(caught.value)


def test_text_is_text_of_any_kind() -> None:
    for given in (np.array(["ä"]), np.array(["ä".encode()]), np.array(["ä"], object)):
        cast = cast_to_declared(given, InputSpec("x", np.dtype(object), None), "here")
        assert cast.dtype == object and cast.tolist() == ["ä"]
