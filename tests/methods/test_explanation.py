"""What `explain` returns, shown: drawings, tables, files and objects say what the arrays and the command line do."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pandas
import pytest
from click.testing import CliRunner

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.errors import InputError, MissingDependencyError, UsageError

MODELS = Path(__file__).resolve().parents[2] / "models"
DIGITS, SEVEN = MODELS / "digits_cnn/digits_cnn.onnx", MODELS / "digits_cnn/seven.png"
X = np.array([[3, -4], [1, 2], [0, 5]], np.float32)


def squares(**metadata: Any) -> onnx.ModelProto:
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["": 21]>
        square (float[n, 2] x) => (float[n, 2] y) { y = Mul(x, x) }""")
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in metadata.items()})
    return model


@pytest.fixture(scope="module")
def found() -> onnx_ig.Explanation[Any]:
    model = squares(feature_names=["width", "height"], class_names=["flat", "steep"])
    return onnx_ig.IntegratedGradients(model, provider="cpu").explain(X, target=[1, 0, 1])


def test_a_data_frame_has_every_attribution_beside_its_value(found: onnx_ig.Explanation[Any]) -> None:
    frame = found.to_pandas()
    assert list(frame.columns) == ["example", "tensor", "feature", "index", "value", "attribution"]
    pivot = frame.pivot(index="example", columns="feature", values="attribution")
    np.testing.assert_array_equal(pivot[["width", "height"]], found.attributions)
    np.testing.assert_array_equal(frame["value"].to_numpy().reshape(X.shape), X)
    assert list(frame["index"]) == [(0,), (1,)] * 3


def test_places_of_pictures_are_features_of_their_own() -> None:
    found = onnx_ig.InputXGradient(DIGITS).explain(onnx_ig.read(SEVEN, DIGITS), target=7)
    frame = found.to_pandas()
    largest = frame.iloc[frame["attribution"].abs().argmax()]
    assert largest["feature"] == f"image{list(largest['index'])}" and len(frame) == 64
    assert found.attributions["image"][(0, *largest["index"])] == largest["attribution"]


def test_the_largest_come_first(found: onnx_ig.Explanation[Any]) -> None:
    (first,) = found.top(1)
    assert (first.name, first.value) == ("height", -4.0) and first.attribution == pytest.approx(16, rel=1e-5)
    assert [entry.name for entry in found.top(5, example=-1)] == ["height", "width"]
    with pytest.raises(InputError, match="there is no example 3: 3 were explained"):
        found.top(1, example=3)
    with pytest.raises(onnx_ig.OnnxIgError, match="k is -1"):
        found.top(-1)


def test_drawings(found: onnx_ig.Explanation[Any], tmp_path: Path) -> None:
    drawn, all_rows = found.plot(example=1), found.plot(None)
    assert repr(drawn) == "Drawings(features_x_1.png)" and repr(all_rows) == "Drawings(summary_x.png)"
    assert "target 0 (flat)" in drawn.drawn[0].alt and "Largest: width: +1" in drawn.drawn[0].alt
    assert drawn._repr_html_().count("<img") == 1
    (file,) = drawn.save(tmp_path)
    assert file.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="no such folder"):
        drawn.save(tmp_path / "no")
    with pytest.raises(InputError, match="no attributions of 'z': attributed are 'x'"):
        found.plot(tensor="z")


