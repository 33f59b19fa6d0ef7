"""Tables in files: columns become inputs or features by name, what was assumed is said, the rest is refused by row."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto as T
from pyarrow import parquet

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.data import FileOptions, Series, TableOptions, read_input, read_inputs
from onnx_ig.errors import InputError, MissingDependencyError
from onnx_ig.graph.declared import InputSpec
from tests.helpers.cli_models import model, node

Array = np.ndarray[Any, Any]
F32, I64, BOOL, TEXT = np.dtype("float32"), np.dtype("int64"), np.dtype(bool), np.dtype(object)


def spec(*shape: Any, dtype: Any = F32, name: str = "x") -> InputSpec:
    return InputSpec(name, dtype, shape)


ROW, ORDER, SKIP = spec("N", 2), TableOptions(), TableOptions(skip=True)
NAMED = TableOptions(("b", "a"))
NUMBERED = TableOptions(target="t", classes=("1", "2"))
# the file's text, the declared input, options, the array, and words of a note ("" for none)
READ: dict[str, tuple[str, InputSpec, TableOptions, Any, str]] = {
    "in their order": ("p,q\n1,2\n3,4\n", ROW, ORDER, [[1, 2], [3, 4]], "'p', 'q'"),
    "by the features' names": ("a,id,b\n1,9,2\n3,8,4\n", ROW, NAMED, [[2, 1], [4, 3]], "'id'"),
    "semicolons": ("p;q\n1;2.5\n", ROW, ORDER, [[1, 2.5]], "in their order"),
    "quoted": ('"p, the first",q\n"1",2\n', ROW, ORDER, [[1, 2]], "p, the first"),
    "with a byte order mark": ("\ufeffb,a\n1,2\n", ROW, NAMED, [[1, 2]], ""),
    "no line of names": ("1,2\n3,4\n", ROW, NAMED, [[1, 2], [3, 4]], "they have no names"),
    "numbers only": ("1,2\n3,4\n", ROW, ORDER, [[1, 2], [3, 4]], "read as the first row"),
    "truth values": ("p,q\ntrue,False\n", ROW, ORDER, [[1, 0]], "order"),
    "whole numbers": ("p,q\n1,2\n", spec("N", 2, dtype=I64), ORDER, [[1, 2]], "order"),
    "one column": ("p\n1\n2\n", spec("N", 1), ORDER, [[1], [2]], ""),
    "the input's own name": ("y,x\n9,1\n9,2\n", spec("N", 1), ORDER, [[1], [2]], "'y'"),
    "a column without a second axis": ("x\n1\n2\n", spec("N"), ORDER, [1, 2], ""),
    "incomplete rows left out": ("p,q\n1,2\n,3\n4,NA\n5,6\n", ROW, TableOptions(skip=True), [[1, 2], [5, 6]], "2 of 4"),
    "a cell that is no number": ("p,q\n1,2\n3,high\n5,6\n", ROW, SKIP, [[1, 2], [5, 6]], "1 of 3"),
    "rows of another length": ("p,q\n1,2\n3\n4,5,6\n7,8\n", ROW, SKIP, [[1, 2], [7, 8]], "2 of 4 rows"),
    "a number that is too large": ("p,q\n1,2\n3,1e999\n", ROW, SKIP, [[1, 2]], "1 of 2"),
    "broken rows of whole numbers": ("p,q\n1,2\nx,3\n", spec("N", 2, dtype=I64), SKIP, [[1, 2]], "1 of 2"),
    "broken rows of text": ("x,y\n007\n8,1\n", spec("N", 1, dtype=TEXT), SKIP, [["8"]], "1 of 2"),
    "broken rows beside missing ones that are passed on": (
        "p,q\n1,\nhigh,3\n4\n", ROW, TableOptions(skip=True, keep_missing=True), [[1, np.nan]], "2 of 3"),
    "missing passed on": ("p,q\n1,\n", ROW, TableOptions(keep_missing=True), [[1, np.nan]], "order"),
    "text keeps its zeros": ("x\n007\n8\n", spec("N", 1, dtype=TEXT), ORDER, [["007"], ["8"]], ""),
    "truth values for truth values": ("p,q\ntrue,0\n", spec("N", 2, dtype=BOOL), ORDER, [[True, False]], "order"),
    "a blank line": ("p\n1\n\n2\n\n", spec("N", 1), TableOptions(keep_missing=True), [[1], [np.nan], [2]], ""),
    "blank lines amid two columns": ("\np,q\n1,2\n\n3,4\n", ROW, ORDER, [[1, 2], [3, 4]], "order"),
    "a series": ("p,q\n1,2\n3,4\n5,6\n", spec("N", "T", 2), ORDER, [[[1, 2], [3, 4], [5, 6]]], "order"),
    "a series and its channel of one name": ("x,y\n1,2\n3,4\n", spec("N", "T", 2), ORDER, [[[1, 2], [3, 4]]], "order"),
    "a series, channels first": ("p,q\n1,2\n3,4\n5,6\n", spec("N", 2, "T"), ORDER, [[[1, 3, 5], [2, 4, 6]]], "order"),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_columns_become_an_input(case: str, tmp_path: Path) -> None:
    text, wanted, options, expected, words = READ[case]
    (tmp_path / "t.csv").write_text(text, "utf-8")
    read = read_input(
        tmp_path / "t.csv", wanted, files=FileOptions(tables=options), allow_nonfinite=options.keep_missing
    )
    np.testing.assert_array_equal(read.value, np.array(expected, wanted.dtype))
    assert read.value.dtype == wanted.dtype
    assert words in " ".join(read.notes) if words else not read.notes


# the file's text, the declared input, options, words of the message
REFUSED: dict[str, tuple[str, InputSpec, TableOptions, str]] = {
    "missing": ("p,q\n1,2\n1,\n3,nan\n", ROW, ORDER, "column 'q' has no value in row 1"),
    "all missing": ("p,q\n,2\n", ROW, TableOptions(skip=True), "every row lacks a value in 'p'"),
    "a blank line": ("p\n1\n\n2\n\n", spec("N", 1), ORDER, "column 'p' has no value in row 1"),
    "two signs": ("p,q\n1,2\n--1,3\n", ROW, ORDER, "column 'p' holds '--1' in row 1"),
    "a sign alone": ("p,q\n1,2\n-,3\n", ROW, ORDER, "column 'p' holds '-' in row 1"),
    "numbers for truth values": ("p,q\n1,2\n", spec("N", 2, dtype=BOOL), ORDER, "bool"),
    "a target that is missing": ("p,q,t\n1,2,0\n1,2,NA\n", ROW, TableOptions(target="t"), "'t' has no value in row 1"),
    "text for numbers": ("p,q\n1,2\n1,high\n", ROW, ORDER, "column 'q' holds 'high' in row 1"),
    "a decimal comma": ('p;q\n"1,5";2\n', ROW, ORDER, "'1,5' in row 0, which is no number; a comma is taken neither"),
    "thousands as they are shown": ('p;q\n"1,326.5";2\n', ROW, ORDER, "nor for thousands, nor is another sign"),
    "blanks for thousands": ("p;q\n1\xa0326;2\n", ROW, ORDER, "nor for thousands, nor is another sign"),
    "a comma for thousands": ('p;q\n1,200,000;2\n', ROW, ORDER, "write 1.5 and 1500"),
    "too many": ("p,q,r\n1,2,3\n", ROW, ORDER, "3 columns ('p', 'q', 'r') for input 'x', which has 2 features"),
    "a feature that is not there": ("a,bb\n1,2\n", ROW, NAMED, "no column 'b'"),
    "a quote that is not closed": ('p,q\n1,2\n"3,4\n5,6\n7,8\n', ROW, SKIP, "begins on line 3 ends on line 5"),
    "a quote closed rows later": ('p,q\n"1,2\n3,4\n5,6"\n7,8\n', ROW, SKIP, "begins on line 2 ends on line 4"),
    "all broken": ("p,q\n1,2,3\n", ROW, TableOptions(skip=True), "or is broken"),
    "a row too long": ("p,q\n1,2\n1,2,3\n", ROW, ORDER, "row 1 has 3 cells, the first line 2"),
    "two of one name": ("p,p\n1,2\n", ROW, ORDER, "two columns are called 'p'"),
    "no rows": ("p,q\n", ROW, ORDER, "no rows"),
    "empty": ("", ROW, ORDER, "empty"),
    "a picture's input": ("p,q\n1,2\n", spec("N", 3, 4, 4), ORDER, "a table needs rank 2 or 3"),
    "a time left out": ("p,q\n1,2\n,4\n", spec("N", "T", 2), TableOptions(skip=True), "what is missing in row 1"),
    "fractions for integers": ("p,q\n1,2.5\n", spec("N", 2, dtype=I64), ORDER, "is floating-point"),
    "a target that is no index": ("p,q,t\n1,2,high\n", ROW, TableOptions(target="t"), "no index and no class"),
    "no feature's name": ("A,B\n1,2\n", ROW, NAMED, "no column is called like a feature of 'x'"),
    "a class called like another's index": ("p,q,t\n1,2,1\n", ROW, NUMBERED, "and as an index another class"),
    "a target with a fraction": ("p,q,t\n1,2,0.5\n", ROW, TableOptions(target="t"), "targets are indices"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_and_where(case: str, tmp_path: Path) -> None:
    text, wanted, options, words = REFUSED[case]
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError) as raised:
        read_input(tmp_path / "t.csv", wanted, files=FileOptions(tables=options))
    assert words in str(raised.value)


# the file's bytes, and the rows [N', 2] that are taken where broken ones are left out
BROKEN: dict[str, tuple[bytes, list[list[float]]]] = {
    "a row too long and one too short": (b"p,q\n1,2\n1,2,3\n5\n3,4\n", [[1, 2], [3, 4]]),
    "text for a number": (b"p,q\n1,2\n1,high\n3,4\n", [[1, 2], [3, 4]]),
    "another encoding": (b"p,q\n1,2\n1,\xe9\n3,4\n", [[1, 2], [3, 4]]),
    "another encoding, in what is no feature": (b"p,q,c\n1,2,a\n1,2,\xe9\n3,4,\xc3\xa9\n", [[1, 2], [3, 4]]),
    "a quote amid a cell": (b'p,q\n1,2\n"1"0,2\n3,4\n', [[1, 2], [3, 4]]),
    "infinity": (b"p,q\n1,2\ninf,1\n3,4\n", [[1, 2], [3, 4]]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_rows_are_left_out_where_that_is_asked_for(case: str, tmp_path: Path) -> None:
    content, expected = BROKEN[case]
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError):
        read_input(tmp_path / "t.csv", ROW, files=FileOptions(tables=TableOptions(("p", "q"))))
    read = read_input(tmp_path / "t.csv", ROW, files=FileOptions(tables=TableOptions(("p", "q"), skip=True)))
    np.testing.assert_array_equal(read.value, expected)
    assert "rows were left out, without a value or broken" in read.notes[-1]


# the target's cells, the classes, and the targets [N'] of the rows that are taken
LABELS: dict[str, tuple[str, tuple[str, ...], list[int]]] = {
    "indices": ("0 NA 2 null", (), [0, 2]),
    "classes": ("low NA high n/a", ("low", "high"), [0, 1]),
    "what is no class": ("low tall high 7", ("low", "high"), [0, 1]),
    "a class that is called so": ("none low NA high", ("low", "high", "None", "none"), [3, 0, 1]),
}


@pytest.mark.parametrize("case", LABELS)
def test_rows_without_a_target_are_left_out(case: str, tmp_path: Path) -> None:
    cells, classes, expected = LABELS[case]
    (tmp_path / "t.csv").write_text("p,q,t\n" + "".join(f"1,2,{cell}\n" for cell in cells.split()))
    options = TableOptions(target="t", classes=classes, skip=True)
    read = read_input(tmp_path / "t.csv", ROW, files=FileOptions(tables=options))
    assert read.rows is not None and read.rows.target is not None
    np.testing.assert_array_equal(read.rows.target, expected)


def test_arrays_of_one_file_lose_the_same_rows(tmp_path: Path) -> None:
    a, b, shared = np.arange(8, dtype=np.float32).reshape(4, 2), np.arange(4), np.ones((1, 2), np.float32)
    a[1, 0], a[3, 1] = np.nan, -np.inf
    np.savez(tmp_path / "t.npz", a=a, b=b, c=shared)
    specs = [spec("N", 2, name="a"), spec("N", dtype=I64, name="b"), spec(1, 2, name="c")]
    with pytest.raises(InputError, match="NaN or infinite"):
        read_inputs([str(tmp_path / "t.npz")], specs)
    read = read_inputs([str(tmp_path / "t.npz")], specs, files=FileOptions(tables=SKIP))
    for name, expected in {"a": [[0, 1], [4, 5]], "b": [0, 2], "c": [[1, 1]]}.items():
        np.testing.assert_array_equal(read[name].value, expected)
    assert read["a"].notes == (f"{tmp_path / 't.npz'}: 2 of 4 rows were left out, without a value or broken: 1, 3",)


@pytest.mark.parametrize("axes", ["NTC", "NCT"])
def test_channels_of_a_series_keep_their_names(axes: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("p,q\n1,2\n3,4\n5,6\n")
    declared = spec("N", "T", 2) if axes == "NTC" else spec("N", 2, "T")
    assert read_input(tmp_path / "t.csv", declared).series == Series(axes, channels=("p", "q"))


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    columns = {
        "age": [30, None, 50],
        "city": ["Bern", "Oslo", None],
        "kind": ["a", "b", "a"],
        "income": [1.5, 2.5, None],
    }
    table = pyarrow.table({**columns, "kind": pyarrow.array(columns["kind"]).dictionary_encode()})
    parquet.write_table(table, tmp_path / "t.parquet")
    with (tmp_path / "t.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *zip(*columns.values(), strict=True)])
    specs = [spec("N", 1, name=name, dtype=TEXT if name in ("city", "kind") else F32) for name in columns]
    first, second = (
        read_inputs([str(tmp_path / name)], specs, allow_nonfinite=True) for name in ("t.parquet", "t.csv")
    )
    for name in columns:
        np.testing.assert_array_equal(first[name].value, second[name].value)
    (tmp_path / "t.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:60])
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_inputs([str(tmp_path / "t.parquet")], specs)


def test_a_missing_package_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingDependencyError, match=r"onnx-ig\[tables\]"):
        read_input(tmp_path / "t.parquet", ROW)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two models, of an input per column and of features side by side, and rows for both."""
    monkeypatch.chdir(tmp_path)
    number, text = (T.FLOAT, ["N", 1]), (T.STRING, ["N", 1])
    weights = np.array([[0.3, -0.5, 0.2], [0.1, 0.4, -0.3]], np.float32)
    encode = node("LabelEncoder", "city", "code", keys_strings=["Bern", "Oslo"], values_floats=[1.0, 2.0])
    encode.domain = "ai.onnx.ml"
    nodes = [encode, node("Mul", "age code", "together"), node("Concat", "together height", "both", axis=1)]
    nodes += [node("Tanh", "both", "bent"), node("MatMul", "bent w", "y")]
    made = model(nodes, {"age": number, "height": number, "city": text}, {"y": (T.FLOAT, ["N", 3])}, {"w": weights})
    made.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 3))
    onnx.save(made, "columns.onnx")
    nodes = [node("Tanh", "x", "bent"), node("MatMul", "bent w", "y")]
    made = model(nodes, {"x": (T.FLOAT, ["N", 2])}, {"y": (T.FLOAT, ["N", 3])}, {"w": weights})
    made.metadata_props.add(key="feature_names", value=json.dumps(["age", "height"]))
    made.metadata_props.add(key="class_names", value=json.dumps(["low", "middle", "high"]))
    onnx.save(made, "features.onnx")
    del made.metadata_props[:]
    onnx.save(made, "nameless.onnx")
    inputs = {"x": (T.FLOAT, ["N", 2]), "w": (T.FLOAT, [1, 2]), "v": (T.FLOAT, [3, 2])}
    nodes = [node("Mul", "x w", "scaled"), node("Transpose", "v", "turned"), node("MatMul", "scaled turned", "y")]
    onnx.save(model(nodes, inputs, {"y": (T.FLOAT, ["N", 3])}, {}), "weighted.onnx")
    Path("rows.csv").write_text("height,city,kind,age\n1.5,Bern,high,0.3\n0.7,Oslo,low,-0.2\n-1,Bern,low,0.9\n")
    Path("numbers.csv").write_text("age,height\n0.3,1.5\n-0.2,0.7\n0.9,-1\n")
    rows = rows_of("rows.csv")
    numbers = {name: [float(row[name]) for row in rows] for name in ("height", "age")}
    parquet.write_table(
        pyarrow.table({**numbers, **{n: [row[n] for row in rows] for n in ("city", "kind")}}), "rows.parquet"
    )
    return tmp_path


