"""Baselines made from the data, by name, through the command line and against NumPy's own words."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from click.testing import CliRunner
from PIL import Image, ImageFilter

from onnx_ig.cli import app
from onnx_ig.data import MADE_BASELINES, InputValue, Picture, named_baseline
from onnx_ig.errors import InputError

_RNG = np.random.default_rng(3)
_MEAN, _STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
_PIXELS = _RNG.random((2, 3, 20, 30))
_PER_CHANNEL = [np.reshape(numbers, (1, 3, 1, 1)) for numbers in (_MEAN, _STD)]
_VALUES = ((_PIXELS - _PER_CHANNEL[0]) / _PER_CHANNEL[1]).astype(np.float32)
_PICTURES = InputValue(_VALUES, picture=Picture("NCHW", _MEAN, _STD))
_WHOLE = InputValue(_RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8), picture=Picture("HWC"))
_TABLE = InputValue(_RNG.standard_normal((7, 4)).astype(np.float32))


def _pixels(baseline: np.ndarray) -> np.ndarray:
    return baseline * _PER_CHANNEL[1] + _PER_CHANNEL[0]


def test_black_and_white_are_pixels() -> None:
    np.testing.assert_allclose(_pixels(named_baseline("black", _PICTURES, "x")), 0, atol=1e-6)
    np.testing.assert_allclose(_pixels(named_baseline("white", _PICTURES, "x")), 1, atol=1e-6)
    assert set(named_baseline("white", _WHOLE, "x").ravel()) == {255}
    assert set(named_baseline("black", _WHOLE, "x").ravel()) == {0}


def test_a_picture_of_its_mean_colour() -> None:
    found = _pixels(named_baseline("mean", _PICTURES, "x"))
    np.testing.assert_allclose(found, np.broadcast_to(_PIXELS.mean((2, 3), keepdims=True), found.shape), rtol=1e-5)
    middle = named_baseline("median", _WHOLE, "x")
    assert middle.dtype == np.uint8 and middle[0, 0].tolist() == np.rint(np.median(_WHOLE.value, (0, 1))).tolist()


def test_a_blurred_picture_is_pillows() -> None:
    wide = InputValue(np.pad(_PIXELS, ((0, 0), (0, 0), (40, 40), (40, 40)), mode="edge"), picture=Picture("NCHW"))
    found = named_baseline("blur", wide, "x")
    for picture, blurred in zip(wide.value, found, strict=True):
        for channel, ours in zip(picture, blurred, strict=True):
            grey = Image.fromarray((channel * 255).round().astype(np.uint8))
            theirs = np.asarray(grey.filter(ImageFilter.GaussianBlur(10)), np.float64) / 255
            inside = slice(35, 65)  # beyond the edge Pillow repeats the last pixel
            np.testing.assert_allclose(ours[inside, inside], theirs[inside, inside], atol=0.02)


_HOLES = np.where(_RNG.random((7, 4)) < 0.3, np.nan, _TABLE.value).astype(np.float32)
_HOLES[0] = _TABLE.value[0]
USUAL = {"a table": _TABLE.value, "a column": _TABLE.value[:, 0], "missing values": _HOLES}


@pytest.mark.parametrize("case", USUAL)
@pytest.mark.parametrize("word", ["mean", "median"])
def test_the_usual_row_of_a_table(case: str, word: str) -> None:
    value = USUAL[case]
    found = named_baseline(word, InputValue(value), "x")
    assert found.shape == (1, *value.shape[1:])
    columns = value.reshape(len(value), -1).astype(np.float64).T
    expected = [getattr(statistics, word)(column[~np.isnan(column)].tolist()) for column in columns]
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)


# the word, the data, whether their axis 0 holds examples, and the reason
REFUSED = {
    "no picture, white": ("white", _TABLE, True, "not read from pictures"),
    "no picture, blur": ("blur", _TABLE, True, "not read from pictures"),
    "one row": ("mean", InputValue(_TABLE.value[:1]), True, "holds one example, which is its own mean"),
    "one number": ("mean", InputValue(np.float32(2)), True, "holds one example, which is its own mean"),
    "rows of one example": ("median", _TABLE, False, "holds one example, which is its own median"),
    "a column without a value": ("mean", InputValue(_TABLE.value * [1, np.nan, 1, 1]), True, "in every example"),
    "text": ("median", InputValue(np.array([["a"], ["b"]], object)), True, "has no such value"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    word, given, batched, reason = REFUSED[case]
    with pytest.raises(InputError, match=reason):
        named_baseline(word, given, "x", batched=batched)


def test_every_word_is_made() -> None:
    for word in MADE_BASELINES:
        assert named_baseline(word, _PICTURES, "x").dtype == np.float32


def _model(path: Path) -> Path:
    text = """<ir_version: 10, opset_import: ["": 18]>
    squares (float[n, 4] x) => (float[n, 4] y) { y = Mul(x, x) }"""
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def test_the_command_line(tmp_path: Path) -> None:
    model, rows = _model(tmp_path / "m.onnx"), tmp_path / "x.npy"
    np.save(rows, _TABLE.value)
    out = tmp_path / "report"
    command = ["attribute", str(model), "-i", str(rows), "--target", "1", "--baseline", "median", "-o", str(out)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    wanted = np.zeros_like(_TABLE.value)
    wanted[:, 1] = _TABLE.value[:, 1] ** 2 - np.median(_TABLE.value[:, 1]) ** 2
    np.testing.assert_allclose(np.load(out / "attributions.npz")["attribution_x"], wanted, atol=1e-5)
    assert "baseline: median" in json.dumps(json.loads((out / "report.json").read_text()))


# the model's input, its data [N, 2] or [N], options, and whether the rows are one example
ONE_EXAMPLE = {
    "as told": ("float[4, 2] x", (4, 2), "--batch-axis none", True),
    "as the shapes tell": ("float[4] x", (4,), "", True),
    "rows": ("float[n, 2] x", (4, 2), "", False),
    "numbers": ("float[n] x", (4,), "", False),
}


@pytest.mark.parametrize("exported", [False, True])
@pytest.mark.parametrize("case", ONE_EXAMPLE)
def test_the_mean_of_examples_alone(case: str, exported: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared, shape, options, refused = ONE_EXAMPLE[case]
    monkeypatch.chdir(tmp_path)
    text = f"""<ir_version: 10, opset_import: ["" : 18]>
    squares ({declared}) => ({declared.replace("x", "y")}) {{ y = Mul(x, x) }}"""
    onnx.save(onnx.parser.parse_model(text), "m.onnx")
    x = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    np.save("x.npy", x)
    source = "m.onnx"
    if exported:
        done = CliRunner().invoke(app, f"export m.onnx -o e.onnx --baseline input {options}".split())
        assert done.exit_code == 0, done.output
        source = "e.onnx"
    command = f"attribute {source} -i x.npy --baseline mean -o out {options}"
    command += "" if len(shape) == 1 and not refused else " --target " + ("0,1" if len(shape) == 2 and refused else "1")
    done = CliRunner().invoke(app, command.split())
    if refused:
        assert done.exit_code != 0 and "holds one example, which is its own mean" in done.output
    else:
        assert done.exit_code == 0, done.output
        chosen = (slice(None), 1) if len(shape) == 2 else slice(None)
        wanted = np.zeros_like(x)
        wanted[chosen] = x[chosen] ** 2 - x[chosen].mean() ** 2
        np.testing.assert_allclose(np.load("out/attributions.npz")["attribution_x"], wanted, atol=1e-3)


def test_a_file_cannot_bake_what_is_made_from_data(tmp_path: Path) -> None:
    model = _model(tmp_path / "m.onnx")
    result = CliRunner().invoke(app, ["export", str(model), "-o", str(tmp_path / "e.onnx"), "--baseline", "mean"])
    assert result.exit_code == 2 and "--baseline input" in result.output
    result = CliRunner().invoke(
        app, ["verify", "models.digits_cnn.model:digits_cnn", "--baseline", "mean", "--example-input", "1x1x8x8"]
    )
    assert result.exit_code == 2 and "give a number or @FILE" in result.output