def test_what_has_no_drawing_says_so() -> None:
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["": 21]>
        deep (float[n, 2, 2, 2, 2] x) => (float[n, 2, 2, 2, 2] y) { y = Mul(x, x) }""")
    deep = onnx_ig.InputXGradient(model).explain(np.ones((1, 2, 2, 2, 2), np.float32), target=(0, 0, 0, 0))
    with pytest.raises(InputError, match=r"no drawing of example 0 of x \[1, 2, 2, 2, 2\]"):
        deep.plot()
    assert "<table" in deep._repr_html_() and "<img" not in deep._repr_html_()


def test_names_replace_those_of_the_model(found: onnx_ig.Explanation[Any]) -> None:
    named = found.named(classes=["<no>", "yes"], features=["a", "b"], examples=["ann", "bob", "cy"])
    html = named._repr_html_()
    assert "0 (&lt;no&gt;)" in html and "1 (bob)" in html and "<no>" not in html
    assert [entry.name for entry in named.top(2)] == ["b", "a"]
    assert [entry.name for entry in found.top(2)] == ["height", "width"]
    with pytest.raises(InputError, match="3 feature names"):
        found.named(features=["a", "b", "c"])


def test_a_notebook_shows_the_first_examples_and_says_how_many_there_are() -> None:
    found = onnx_ig.IntegratedGradients(squares()).explain(np.ones((9, 2), np.float32), target=0)
    html = found._repr_html_()
    assert "9 examples" in html and "… and 4 more." in html
    assert repr(found) == "Explanation(integrated-gradients of x [9, 2], 9 examples)"


def test_saved_is_the_report_of_the_command_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["attribute", str(DIGITS), "-i", str(SEVEN), "-o", str(tmp_path / "command")])
    assert result.exit_code == 0, result.output
    found = onnx_ig.IntegratedGradients(DIGITS).explain(onnx_ig.read(SEVEN, DIGITS), target="predicted")
    files = {file.name for file in found.save(tmp_path / "python")}
    assert files == {file.name for file in (tmp_path / "command").iterdir()}
    by = [json.loads((tmp_path / who / "report.json").read_text("utf-8")) for who in ("command", "python")]
    for example in by[0]["examples"]:
        assert example["classes"]["strongest"][0]["class"] == example["target"]
    for key in ("algorithm", "n_steps", "method", "tensors", "examples", "summary"):
        assert by[0][key] == by[1][key], key
    with pytest.raises(UsageError):
        found.save(SEVEN)


def test_files_bring_their_targets_and_names(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("steepness,height,width\nsteep,-4,3\nflat,2,1\n", "utf-8")
    model = squares(feature_names=["width", "height"], class_names=["flat", "steep"])
    data = onnx_ig.read(table, model, onnx_ig.TableOptions(target="steepness"))
    found = onnx_ig.IntegratedGradients(model).explain(data)
    np.testing.assert_allclose(found.attributions["x"], [[0, 16], [1, 0]], atol=1e-5)
    assert found.report.table is not None and found.report.class_names == ["flat", "steep"]
    assert "attributions.csv" in {file.name for file in found.save(tmp_path / "out")}


class FakeExplanation:
    """As much of shap's class as is filled in."""

    def __init__(self, values: Any, base_values: Any, data: Any, feature_names: Any) -> None:
        self.values, self.base_values, self.data, self.feature_names = values, base_values, data, feature_names


def test_shap_plots_add_up_to_the_score(found: onnx_ig.Explanation[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shap", types.SimpleNamespace(Explanation=FakeExplanation))
    given = found.to_shap()
    np.testing.assert_allclose(given.base_values + given.values.sum(axis=1), found.scores, rtol=1e-5)
    np.testing.assert_array_equal(given.data, X)
    assert given.feature_names == ["width", "height"]


@pytest.mark.parametrize(("call", "library"), [("to_pandas", "pandas"), ("to_shap", "shap"), ("plot", "matplotlib")])
def test_what_is_missing_is_named(
    call: str, library: str, found: onnx_ig.Explanation[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=rf"needs {library}: pip install"):
        getattr(found, call)()


def test_a_data_frame_comes_back_and_names_the_features() -> None:
    frame = pandas.DataFrame(X, columns=["width", "height"], index=["a", "b", "c"])
    found = onnx_ig.IntegratedGradients(squares()).explain(frame, target=1)
    assert list(found.attributions.columns) == ["width", "height"] and list(found.attributions.index) == ["a", "b", "c"]
    assert found.top(1)[0].name == "height"


def test_an_exported_file_explains_in_the_same_words(found: onnx_ig.Explanation[Any], tmp_path: Path) -> None:
    model = squares(feature_names=["width", "height"], class_names=["flat", "steep"])
    file = onnx_ig.export(model, tmp_path / "explained.onnx")
    deployed = onnx_ig.open(file, provider="cpu").explain(X, target=[1, 0, 1])
    np.testing.assert_allclose(deployed.attributions, found.attributions, atol=1e-5)
    assert deployed.top(1)[0].value == -4.0 and deployed.report.n_steps == found.report.n_steps == 50
    assert "Drawings(features_x_0.png)" in repr(deployed.plot())
    assert len(deployed.save(tmp_path / "out")) == len(found.save(tmp_path / "in"))
