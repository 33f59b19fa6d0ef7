"""Inputs without a gradient (ids, text, pictures of bytes) are attributed at the first float tensor behind them.

Behind each head below lies the same network, which torch computes in float64 from the head's own output.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.errors import InputError, NoGradientPathError
from onnx_ig.inspection import inspect

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((7, 3)).astype(np.float32)
BYTES = RNG.integers(-100, 100, (7, 3)).astype(np.int8)
IDS, PADDING = np.array([[1, 5, 2], [6, 0, 3]]), np.array([[0, 0, 0]])
TARGET = 1
DOMAINS = {"": 18, "ai.onnx.ml": 3, "com.microsoft": 1}


class Head(NamedTuple):
    """From the input x by way of the float tensor ``place`` to the tensor ``end``, of ``width`` numbers per example."""

    nodes: str
    x: Array
    baseline: Array
    width: int
    declared: str = "int64[N, 3] x"
    place: str = "e"
    end: str = "e"


def _text(*rows: list[str]) -> Array:
    return np.array(rows, object)


HEADS: dict[str, Head] = {
    "ids": Head("e = Gather (table, x)", IDS, PADDING, 9),
    "ids given as floats": Head(
        "i = Cast <to = 7> (x)  e = Gather (table, i)", IDS.astype(np.float32), PADDING, 9, "float[N, 3] x"
    ),
    "floats rounded to ids": Head(
        "r = Round (x)  i = Cast <to = 6> (r)  e = Gather (table, i)", IDS.astype(np.float32), PADDING, 9,
        "float[N, 3] x",
    ),
    "table of bytes, look-up before": Head(
        "q = Gather (bytes, x)  e = DequantizeLinear (q, scale, zero)", IDS, PADDING, 9
    ),
    "table of bytes, look-up behind": Head(
        "d = DequantizeLinear (bytes, scale, zero)  e = Gather (d, x)", IDS, PADDING, 9
    ),
    "quantised behind the look-up": Head(
        "e = Gather (table, x)  q = QuantizeLinear (e, fine, zero)  s = DequantizeLinear (q, fine, zero)", IDS, PADDING,
        9, end="s",
    ),
    "two tables in one": Head("b = Concat <axis = 0> (table, table)  e = Gather (b, x)", IDS + 7, PADDING, 9),
    "look-up by rows": Head("i = Unsqueeze (x, last)  e = GatherND (table, i)", IDS, PADDING, 9),
    "one-hot": Head("e = OneHot (x, seven, off_on)", IDS, PADDING, 21),
    "one-hot of floats": Head(
        "n = Cast <to = 1> (seven)  e = OneHot (x, n, off_on)", IDS.astype(np.float32), PADDING, 21, "float[N, 3] x"
    ),
    "one-hot and a table": Head("e = OneHot (x, seven, off_on)  m = MatMul (e, table)", IDS, PADDING, 9, end="m"),
    "bytes of a picture": Head("e = Cast <to = 1> (x)", IDS.astype(np.uint8), PADDING, 3, "uint8[N, 3] x"),
    "a table of integers": Head("c = Cast <to = 1> (x)  e = Mul (c, third)", IDS, PADDING, 3, place="c"),
    "yes and no": Head("e = Cast <to = 1> (x)", IDS > 2, PADDING > 0, 3, "bool[N, 3] x"),
    "steps of floats": Head(
        "e = ai.onnx.ml.Binarizer <threshold = 2.5> (x)", IDS.astype(np.float32), PADDING, 3, "float[N, 3] x"
    ),
    "encoder of integers": Head(
        "e = ai.onnx.ml.OneHotEncoder <cats_int64s = [0, 1, 2, 3, 5, 6]> (x)", IDS, PADDING, 18
    ),
    "encoder of text": Head(
        """e = ai.onnx.ml.OneHotEncoder <cats_strings = ["Bern", "Oslo"], zeros = 1> (x)""",
        _text(["Oslo", "Bern"], ["Bern", "Rome"]), _text(["", "Bern"]), 4, "string[N, 2] x",
    ),
    "encoders side by side": Head(
        """a = Gather <axis = 1> (x, first)  b = Gather <axis = 1> (x, second)
        p = ai.onnx.ml.OneHotEncoder <cats_strings = ["Bern", "Oslo"], zeros = 1> (a)
        q = ai.onnx.ml.OneHotEncoder <cats_strings = ["cook", "poet"], zeros = 1> (b)
        e = Concat <axis = 2> (p, q)""",
        _text(["Oslo", "poet"], ["Bern", "cook"]), _text(["", "cook"]), 4, "string[N, 2] x",
    ),
    "text to floats": Head(
        """e = ai.onnx.ml.LabelEncoder <keys_strings = ["a", "b"], values_floats = [0.5, 2.0]> (x)""",
        _text(["a", "b"], ["b", "c"]), _text(["a", "a"]), 2, "string[N, 2] x",
    ),
    "text to integers": Head(
        """i = ai.onnx.ml.LabelEncoder <keys_strings = ["a", "b"], values_int64s = [1, 2], default_int64 = 0> (x)
        e = Cast <to = 1> (i)""", _text(["a", "b"], ["b", "c"]), _text(["", "a"]), 2, "string[N, 2] x",
    ),
    "categories": Head(
        """i = ai.onnx.ml.CategoryMapper <cats_int64s = [3, 4], cats_strings = ["a", "b"]> (x)
        e = Gather (table, i)""", _text(["a", "b"], ["b", "a"]), _text(["a", "a"]), 6, "string[N, 2] x",
    ),
    "columns chosen": Head(
        "i = ai.onnx.ml.ArrayFeatureExtractor (x, two)  e = Cast <to = 1> (i)", IDS, PADDING, 2
    ),
    "integers filled in": Head(
        "i = ai.onnx.ml.Imputer <imputed_value_int64s = [4], replaced_value_int64 = 0> (x)  e = Cast <to = 1> (i)",
        IDS, PADDING, 3,
    ),
    "scaled integers": Head(
        "e = ai.onnx.ml.Scaler <offset = [1.0], scale = [0.5]> (x)", IDS, PADDING, 3, place="grad_Cast"
    ),
    "counts of ids": Head(
        """e = TfIdfVectorizer <max_gram_length = 1, min_gram_length = 1, max_skip_count = 0, mode = "TF",
        ngram_counts = [0], ngram_indexes = [0, 1, 2, 3], pool_int64s = [0, 1, 2, 5]> (x)""", IDS, PADDING, 4,
    ),
    "counts of words": Head(
        """n = StringNormalizer <case_change_action = "LOWER", locale = "C"> (x)
        w = com.microsoft.Tokenizer <mark = 0, mincharnum = 1, pad_value = "#", tokenexp = "[a-z]+"> (n)
        e = TfIdfVectorizer <max_gram_length = 1, min_gram_length = 1, max_skip_count = 0, mode = "TFIDF",
        ngram_counts = [0], ngram_indexes = [0, 1, 2], pool_strings = ["good", "bad", "film"],
        weights = [1.5, 1.0, 0.5]> (w)""",
        np.array(["Good film, good", "A bad film"], object), np.array([""], object), 3, "string[N] x",
    ),
    "fused look-ups": Head(
        """o, m = com.microsoft.EmbedLayerNormalization <epsilon = 1e-5> (x32, , table, positions, , gain, bias)
        e = Identity (o)""", IDS.astype(np.int32), PADDING, 9, "int32[N, 3] x32", "word_embedding",
    ),
    "time first": Head(
        "i = Transpose <perm = [1, 0]> (x)  g = Gather (table, i)  e = Transpose <perm = [1, 0, 2]> (g)", IDS,
        PADDING, 9,
    ),
}  # fmt: skip


def _model(head: Head) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The head with a network of one hidden layer behind, and this network's weights."""
    rng = np.random.default_rng(1)
    weights = {
        "W": 0.4 * rng.standard_normal((head.width, 4)).astype(np.float32),
        "V": rng.standard_normal((4, 2)).astype(np.float32),
    }
    constants = {
        "table": TABLE, "bytes": BYTES, "scale": np.float32(0.02), "fine": np.float32(0.02), "zero": np.int8(0),
        "last": np.array([-1]), "seven": np.array(7), "off_on": np.array([-0.5, 1], np.float32),
        "third": np.float32(1 / 3), "two": np.array([0, 2]), "first": np.array([0]),
        "second": np.array([1]), "positions": TABLE[::-1].copy(),
        "gain": np.array([1, 2, 0.5], np.float32), "bias": np.array([0, 0.1, 0.2], np.float32), **weights,
    }  # fmt: skip
    imports = ", ".join(f'"{domain}" : {version}' for domain, version in DOMAINS.items())
    proto = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: [{imports}]> f ({head.declared}) =>
        (float[N, 2] y) {{ {head.nodes}  flat = Flatten ({head.end})  h = MatMul (flat, W)  t = Tanh (h)
        y = MatMul (t, V) }}""")
    for name, value in constants.items():
        if any(name in node.input for node in proto.graph.node):
            proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    return proto, weights


def _expected(proto: onnx.ModelProto, head: Head, place: str, weights: dict[str, Array]) -> Array:
    """Integrated Gradients of y's element from the place on, between its values at the baseline and at x."""
    name = proto.graph.input[0].name
    loaded = onnx.utils.Extractor(onnx_ig.differentiate(proto, wrt=[place]))  # the place may be inside a fused operator
    session = onnxruntime.InferenceSession(loaded.extract_model([name], [place]).SerializeToString())
    start = np.broadcast_to(head.baseline.astype(head.x.dtype), head.x.shape)
    ends = [torch.tensor(session.run(None, {name: value})[0]).double() for value in (start, head.x)]
    return _integrated(head, *ends, weights)


