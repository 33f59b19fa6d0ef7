"""The small trained models, from raw file to report: what they are explained by is what people would name."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_breast_cancer

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.report.write import ReportWriter

MODELS = Path(__file__).parents[2] / "models"
SENTIMENT, TABLE = MODELS / "sentiment_transformer", MODELS / "tabular_mlp"


@pytest.fixture(autouse=True)
def nothing_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(ReportWriter.__init__.__kwdefaults__, "pictures", False)


def succeed(*command: str | Path) -> None:
    done = CliRunner().invoke(app, list(map(str, command)))
    assert done.exit_code == 0, done.stderr


def test_the_words_of_a_class_are_on_top_more_often_than_not() -> None:
    """In held-out sentences that are read right: whether the word that speaks most for the class is one that people,
    who saw no sentence, rated so. A word taken at random is one in 16 of 100 sentences.
    """
    file = SENTIMENT / "sentences.jsonl"
    succeed("attribute", SENTIMENT / "sentiment_transformer.onnx", "-i", file, "--tokenizer", SENTIMENT, "--names",
            SENTIMENT / "names.json", "-o", "out")  # fmt: skip
    examples = json.loads(Path("out/report.json").read_text("utf-8"))["examples"]
    known = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    right = [(e, s) for e, s in zip(examples, known, strict=True) if e["target"] == s["class"]]
    assert len(right) > 0.75 * len(known)
    on_top = []
    for example, sentence in right:
        sign = 1 if sentence["class"] else -1
        own = {word for word, rating in sentence["rated"].items() if sign * rating > 0}
        words = [(word.lower(), value) for word, value in example["words"] if any(map(str.isalnum, word))]
        if own & {word for word, _ in words}:
            on_top.append(max(words, key=lambda pair: pair[1])[0] in own)
    assert len(on_top) > 100 and np.mean(on_top) > 0.5, np.mean(on_top)  # 61 % of 110


def test_a_table_in_any_order_of_its_columns() -> None:
    table = load_breast_cancer()
    rows, names = table.data[:30].astype(np.float32), table.feature_names.tolist()
    order = np.random.default_rng(0).permutation(len(names))
    classes = [str(table.target_names[label]) for label in table.target[:30]]
    with Path("tumours.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*(names[place] for place in order), "diagnosis"])
        writer.writerows([*row[order].tolist(), label] for row, label in zip(rows, classes, strict=True))
    succeed("attribute", TABLE / "tabular_mlp.onnx", "-i", "tumours.csv", "--names", TABLE / "names.json", "--target",
            "column:diagnosis", "--baseline", "median", "-o", "out", "--rows-per-file", "20")  # fmt: skip
    expected = onnx_ig.IntegratedGradients(TABLE / "tabular_mlp.onnx").attribute(
        rows, np.median(rows, axis=0, keepdims=True), table.target[:30]
    )
    files = sorted(Path("out").glob("*.csv"))
    written = [row for file in files for row in csv.DictReader(file.read_text("utf-8").splitlines())]
    assert len(files) == 2 and [row["target"] for row in written] == [str(label) for label in table.target[:30]]
    found = np.array([[float(row[name]) for name in names] for row in written])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
