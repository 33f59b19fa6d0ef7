"""Text, columns with a name each for their rows, labels and places inside the graph: any number of examples.

The one idea: each model is asked for 1, 2 and 7 examples from every form of a baseline, in every door.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from click.testing import CliRunner

import onnx_ig
from onnx_ig.cli.app import app
from tests.helpers.doors import DOORS, NODES, PRODUCTS, STEPS, WEIGHTS, Case, assert_right, expected, first_rows

RNG = np.random.default_rng(4)
SIZES = (1, 2, 7)
WORDS = np.array(["Bern", "Oslo", "Rome", "Oslo", "Bern", "Kiev", "Oslo"], object)[:, None]


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def model(text: str) -> onnx.ModelProto:
    """A model in text."""
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18, "ai.onnx.ml" : 3]> f {text}')


ENCODED = """o = ai.onnx.ml.OneHotEncoder <cats_strings = ["Bern", "Oslo"], zeros = 1> (c)
    k = Cast <to = 1> (o)  s = Squeeze (k, one)"""
WEIGHTS_OF = "<int64[1] one = {{1}}, float[{0}, 2] w = {{{1}}}>"


def head(columns: int) -> str:
    return WEIGHTS_OF.format(columns, ", ".join(f"{v:.2f}" for v in np.cos(np.arange(2 * columns))))


# the model, its attributed inputs, and further ones with a row per example
MODELS: dict[str, tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]]] = {
    "text beside numbers": (
        f"""(float[N, 3] x, string[N, 1] c) => (float[N, 2] y) {head(5)}
        {{ {ENCODED}  j = Concat <axis = 1> (x, s)  h = Tanh (j)  y = MatMul (h, w) }}""",
        {"x": floats(7, 3)}, {"c": WORDS},
    ),
    "text times numbers": (
        f"""(float[N, 2] x, string[N, 1] c) => (float[N, 2] y) {head(2)}
        {{ {ENCODED}  m = Mul (x, s)  j = Add (m, x)  h = Tanh (j)  y = MatMul (h, w) }}""",
        {"x": floats(7, 2)}, {"c": WORDS},
    ),
    "classes with names": (
        f"""(float[N, 3] x) => (float[N, 2] y, string[N] label) {head(3)}
        {{ h = MatMul (x, w)  y = Softmax (h)  k = ArgMax <axis = 1, keepdims = 0> (h)
        label = ai.onnx.ml.LabelEncoder <keys_int64s = [0, 1], values_strings = ["a", "b"]> (k) }}""",
        {"x": floats(7, 3)}, {},
    ),
    "a name for the rows of each column": (
        f"""(float[age_0, 1] a, string[city_0, 1] c, float[height_0, 1] b) => (float[M, 2] y) {head(4)}
        {{ {ENCODED}  j = Concat <axis = 1> (a, s, b)  t = Tanh (j)  y = MatMul (t, w) }}""",
        {"a": floats(7, 1), "b": floats(7, 1)}, {"c": WORDS},
    ),
    "columns of one axis": (
        f"""(float[age_0] a, int64[city_0] c, float[height_0] b) => (float[M, 2] y) {head(3)}
        {{ u = Unsqueeze (a, one)  v = Unsqueeze (b, one)  f = Cast <to = 1> (c)  k = Unsqueeze (f, one)
        j = Concat <axis = 1> (u, v, k)  t = Tanh (j)  y = MatMul (t, w) }}""",
        {"a": floats(7), "b": floats(7)}, {"c": RNG.integers(0, 3, 7)},
    ),
}  # fmt: skip


def starts(inputs: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Baselines: a number, one row, a row per example, and of several inputs each in a form of its own."""
    found: list[dict[str, Any]] = [
        dict.fromkeys(inputs, 0.25),
        {name: floats(1, *x.shape[1:]) for name, x in inputs.items()},
        {name: floats(*x.shape) for name, x in inputs.items()},
    ]
    if len(inputs) > 1:
        number, _, rows = found
        found.append({name: (number if i else rows)[name] for i, name in enumerate(inputs)})
    return found


@pytest.mark.filterwarnings("ignore:it was not checked", "ignore:the attributions of")  # of text; in so few steps
@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, tmp_path: Path) -> None:
    text, inputs, rows = MODELS[name]
    case = Case(model(text), inputs, rows)
    for baselines in starts(inputs):
        wanted = expected(case, baselines)
        for door, opened in DOORS.items():
            attribute = opened(case, baselines, tmp_path)
            for n in SIZES:
                found = attribute(case.first(n), first_rows(baselines, n))
                assert_right(found, first_rows(wanted, n), note=f"{door}, {n} examples")
    wanted = expected(case, {}, integrated=False)
    for door, opened in PRODUCTS.items():
        attribute = opened(case, {}, tmp_path)
        for n in SIZES:
            assert_right(attribute(case.first(n), {}), first_rows(wanted, n), note=door)


