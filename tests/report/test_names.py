"""Names of features: each example has its own words, in the terminal, the document, the page and the pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from onnx_ig.cli.app import app
from onnx_ig.report import AttributionReport, write_report
from onnx_ig.report.charts import draw_strip
from tests.helpers import cli_models

TOKENS = "tokens.onnx -i ids=ids.npy --extra mask=mask.npy --at embedded --target 0"
TABLE = "two.onnx -i both.npz --target 1"
FIRST, SECOND = ["the", "cat", "sat", "[PAD]"], ["a", "dog", "ran", "off"]
COLUMNS = ["red", "green", "blue"]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli_models.make(tmp_path)
    np.save(tmp_path / "one_sentence.npy", np.array([[1, 2, 3, 4]]))
    np.save(tmp_path / "one_mask.npy", np.array([[1, 1, 1, 0]]))
    monkeypatch.chdir(tmp_path)


def attribute(command: str, names: Any) -> Result:
    Path("chosen.json").write_text(json.dumps(names))
    return CliRunner().invoke(app, [*f"attribute {command} -o out".split(), "--names", "chosen.json"])


# what is attributed, the names, the exit code, and words of the message
NAMES: dict[str, tuple[str, Any, int, str]] = {
    "a list for each sentence": (TOKENS, {"features": [FIRST, SECOND]}, 0, ""),
    "by the tensor": (TOKENS, {"features": {"embedded": [FIRST, SECOND]}}, 0, ""),
    "one list for two sentences": (TOKENS, {"features": FIRST}, 4, "Give one list for each"),
    "one list by the tensor": (TOKENS, {"features": {"embedded": FIRST}}, 4, "Give one list for each"),
    "three lists for two": (TOKENS, {"features": [FIRST, SECOND, FIRST]}, 4, "3 lists of feature names for the 2"),
    "a list too short": (TOKENS, {"features": [FIRST, SECOND[:3]]}, 4, "3 feature names of example 1"),
    "columns that all rows share": (TABLE, {"features": COLUMNS}, 0, ""),
    "columns for each row": (TABLE, {"features": [COLUMNS, COLUMNS[::-1]]}, 0, ""),
    "columns of two tables": (TABLE, {"features": {"a": COLUMNS, "b": COLUMNS[::-1]}}, 0, ""),
    "too few columns": (TABLE, {"features": COLUMNS[:2]}, 4, "2 feature names for 'a', which has 3"),
    "another tensor": (TABLE, {"features": {"A": COLUMNS}}, 2, "did you mean a?"),
    "too few classes": (TABLE, {"classes": ["no"]}, 4, "1 class names, the output 2 classes"),
    "a sentence alone": (
        "tokens.onnx -i ids=one_sentence.npy --extra mask=one_mask.npy --at embedded --target 0",
        {"features": FIRST},
        0,
        "",
    ),
    "lists within lists": (TOKENS, {"features": [[FIRST], [SECOND]]}, 4, "lists of strings"),
    "not an object": (TOKENS, [FIRST, SECOND], 4, "lists of strings"),
}


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("exported", [False, True])
def test_names(case: str, exported: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    command, names, code, words = NAMES[case]
    if exported:
        source, *rest = command.split()
        what = ["--input", "ids", "--at", "embedded"] if "tokens" in source else ["--input", "a", "--input", "b"]
        done = CliRunner().invoke(app, ["export", source, "-o", "exported.onnx", "--n-steps", "2", *what])
        assert done.exit_code == 0, done.stderr
        command = " ".join(["exported.onnx", *rest]).replace("--at embedded", "")
    if code:  # judged before anything is computed
        monkeypatch.setattr("onnx_ig.methods.method.open_engine", None)
        monkeypatch.setattr("onnx_ig.deployed.attribution_model.open_session", None)
    done = attribute(command, names)
    assert done.exit_code == code and words in done.stderr, done.stderr
    assert Path("out").exists() == (code == 0)


def test_every_output_names_the_words_of_its_own_sentence() -> None:
    done = attribute(TOKENS, {"features": [FIRST, SECOND]})
    examples = json.loads(Path("out/report.json").read_text())["examples"]
    for words, example in zip((FIRST, SECOND), examples, strict=True):
        for feature in example["top_features"]:
            assert feature["name"] == words[feature["index"][0]]
    page = Path("out/report.html").read_text().split("<section id=")
    for words, others, section in ((FIRST, SECOND, page[1]), (SECOND, FIRST, page[2])):
        assert sum(f"<td>{word} [" in section for word in words) > 1
        assert not any(f"<td>{word} [" in section for word in others)
    lines = [line for line in done.stdout.splitlines() if line.startswith((" 0", " 1", "0", "1"))]
    assert any(w in lines[0] for w in FIRST) and not any(f" {w} " in lines[0] for w in SECOND)
    assert any(w in lines[1] for w in SECOND) and not any(f" {w} " in lines[1] for w in FIRST)


def report(length: int, names: Any = None, examples: int = 1) -> AttributionReport:
    rng = np.random.default_rng(0)
    features = {} if names is None else {"x": names}
    row = rng.standard_normal((1, length, 2)).astype(np.float32)
    return AttributionReport(
        model="m.onnx",
        algorithm="input-x-gradient",
        attributions={"x": np.repeat(row, examples, 0)},
        score=np.zeros(examples),
        provider="cpu",
        feature_names=features,
    )


def test_a_strip_is_drawn_with_the_example_s_own_words() -> None:
    own, shared = report(4, [FIRST, SECOND], examples=2), report(4, [FIRST, FIRST], examples=2)
    assert draw_strip(own, "x", 0) == draw_strip(shared, "x", 0)
    assert draw_strip(own, "x", 1) != draw_strip(shared, "x", 1)


# how many positions are drawn, by the names of the last ones and what they were attributed
PADDED: dict[str, tuple[list[str], float, int]] = {
    "padding": (["[PAD]"] * 30, 0, 4),
    "padding that counts": (["[PAD]"] * 30, 0.1, 34),
    "words that do not": (["the"] + ["[PAD]"] * 29, 0, 5),
    "one": (["[PAD]"], 0, 5),
}


@pytest.mark.parametrize("case", PADDED)
def test_padding_is_no_part_of_a_strip(case: str) -> None:
    names, value, drawn = PADDED[case]
    result = report(4 + len(names), [["a", "b", "c", "d", *names]])
    result.attributions["x"][0, 4:] = value
    height = Image.open(io.BytesIO(draw_strip(result, "x", 0))).height
    assert height == Image.open(io.BytesIO(draw_strip(report(drawn, [["a"] * drawn]), "x", 0))).height


@pytest.mark.parametrize("length", [641, 31_800])
def test_a_strip_of_a_long_sequence_stays_small(length: int, tmp_path: Path) -> None:
    long = report(length)
    files = write_report(tmp_path / "long", long)
    assert all(file.stat().st_size < 2_000_000 for file in files if file.suffix == ".png")