def _tail(head: Head, e: torch.Tensor, weights: dict[str, Array]) -> torch.Tensor:
    if head.place == "c":
        e = e / 3
    if "grad_Cast" in head.place:
        e = (e - 1) / 2
    if "Embed" in head.nodes:
        gain, bias = torch.tensor([1, 2, 0.5]).double(), torch.tensor([0, 0.1, 0.2]).double()
        e = torch.nn.functional.layer_norm(e + torch.tensor(TABLE[::-1][:3].copy()).double(), (3,), gain, bias, 1e-5)
    if "m = MatMul" in head.nodes:
        e = e @ torch.tensor(TABLE).double()
    flat, (w, v) = e.flatten(1), (torch.tensor(weights[name]).double() for name in "WV")
    return torch.tanh(flat @ w) @ v


def _integrated(head: Head, start: torch.Tensor, end: torch.Tensor, weights: dict[str, Array]) -> Array:
    total = torch.zeros_like(end)
    for node, weight in zip(*np.polynomial.legendre.leggauss(50), strict=True):
        point = (start + (node + 1) / 2 * (end - start)).requires_grad_()
        (grad,) = torch.autograd.grad(_tail(head, point, weights)[:, TARGET].sum(), point)
        total += weight / 2 * grad
    return ((end - start) * total).numpy()