TABLE = "float[4, 3] table = {" + ", ".join(f"{v:.2f}" for v in np.sin(np.arange(12))) + "}"
# from the input to e [N, 2, 3]; the input's type; its values
PLACES: dict[str, tuple[str, str, np.ndarray]] = {
    "ids": ("e = Gather (table, i)", "int64", RNG.integers(0, 4, (7, 2))),
    "ids in floats": ("k = Cast <to = 7> (i)  e = Gather (table, k)", "float", RNG.integers(0, 4, (7, 2))),
    "words": (
        """k = ai.onnx.ml.LabelEncoder <keys_strings = ["a", "b"], values_int64s = [1, 3]> (i)
        m = Max (k, none)  e = Gather (table, m)""",
        "string",
        RNG.choice(np.array(["a", "b", "c"], object), (7, 2)),
    ),
    "ids of an int8 table": (
        "g = Gather (bytes, i)  e = DequantizeLinear (g, scale, middle)",
        "int64",
        RNG.integers(0, 4, (7, 2)),
    ),
    "whole numbers cast to floats": (
        "f = Cast <to = 1> (i)  u = Unsqueeze (f, last)  e = Mul (u, steps)",
        "int64",
        RNG.integers(0, 9, (7, 2)),
    ),
    "counts of words": (
        """c = TfIdfVectorizer <max_gram_length = 1, max_skip_count = 0, min_gram_length = 1, mode = "TF",
        ngram_counts = [0], ngram_indexes = [0, 1, 2, 3], pool_int64s = [0, 1, 2, 3]> (i)
        u = Unsqueeze (c, one)  t4 = MatMul (u, table)  e = Concat <axis = 1> (t4, t4)""",
        "int64",
        RNG.integers(0, 4, (7, 2)),
    ),
    "one-hot ids": ("h = OneHot (i, depth, pair)  e = MatMul (h, table)", "int64", RNG.integers(0, 4, (7, 2))),
}
TAIL = "t = Tanh (e)  v = ReduceMean <keepdims = 0> (t, one)  z = MatMul (v, w)  y = Sigmoid (z)"
DTYPES = {"int64": np.int64, "float": np.float32, "string": object}


def integrated(case: Case, start: np.ndarray, n: int) -> np.ndarray:
    found = onnx_ig.IntegratedGradients(case.model, at="e", provider="cpu").attribute(
        case.first(n).inputs["i"], start, case.target, n_steps=STEPS
    )
    return np.asarray(found)


@pytest.mark.filterwarnings("ignore:it was not checked", "ignore:the attributions of", "ignore:.*equal their baseline")
@pytest.mark.parametrize("name", PLACES)
def test_places(name: str, tmp_path: Path) -> None:
    """By the model behind the place in float64; in every door, and on the command line."""
    text, kind, values = PLACES[name]
    constants = head(3)[:-1] + f", {TABLE}, int64 depth = {{4}}, int64[2] none = {{0, 0}}, float[2] pair = {{0, 1}}"
    constants += ", int8[4, 3] bytes = {-9, 4, 7, 2, -3, 5, 8, -1, 0, 6, -7, 3}, float scale = {0.1}, int8 middle = {1}"
    constants += ", int64[1] last = {-1}, float[3] steps = {0.1, -0.2, 0.3}>"
    proto = model(f"({kind}[N, 2] i) => (float[N, 2] y) {constants} {{ {text} {TAIL} }}")
    values = values.astype(DTYPES[kind])
    case = Case(proto, {"i": values})
    inner = model(f"({kind}[N, 2] i) => (float[N, 2, 3] e) {constants} {{ {text} }}")
    session = onnxruntime.InferenceSession(inner.SerializeToString())
    embedded = session.run(None, {"i": values})[0]
    behind = Case(model(f"(float[N, 2, 3] e) => (float[N, 2] y) {head(3)} {{ {TAIL} }}"), {"e": embedded})
    onnx.save(proto, tmp_path / "model.onnx")
    forms: dict[str, Any] = {"one row": values[-1:], "a row each": np.roll(values, 1, axis=0)}
    forms |= {} if kind == "string" else {"a number": 1}
    for form, start in forms.items():
        at_start = session.run(None, {"i": np.broadcast_to(np.asarray(start, values.dtype), values.shape)})[0]
        wanted = expected(behind, {"e": at_start})
        baked = {"baselines": start if form == "a number" else "input"}
        files = {
            door: onnx_ig.export(
                proto, tmp_path / f"{door}.onnx", at="e", target=1, overwrite=True, n_steps=STEPS, **options, **baked
            )
            for door, options in {"complete": {}, "loop-free": {"steps_per_run": 0}, "step": {"form": "step"}}.items()
        }
        for n in SIZES:
            mine = first_rows({"i": start}, n)["i"]
            want = first_rows(wanted, n)
            assert_right({"e": integrated(case, mine, n)}, want, note=f"engine, {n} examples, {form}")
            for door, path in files.items():
                found = plain(path, values[:n], None if form == "a number" else mine)
                assert_right({"e": found}, want, note=f"{door}, {n} examples, {form}")
            if (n, form) != (2, "a row each"):
                continue
            for source in ("model", "complete", "step"):
                found = on_the_command_line(tmp_path, source, values[:n], mine)
                assert_right({"e": found}, want, note=f"attribute {source}, {form}")


def plain(path: Path, x: np.ndarray, start: np.ndarray | None) -> np.ndarray:
    """The file in a plain client."""
    session = onnxruntime.InferenceSession(path)
    names = {i.name for i in session.get_inputs()}
    feeds = {"i": x} | ({} if start is None else {"baseline_i": start})
    if "path_nodes" in names:
        feeds |= {"path_nodes": NODES.astype(np.float32), "path_weights": WEIGHTS.astype(np.float32)}
    return np.asarray(session.run(["attribution_e"], feeds)[0])


def on_the_command_line(folder: Path, source: str, x: np.ndarray, start: np.ndarray) -> np.ndarray:
    for file, value in (("x", x), ("start", start)):
        np.save(folder / f"{file}.npy", value.astype(str) if x.dtype == object else value)
    words = f"attribute {folder}/{source}.onnx -i i={folder}/x.npy -o {folder}/out --overwrite"
    words += f" --baseline @{folder}/start.npy"
    if source == "model":
        words += " --at e --target 1"
    if source != "complete":
        words += f" --n-steps {STEPS}"
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 0, result.output
    with np.load(folder / "out" / "attributions.npz") as saved:
        return np.asarray(saved["attribution_e"])