def rows_of(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def run(command: str) -> Result:
    return CliRunner().invoke(app, command.split())


@pytest.mark.parametrize("exported", [False, True])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_features_by_the_names_in_the_model_and_targets_by_column(work: Path, suffix: str, exported: bool) -> None:
    if exported:
        assert run("export features.onnx -o ig.onnx --n-steps 20").exit_code == 0
    source = "ig.onnx" if exported else "features.onnx"
    done = run(f"attribute {source} -i rows.{suffix} --target column:kind --n-steps 20 -o out")
    assert done.exit_code == 0, done.stderr
    assert "'city' is no feature of 'x': left out" in done.stderr
    x = np.array([[0.3, 1.5], [-0.2, 0.7], [0.9, -1]], np.float32)
    expected = onnx_ig.IntegratedGradients("features.onnx").attribute(x, target=np.array([2, 0, 0]), n_steps=20)
    if suffix == "csv":
        rows = rows_of("out/attributions.csv")
    else:
        rows = parquet.read_table("out/attributions.parquet").to_pylist()
    known = ["row", "target", "score", "baseline_score", "convergence_delta"]
    assert list(rows[0]) == [*known, *([] if exported else ["error_estimate"]), "age", "height"]
    np.testing.assert_allclose([[float(r["age"]), float(r["height"])] for r in rows], expected, rtol=1e-5)
    assert [int(row["target"]) for row in rows] == [2, 0, 0]
    document = json.loads(Path("out/report.json").read_text())
    assert document["examples"][0]["target_name"] == "high"
    assert {"summary_x.png", "features_x_0.png"} <= set(document["files"])


@pytest.mark.parametrize("exported", [False, True])
def test_an_input_per_column_on_one_sheet(work: Path, exported: bool) -> None:
    if exported:
        assert run("export columns.onnx -o ig.onnx --n-steps 20").exit_code == 0
    source = "ig.onnx" if exported else "columns.onnx"
    done = run(f"attribute {source} -i rows.csv --target 1 --n-steps 20 -o out")
    assert done.exit_code == 0, done.stderr
    assert "'kind' is called like no input" in done.stderr
    data = {"age": np.float32([[0.3], [-0.2], [0.9]]), "height": np.float32([[1.5], [0.7], [-1]])}
    city = {"city": np.array([["Bern"], ["Oslo"], ["Bern"]], object)}
    method = onnx_ig.IntegratedGradients("columns.onnx")
    expected = method.attribute(data, target=1, n_steps=20, additional_forward_args=city)
    rows = rows_of("out/attributions.csv")
    for name in data:
        np.testing.assert_allclose([float(row[name]) for row in rows], expected[name].ravel(), rtol=1e-5)
    files = {path.name for path in Path("out").iterdir()}
    assert {"summary.png", "columns_0.png", "columns_2.png"} <= files
    assert not [name for name in files if name.startswith("features_")]  # no sheet for each column


def test_a_class_is_baked_by_its_name_in_the_model(work: Path) -> None:
    done = run("export features.onnx -o ig.onnx --target high --n-steps 9")
    assert done.exit_code == 0, done.stderr
    x = np.array([[0.3, 1.5]], np.float32)
    expected = onnx_ig.IntegratedGradients("features.onnx").attribute(x, target=2, n_steps=9)
    np.testing.assert_allclose(onnx_ig.open("ig.onnx").attribute(x), expected, rtol=1e-5)
    unknown = run("export features.onnx -o none.onnx --target highest")
    assert unknown.exit_code == 2 and "the name of a class in the model's metadata" in unknown.stderr


def test_a_class_by_its_name_and_rows_left_out_by_theirs(work: Path) -> None:
    Path("holes.csv").write_text("age,height\n0.3,\n-0.2,0.7\n")
    assert "column 'height' has no value in row 0" in run("attribute features.onnx -i holes.csv -o out").stderr
    done = run("attribute features.onnx -i holes.csv --target high --on-error skip -o out")
    assert done.exit_code == 0 and "1 of 2 rows were left out, without a value or broken: 0" in done.stderr, done.stderr
    (example,) = json.loads(Path("out/report.json").read_text())["examples"]
    assert (example["name"], example["target"], example["target_name"]) == ("row 1", 2, "high")
    assert rows_of("out/attributions.csv")[0]["row"] == "1"
    unknown = run("attribute features.onnx -i rows.csv --target column:kinds -o none")
    assert unknown.exit_code == 2 and "did you mean kind?" in unknown.stderr


# a baseline's file in another order than the data, options, the baseline [age, height] that is meant
BASELINES: dict[str, tuple[str, str, str, list[float]]] = {
    "by the model's names": ("height,age\n0.4,0.1\n", "features.onnx -i rows.csv", "--target 0", [0.1, 0.4]),
    "by the data's": ("height,age\n0.4,0.1\n", "nameless.onnx -i numbers.csv", "--target 0", [0.1, 0.4]),
    "without the target": ("age,height\n0.1,0.4\n", "features.onnx -i rows.csv", "--target column:kind", [0.1, 0.4]),
    "with a column too many": ("n,height,age\n9,0.4,0.1\n", "nameless.onnx -i numbers.csv", "", [0.1, 0.4]),
    "without names": ("0.1,0.4\n", "nameless.onnx -i numbers.csv", "--target 0", [0.1, 0.4]),
}  # fmt: skip
SAID = {"with a column too many": "'n' is no feature of 'x'", "without names": "the first line holds numbers only"}


@pytest.mark.parametrize("case", BASELINES)
def test_a_baseline_is_a_row_of_a_table(work: Path, case: str) -> None:
    text, source, target, baseline = BASELINES[case]
    Path("start.csv").write_text(text)
    done = run(f"attribute {source} {target} --baseline @start.csv --n-steps 9 -o out")
    assert done.exit_code == 0 and SAID.get(case, "") in done.stderr, done.stderr
    targets = {"--target 0": 0, "--target column:kind": np.array([2, 0, 0]), "": "predicted"}[target]
    x = np.array([[0.3, 1.5], [-0.2, 0.7], [0.9, -1]], np.float32)
    method = onnx_ig.IntegratedGradients("features.onnx")
    expected = method.attribute(x, np.float32([baseline]), target=targets, n_steps=9)
    np.testing.assert_allclose(np.load("out/attributions.npz")["attribution_x"], expected, rtol=1e-5)


HOLED = "age,height\n0.3,1.5\n,0.7\n0.9,-1\n"
# files, the command, and the rows that are left of three, or words of the refusal
IN_STEP: dict[str, tuple[dict[str, str], str, str]] = {
    "two tables that lack others": (
        {"a.csv": "age\n1\n\"\"\n3\n", "b.csv": "height,city\n1,Bern\n2,Oslo\n,Bern\n"},
        "columns.onnx -i age=a.csv -i b.csv",
        "0",
    ),
    "two tables that lack the same": (
        {"a.csv": "age\n1\n\"\"\n3\n", "b.csv": "height,city\n1,Bern\n,Oslo\n1,Bern\n"},
        "columns.onnx -i age=a.csv -i b.csv",
        "0 2",
    ),
    "a table that lacks some and one with fewer": (
        {"a.csv": "age\n1\n\"\"\n3\n", "b.csv": "height,city\n1,Bern\n1,Oslo\n"},
        "columns.onnx -i age=a.csv -i b.csv",
        "a.csv: rows without a value were left out (1) of 3, and b.csv has 2",
    ),
    "an array beside": ({"a.csv": HOLED}, "columns.onnx -i a.csv --extra city=cities.npy", "0 2"),
    "arrays that all rows share, one as long as the table": (
        {"a.csv": HOLED},
        "weighted.onnx -i x=a.csv --extra w=one.npy --extra v=three.npy",
        "0 2",
    ),
    "baselines that lack others": (
        {"a.csv": HOLED, "b.csv": "age,height\n1,1\n1,1\n1,\n"},
        "features.onnx -i a.csv --baseline @b.csv",
        "0",
    ),
    "baselines that lack some": (
        {"a.csv": HOLED.replace(",0.7", "1,0.7"), "b.csv": HOLED},
        "features.onnx -i a.csv --baseline @b.csv",
        "0 2",
    ),
    "baselines that lack the same": (
        {"a.csv": HOLED, "b.csv": HOLED},
        "features.onnx -i a.csv --baseline @b.csv",
        "0 2",
    ),
    "one baseline for all": (
        {"a.csv": HOLED, "b.csv": "age,height\n1,1\n"},
        "features.onnx -i a.csv --baseline @b.csv",
        "0 2",
    ),
    "files that lack all together": (
        {"a.csv": HOLED, "b.csv": "age,height\n,1\n1,1\n1,\n"},
        "features.onnx -i a.csv --baseline @b.csv",
        "no example is left",
    ),
    "names of the features in each row": (
        {"a.csv": HOLED, "n.json": '{"features": [["a", "b"], ["c", "d"], ["e", "f"]]}'},
        "nameless.onnx -i a.csv --names n.json",
        "0 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", IN_STEP)
def test_rows_are_left_out_of_all_files(work: Path, case: str) -> None:
    files, command, expected = IN_STEP[case]
    for name, text in files.items():
        Path(name).write_text(text)
    np.save("cities.npy", np.array([["Bern"], ["Oslo"], ["Bern"]]))
    np.save("one.npy", np.ones((1, 2), np.float32))
    np.save("three.npy", np.ones((3, 2), np.float32))
    done = run(f"attribute {command} --target 0 --n-steps 3 --on-error skip -o out")
    if not expected[0].isdigit():
        assert done.exit_code == 4 and expected in done.stderr, done.stderr
        return
    assert done.exit_code == 0, done.stderr
    left = expected.split()
    out = [row for row in "012" if row not in left]
    assert f"{len(out)} of 3 rows were left out, without a value or broken: {', '.join(out)}" in done.stderr
    assert [row["row"] for row in rows_of("out/attributions.csv")] == left
    report = json.loads(Path("out/report.json").read_text())
    assert [example["name"] for example in report["examples"]] == [f"row {row}" for row in left]
    assert report["left_out"] == [int(row) for row in out]


@pytest.mark.parametrize("exported", [False, True])
@pytest.mark.parametrize("size", ["", "--rows-per-file 2"])
def test_baselines_and_targets_of_each_row_follow_the_rows_that_stay(work: Path, exported: bool, size: str) -> None:
    """As many of either as the table has rows: those of a row that is left out are left out with it."""
    rng = np.random.default_rng(3)
    x, starts, targets = rng.normal(size=(7, 2)), rng.normal(size=(7, 2)).astype("f"), np.array([0, 1, 2, 0, 1, 2, 0])
    cells = [[repr(cell) for cell in row] for row in x.tolist()]
    cells[2][1], cells[3][0] = "", "high"
    Path("x.csv").write_text("\n".join(["age,height", *map(",".join, cells)]))
    gaps = starts.copy()
    gaps[5, 0] = np.nan
    np.save("starts.npy", gaps)
    np.save("targets.npy", targets)
    kept = [0, 1, 4, 6]
    expected = onnx_ig.IntegratedGradients("features.onnx").attribute(
        x[kept].astype("f"), starts[kept], target=targets[kept], n_steps=9
    )
    source = "features.onnx"
    if exported:
        assert run("export features.onnx -o ig.onnx --baseline input --target input --n-steps 9").exit_code == 0
        source = "ig.onnx"
    rest = "--baseline @starts.npy --target @targets.npy --n-steps 9 --on-error skip"
    done = run(f"attribute {source} -i x.csv {rest} {size} -o out")
    assert done.exit_code == 0, done.stderr
    found = [np.load(file)["attribution_x"] for file in sorted(Path("out").glob("attributions*.npz"))]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-4, atol=1e-6)
    report = json.loads(Path("out/report.json").read_text())
    assert [one["name"] for one in report["examples"]] == [f"row {row}" for row in kept]
    assert [one["target"] for one in report["examples"]] == targets[kept].tolist()
    assert report["left_out"] == [2, 3, 5]


@pytest.mark.parametrize("axis", ["", "--batch-axis none"])
def test_ranks_that_only_the_table_tells(work: Path, axis: str) -> None:
    """Its rows are examples unless it is said that there are none."""
    made = onnx.load("features.onnx")
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.ClearField("shape")
    onnx.save(made, "free.onnx")
    Path("gaps.csv").write_text("age,height,k\n0.3,1.5,2\n,0.7,0\n0.9,-1,0\n")
    done = run(f"attribute free.onnx {axis} -i gaps.csv --target column:k --on-error skip -o out")
    if axis:
        assert done.exit_code == 2 and "gaps.csv is one example" in done.stderr
        assert run(f"attribute free.onnx {axis} -i rows.csv --target 2,1 -o out").exit_code == 0
        return
    assert done.exit_code == 0, done.output
    assert [(row["row"], row["target"]) for row in rows_of("out/attributions.csv")] == [("0", "2"), ("2", "0")]


SERIES = "p,q\n1,-0.5\n0.3,2\n-1,0.7\n"
# what takes a table as one example: the input's shape, the output's, options of every command
WHOLE: dict[str, tuple[list[int | str], list[int | str], str]] = {
    "a series": (["N", "T", 2], ["N", "T", 3], "--target 2,1"),
    "a series of fixed length": (["N", 3, 2], ["N", 3, 3], "--target 2,1"),
    "no axis of examples": ([3, 2], [3, 3], "--batch-axis none --target 2,1"),
    "any number of rows": (["T", 2], ["T", 3], "--batch-axis none --target 2,1"),
    "an output without that axis": ([3, 2], [1, 3], "--target 0,1"),
}


@pytest.mark.parametrize("exported", [False, True])
@pytest.mark.parametrize("case", WHOLE)
def test_a_table_that_is_one_example(work: Path, case: str, exported: bool) -> None:
    shape, out, options = WHOLE[case]
    weights = {"w": np.array([[0.3, -0.5, 0.2], [0.1, 0.4, -0.3]], np.float32), "first": np.array([0])}
    nodes = [node("Tanh", "x", "bent"), node("MatMul", "bent w", "y" if out[0] != 1 else "each")]
    nodes += [node("ReduceMean", "each first", "y")] if out[0] == 1 else []
    onnx.save(model(nodes, {"x": (T.FLOAT, shape)}, {"y": (T.FLOAT, out)}, weights), "whole.onnx")
    Path("x.csv").write_text(SERIES)
    Path("start.csv").write_text("q,p\n0,0.1\n0,0.1\n0,0.1\n")
    command = f"attribute whole.onnx {options} --n-steps 9 -i x.csv --baseline @start.csv"
    if exported:
        assert run(f"export whole.onnx {options} --n-steps 9 --baseline input -o ig.onnx").exit_code == 0
        command = "attribute ig.onnx -i x.csv --baseline @start.csv"
    done = run(f"{command} -o out")
    assert done.exit_code == 0, done.output
    x = np.array([[1, -0.5], [0.3, 2], [-1, 0.7]], np.float32)
    start = np.array([[0.1, 0]] * 3, np.float32)
    axis = {"batch_axis": None} if "none" in options else {}
    method = onnx_ig.IntegratedGradients("whole.onnx", **axis)
    x, start = (value.reshape(-1, *x.shape) if len(shape) == 3 else value for value in (x, start))
    expected = method.attribute(x, start, target=(0, 1) if out[0] == 1 else (2, 1), n_steps=9)
    np.testing.assert_allclose(np.load("out/attributions.npz")["attribution_x"], expected, rtol=1e-5)
    assert not Path("out/attributions.csv").exists()  # of rows that are examples
    Path("gaps.csv").write_text("p,q\n1,2\n,2\n3,4\n0,1\n")
    Path("labels.csv").write_text("p,q,k\n1,2,0\n3,4,0\n0,1,0\n")
    for file, code, words in (
        ("gaps.csv --on-error skip", 4, "gaps.csv is one example, of which no row can be left out"),
        ("labels.csv --target column:k", 2, "labels.csv is one example, and a column has a target for each row"),
    ):
        refused = run(f"{command.replace('x.csv', file)} -o none")
        assert refused.exit_code == code and words in refused.stderr, refused.stderr


def test_a_baked_baseline_goes_by_the_names_in_the_model(work: Path) -> None:
    Path("start.csv").write_text("height,n,age\n0.4,9,0.1\n")
    done = run("export features.onnx --target 0 --baseline @start.csv --n-steps 9 -o ig.onnx")
    assert done.exit_code == 0 and "'n' is no feature of 'x'" in done.stderr, done.stderr
    assert run("attribute ig.onnx -i rows.csv -o out").exit_code == 0
    x = np.array([[0.3, 1.5], [-0.2, 0.7], [0.9, -1]], np.float32)
    method = onnx_ig.IntegratedGradients("features.onnx")
    expected = method.attribute(x, np.float32([[0.1, 0.4]]), target=0, n_steps=9)
    np.testing.assert_allclose(np.load("out/attributions.npz")["attribution_x"], expected, rtol=1e-5)


def test_names_of_a_layer_do_not_hide_those_of_the_columns(work: Path) -> None:
    """The names given are those of what is attributed; the metadata have the columns'."""
    Path("units.json").write_text(json.dumps({"features": ["first", "second"], "classes": ["one", "two", "three"]}))
    plain = run("attribute features.onnx -i rows.csv --target 1 -o plain")
    inner = run("attribute features.onnx -i rows.csv --target 1 --names units.json --at bent -o inner")
    assert plain.exit_code == inner.exit_code == 0, inner.output
    np.testing.assert_array_equal(
        np.load("plain/attributions.npz")["score"], np.load("inner/attributions.npz")["score"]
    )


def test_classes_of_the_metadata_are_those_of_the_models_own_output(work: Path) -> None:
    done = run("attribute features.onnx -i rows.csv --target 1 --output bent -o hidden")
    assert done.exit_code == 0, done.output
    assert "middle" not in done.output


@pytest.mark.parametrize("source", ["x.npy", "x=x.npy"])
def test_a_column_needs_a_table(source: str, work: Path) -> None:
    np.save("x.npy", np.ones((2, 2), np.float32))
    done = run(f"attribute features.onnx -i {source} --target column:kind -o none")
    assert done.exit_code == 2 and "none of the files of -i is a table" in done.output


def test_what_goes_beside_the_data_holds_no_target(work: Path) -> None:
    Path("ages.csv").write_text("age,kind\n0.3,high\n-0.2,low\n0.9,low\n")
    Path("names.json").write_text(json.dumps({"classes": ["low", "middle", "high"]}))
    Path("others.csv").write_text("height,city\n1.5,Bern\n0.7,Oslo\n-1,Bern\n")
    with_target = "--names names.json --target column:kind"
    done = run(f"attribute columns.onnx -i ages.csv --extra others.csv {with_target} -o out")
    assert done.exit_code == 0, done.stderr
    assert [int(row["target"]) for row in rows_of("out/attributions.csv")] == [2, 0, 0]