def _close(found: Array, expected: Array, quantised: bool) -> None:
    tolerance = 0.05 if quantised else 1e-3  # of the straight-through derivative at rounded values
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("name", HEADS)
def test_the_place_is_listed_named_and_right(name: str, tmp_path: Path) -> None:
    head = HEADS[name]
    proto, weights = _model(head)
    found = inspect(proto)
    place = next(layer.tensor.name for layer in (*found.embeddings, *found.layers))
    assert place == head.place
    x, quantised = proto.graph.input[0].name, "quantised" in name
    with pytest.raises((InputError, NoGradientPathError), match=f"at='{place}'"):
        onnx_ig.IntegratedGradients(proto).attribute(head.x, target=TARGET)
    expected = _expected(proto, head, place, weights)
    method = onnx_ig.IntegratedGradients(proto, at=place)
    value, delta = method.attribute(head.x, head.baseline, target=TARGET, return_convergence_delta=True)
    _close(value, expected, quantised)
    assert np.abs(delta).max() < (0.1 if quantised else 1e-3)

    for form in ("complete", "step"):
        path = onnx_ig.export(proto, tmp_path / f"{form}.onnx", form=form, at=place, target=TARGET, baselines="input")
        feeds: dict[str, Any] = {x: head.x, f"baseline_{x}": head.baseline.astype(head.x.dtype)}
        if form == "step":
            nodes, path_weights = np.polynomial.legendre.leggauss(50)
            feeds |= {"path_nodes": np.float32((nodes + 1) / 2), "path_weights": np.float32(path_weights / 2)}
        session = onnxruntime.InferenceSession(path)
        _close(session.run([f"attribution_{place}"], feeds)[0], expected, quantised)


# Reading, casting and reporting depend on the input's type alone: one head of each.
_BY_TYPE = {head.declared.partition("[")[0]: name for name, head in HEADS.items()}


@pytest.mark.parametrize("name", _BY_TYPE.values())
def test_command_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = HEADS[name]
    proto, weights = _model(head)
    expected = _expected(proto, head, head.place, weights)
    monkeypatch.chdir(tmp_path)
    onnx.save(proto, "model.onnx")
    for file, values in (("x.npy", head.x), ("base.npy", head.baseline)):
        np.save(file, values.astype(str) if values.dtype == object else values)
    command = f"attribute model.onnx -i x.npy --at {head.place} --baseline @base.npy --target {TARGET} -o out"
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 0, result.stderr
    with np.load("out/attributions.npz") as saved:
        _close(saved[f"attribution_{head.place}"], expected, False)


def test_a_text_is_a_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By every door, of every example; a number is none."""
    head = HEADS["encoder of text"]
    proto, _ = _model(head)
    monkeypatch.chdir(tmp_path)
    onnx.save(proto, "model.onnx")
    np.save("x.npy", head.x.astype(str))
    method = onnx_ig.IntegratedGradients(proto, at="e")
    expected = method.attribute(head.x, np.array([["Bern", "Bern"]], object), target=TARGET)
    np.testing.assert_allclose(method.attribute(head.x, "Bern", target=TARGET), expected, rtol=1e-6)
    assert np.abs(method.attribute(head.x, target=TARGET) - expected).max() > 1e-2

    def run(command: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, command.split())
        assert result.exit_code == code, result.output
        return result.stderr

    attribute = f"-i x.npy --target {TARGET} -o out --overwrite"
    run(f"export model.onnx -o ig.onnx --at e --target {TARGET} --baseline x=Bern")
    for command in ("attribute model.onnx --at e --baseline x=Bern", "attribute ig.onnx --baseline x=Bern"):
        run(f"{command} {attribute}")
        with np.load("out/attributions.npz") as saved:
            np.testing.assert_allclose(saved["attribution_e"], expected, rtol=1e-4, atol=1e-6)
    assert "Bern" in run(f"attribute ig.onnx --baseline x=Oslo {attribute}", 2)
    assert "x=TEXT" in run(f"attribute model.onnx --at e --baseline Bern {attribute}", 2)
    with pytest.raises(InputError, match="holds text"):
        onnx_ig.export(proto, "other.onnx", at="e", target=TARGET, baselines=0.5)
    with pytest.raises(InputError, match="holds numbers"):
        onnx_ig.export(_model(HEADS["ids"])[0], "other.onnx", at="e", target=TARGET, baselines="Bern")
