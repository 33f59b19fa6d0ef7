"""Reports: every file says what was found, pictures have the right colours, nothing is half written or lost."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnx_ig.data import Picture
from onnx_ig.errors import InputError, MissingDependencyError, UsageError
from onnx_ig.report import AttributionReport, write_report
from onnx_ig.report.drawing import DPI, HEADING, MARGIN, Sheet, colour_limit
from onnx_ig.report.examples import top_features
from onnx_ig.report.illustrate import illustrations, kinds_of_drawing
from onnx_ig.report.overlay import displayable, draw_overlay, panel_size

Array = np.ndarray[Any, Any]


def halves(*shape: int, axis: int) -> Array:
    """+1 in the first half along an axis, −1 in the second."""
    array = np.ones(shape, np.float32)
    index = [slice(None)] * len(shape)
    index[axis] = slice(shape[axis] // 2, None)
    array[tuple(index)] = -1
    return array


def report(attribution: Array, **more: Any) -> AttributionReport:
    examples = len(attribution)
    facts: dict[str, Any] = {
        "model": "digits.onnx",
        "model_sha256": "0" * 64,
        "algorithm": "integrated-gradients",
        "method": "gausslegendre",
        "n_steps": 50,
        "provider": "CPUExecutionProvider",
        "attributions": {"x": attribution},
        "inputs": {"x": np.linspace(0, 1, attribution.size, dtype=np.float32).reshape(attribution.shape)},
        "target": np.arange(examples),
        "score": np.full(examples, 2.0, np.float32),
        "baseline_score": np.zeros(examples, np.float32),
        "convergence_delta": np.full(examples, -0.5, np.float32),
        "seconds": {"attribution": 0.25},
    }
    return AttributionReport(**(facts | more))


DIGIT = report(halves(1, 1, 8, 8, axis=3))


def pixels(png: bytes) -> Array:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)


def panels(png: bytes, count: int, height: int, width: int) -> list[Array]:
    """The insides of the panels, found from the layout's constants."""
    top, page = HEADING + 24, pixels(png)
    lefts = [MARGIN + place * (width + 22) for place in range(count)]
    return [page[top + 2 : top + height - 2, left + 2 : left + width - 2] for left in lefts]


def redness(area: Array) -> float:
    """Mean of red − blue."""
    return float((area[..., 0] - area[..., 2]).mean())


PICTURE_CASES = {
    "digit": ((1, 1, 8, 8), None),
    "colour NCHW": ((1, 3, 224, 224), None),
    "colour NHWC": ((1, 224, 224, 3), None),
    "normalised": ((1, 3, 100, 150), Picture("NCHW", (0.2, 0.1, 0.0), (0.8, 0.8, 0.8))),
    "grey without channel axis": ((1, 28, 28), Picture("NHW")),
    "wide": ((1, 1, 20, 60), None),
}


@pytest.mark.parametrize("case", PICTURE_CASES)
def test_overlays_show_input_sign_and_both(case: str) -> None:
    shape, known = PICTURE_CASES[case]
    axes = (known or Picture("NHWC" if shape[-1] == 3 else "NCHW")).axes
    result = report(halves(*shape, axis=axes.index("W")), pictures={"x": known} if known else {})
    (picture,) = kinds_of_drawing(result, "x")
    assert isinstance(picture, Picture)
    assert picture.axes == axes
    png = draw_overlay(result, "x", 0, picture)
    height, width = panel_size(shape[axes.index("H")], shape[axes.index("W")])
    assert max(height, width) >= 256
    shown, attribution, overlay = panels(png, 3, height, width)
    assert shown.std() > 10
    for panel in (attribution, overlay):
        assert redness(panel[:, : width // 2 - 4]) > 25
        assert redness(panel[:, width // 2 + 4 :]) < -25
    brightness = overlay.mean(axis=(1, 2))
    assert brightness[-20:].mean() > brightness[:20].mean()  # the picture is still there below the colours


def test_tiny_pictures_stay_sharp_squares() -> None:
    attribution = np.zeros((1, 1, 8, 8), np.float32)
    attribution[0, 0, 2, 5] = 1
    png = draw_overlay(report(attribution), "x", 0, Picture("NCHW"))
    height, width = panel_size(8, 8)
    assert (height, width) == (320, 320)
    inside = panels(png, 3, height, width)[1]
    red = inside[..., 0] - inside[..., 2] > 40
    rows, columns = np.where(red)
    # where a panel begins differs by a pixel between matplotlib's versions; the square's size does not
    assert (rows.min(), rows.max() + 1) == pytest.approx((80 - 2, 120 - 2), abs=1)
    assert (columns.min(), columns.max() + 1) == pytest.approx((200 - 2, 240 - 2), abs=1)
    assert red.sum() == 1600


def test_larger_pictures_are_smooth() -> None:
    checks = (np.indices((100, 100)).sum(0) // 10 % 2).astype(np.float32)[None, None]
    png = draw_overlay(report(checks), "x", 0, Picture("NCHW"))
    inside = panels(png, 3, *panel_size(100, 100))[1]
    assert len(np.unique(inside.reshape(-1, 3), axis=0)) > 10


def test_the_scale_ends_at_the_99th_percentile() -> None:
    values = np.concatenate([np.linspace(-1, 1, 999), [1000.0]])
    assert colour_limit(values) == pytest.approx(np.percentile(np.abs(values), 99))
    sparse = np.zeros(1000)
    sparse[3] = -5
    assert colour_limit(sparse) == 5
    assert colour_limit(np.zeros(4)) == 1
    assert colour_limit(np.array([np.nan, 2.0, np.inf])) == pytest.approx(2)


def test_pictures_are_shown_as_they_were_before_normalisation() -> None:
    original = np.random.default_rng(0).random((5, 4, 3))
    picture = Picture("NCHW", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    normalised = (original - picture.mean) / picture.std
    np.testing.assert_allclose(displayable(normalised, picture), original, atol=1e-12)
    counts = np.arange(17.0).reshape(1, 17, 1)  # digits hold 0..16: stretched to the full range
    np.testing.assert_allclose(displayable(counts, Picture("NCHW"))[0, :, 0], np.arange(17) / 16)
    assert np.isfinite(displayable(np.full((2, 2, 1), np.nan), picture)).all()


def test_bars_point_away_from_zero_with_the_colour_of_the_sign() -> None:
    attribution = np.zeros((1, 30), np.float32)
    attribution[0, 4], attribution[0, 7] = 3.0, -2.0
    names = [f"column {place}" for place in range(30)]
    (drawn,) = illustrations(report(attribution, feature_names={"x": names}), 1)
    assert drawn.file == "features_x_0.png"
    assert "column 4: +3" in drawn.alt
    page = pixels(drawn.png)
    first, second = (page[HEADING + 26 * place + 13] for place in (0, 1))
    red = np.where(first[:, 0] - first[:, 2] > 60)[0]
    blue = np.where(second[:, 2] - second[:, 0] > 60)[0]
    assert len(red) > len(blue) > 50
    assert blue.max() < red.min() + 4


def test_positions_have_the_colour_of_their_sum() -> None:
    attribution = np.full((1, 3, 8), 0.5, np.float32)
    attribution[0, 1], attribution[0, 2] = -0.5, 1  # the scale's ends and its middles have colours of their own
    names = ["I", "$disliked$", "it"]  # a dollar sign starts no formula
    (drawn,) = illustrations(report(attribution, feature_names={"x": names}), 1)
    assert drawn.file == "positions_x_0.png"
    page, cell = pixels(drawn.png), 880 // 8
    cells = [page[HEADING + 4 : HEADING + 12, MARGIN + place * cell + 6 :][:, : cell - 12] for place in range(3)]
    assert [np.sign(redness(area)) for area in cells] == [1, -1, 1]


# attribution's shape, what is drawn
KINDS: dict[tuple[int, ...], Any] = {
    (2, 5): "features",
    (2, 5, 6): "map",
    (2, 1, 5, 6): Picture("NCHW"),
    (2, 5, 6, 3): Picture("NHWC"),
    (2, 64, 5, 6): None,
    (2,): None,
    (2, 0): None,
    (2, 3, 4, 5, 6): None,
}


@pytest.mark.parametrize("shape", KINDS)
def test_what_is_drawn_follows_the_shape(shape: tuple[int, ...], tmp_path: Path) -> None:
    result = report(np.ones(shape, np.float32))
    assert kinds_of_drawing(result, "x") == ([] if KINDS[shape] is None else [KINDS[shape]])
    files = write_report(tmp_path / "out", result)
    assert sum(file.suffix == ".png" for file in files) == (
        0 if KINDS[shape] is None else 2 + (KINDS[shape] == "features")
    )


AWKWARD = {
    "all zero": np.zeros((1, 1, 8, 8)),
    "NaN": np.full((1, 3, 9, 9), np.nan),
    "infinite": np.where(np.eye(9) > 0, np.inf, 1.0)[None, None],
    "float16": np.ones((1, 1, 8, 8), np.float16),
    "one pixel": np.ones((1, 1, 1, 1)),
    "a line": np.ones((1, 1, 1, 700)),
    "one column": np.ones((1, 1)),
    "table of NaN": np.full((1, 4), np.nan),
    "one position": np.ones((1, 1, 4)),
    "many positions": np.ones((1, 300, 2)),
}


@pytest.mark.parametrize("case", AWKWARD)
def test_awkward_values_are_drawn_and_written_as_strict_json(case: str, tmp_path: Path) -> None:
    files = write_report(tmp_path / "out", report(AWKWARD[case]))
    assert [file.suffix for file in files].count(".png") == 1
    json.loads((tmp_path / "out/report.json").read_text("utf-8"), parse_constant=pytest.fail)


def test_the_files_say_what_was_found(tmp_path: Path) -> None:
    attribution = np.zeros((2, 3), np.float32)
    attribution[1] = [0.5, -2, 1]
    result = report(
        attribution,
        inputs={"x": np.float32([[1, 2, 3], [4, 5, 6]])},
        feature_names={"x": ["age", "<b>height</b>", "weight"]},
        class_names=["no", "yes"],
        exporter="dynamo",
        warnings=("mind the <gap>",),
        score=np.float32([2, np.nan]),
    )
    files = write_report(tmp_path / "out", result)
    assert [file.name for file in files] == sorted(os.listdir(tmp_path / "out"))
    document = json.loads((tmp_path / "out/report.json").read_text("utf-8"))
    assert document["model"] == {"file": "digits.onnx", "sha256": "0" * 64, "exporter": "dynamo"}
    assert (document["method"], document["n_steps"]) == ("gausslegendre", 50)
    assert document["tensors"]["x"] == {"shape": [2, 3], "dtype": "float32", "sum": -0.5}
    first, second = document["examples"]
    assert (first["target"], first["target_name"], second["target_name"]) == (0, "no", "yes")
    assert (first["score"], first["convergence_delta"], first["relative_convergence_delta"]) == (2, -0.5, 0.25)
    assert (second["score"], second["relative_convergence_delta"]) == (None, None)
    page = (tmp_path / "out/report.html").read_text("utf-8")
    assert "<td>25 %</td>" in page and "<td>—</td>" in page
    assert second["top_features"][0] == {
        "tensor": "x",
        "index": [1],
        "name": "<b>height</b>",
        "attribution": -2.0,
        "value": 5.0,
    }
    assert [feature["attribution"] for feature in second["top_features"]] == [-2, 1, 0.5]
    assert document["warnings"] == ["mind the <gap>"]
    assert sorted(document["files"]) == [file.name for file in files]
    with np.load(tmp_path / "out/attributions.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"attribution_x", "score", "baseline_score", "convergence_delta", "target"}
        np.testing.assert_array_equal(arrays["attribution_x"], attribution)
        assert arrays["attribution_x"].dtype == np.float32


def test_input_x_gradient_has_neither_path_nor_delta(tmp_path: Path) -> None:
    facts: dict[str, Any] = dict.fromkeys(("method", "n_steps", "baseline_score", "convergence_delta", "target"))
    write_report(tmp_path / "out", report(np.ones((1, 3)), algorithm="input-x-gradient", **facts))
    document = json.loads((tmp_path / "out/report.json").read_text("utf-8"))
    assert document["method"] is document["n_steps"] is document["examples"][0]["convergence_delta"] is None
    with np.load(tmp_path / "out/attributions.npz") as arrays:
        assert set(arrays) == {"attribution_x", "score"}
    assert "None" not in (tmp_path / "out/report.html").read_text("utf-8")


def test_top_features_are_the_largest_over_all_tensors() -> None:
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(1, 3, 4, 5)), "b": rng.normal(size=(1, 7))}
    arrays["b"][0, 3] = np.nan
    found = top_features(report(arrays["a"], attributions=arrays, inputs={}), 0, 12)
    everything = np.concatenate([array.ravel() for array in arrays.values()])
    expected = np.sort(np.abs(everything[np.isfinite(everything)]))[::-1][:12]
    assert [abs(feature.attribution) for feature in found] == pytest.approx(list(expected))
    for feature in found:
        assert arrays[feature.tensor][0][feature.index] == feature.attribution


def test_models_without_a_batch_axis(tmp_path: Path) -> None:
    attribution = halves(3, 12, 12, axis=2)
    one = {word: np.float32([1]) for word in ("score", "baseline_score", "convergence_delta")}
    result = report(attribution, batched=False, pictures={"x": Picture("CHW")}, target=np.array([2]), **one)
    files = write_report(tmp_path / "out", result)
    assert "overlay_x_0.png" in [file.name for file in files]
    with np.load(tmp_path / "out/attributions.npz") as arrays:
        assert arrays["attribution_x"].shape == (3, 12, 12)


class Page(HTMLParser):
    """Collects tags, and fails on anything that would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        assert tag not in ("link", "iframe", "object", "b", "gap")
        assert tag != "script" or not values  # the page's own text, no file; whose it is its policy says
        assert not any((value or "").startswith(("http", "//", "file")) for value in values.values())
        if tag == "img":
            self.images.append(values)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_needs_nothing_else_and_can_be_read_aloud(tmp_path: Path) -> None:
    result = replace(
        report(halves(2, 1, 8, 8, axis=3)), model="<b>.onnx", warnings=("mind the <gap>",), class_names=["<b>", "é"]
    )
    write_report(tmp_path / "out", result)
    text = (tmp_path / "out/report.html").read_text("utf-8")
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert 'name="viewport"' in text
    assert '<html lang="en">' in text
    assert "url(" not in text
    for word in ("<b>.onnx", "mind the <gap>", "target 1 (é)", "-0.5", "0.25", "gausslegendre", "0" * 64):
        assert word in page.words
    assert len(page.images) == 2
    for index, image in enumerate(page.images):
        source, alt = image["src"] or "", image["alt"] or ""
        png = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        assert png == (tmp_path / f"out/overlay_x_{index}.png").read_bytes()
        assert f"example {index}" in alt
        assert re.search(r"Largest: \[\d, \d, \d\]: [+-]1", alt)


def test_only_the_first_examples_are_drawn_and_the_report_says_so(tmp_path: Path) -> None:
    files = write_report(tmp_path / "out", report(np.ones((5, 4))), max_pictures=2)
    assert [file.name for file in files if file.suffix == ".png"] == [
        "features_x_0.png",
        "features_x_1.png",
        "summary_x.png",
    ]
    assert "first 2 of 5" in (tmp_path / "out/report.json").read_text("utf-8")


def test_names_with_any_character_make_files_of_their_own(tmp_path: Path) -> None:
    names = ["../x", "x", "a/b:0", "a b 0", "数"]
    arrays = {name: np.ones((1, 3)) for name in names}
    files = write_report(tmp_path / "out", report(np.ones((1, 3)), attributions=arrays, inputs={}))
    assert len({file.name for file in files if file.suffix == ".png"}) == len(names)
    assert os.listdir(tmp_path) == ["out"]
    with np.load(tmp_path / "out/attributions.npz") as stored:
        assert {f"attribution_{name}" for name in names} < set(stored)


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [
        name for name in sys.modules if re.match(r"matplotlib|onnx_ig\.report\.(drawing|overlay|charts)", name)
    ]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"onnx-ig\[viz\]"):
        write_report(tmp_path / "required", DIGIT, pictures=True)
    assert os.listdir(tmp_path) == []
    write_report(tmp_path / "out", DIGIT)
    assert sorted(os.listdir(tmp_path / "out")) == ["attributions.npz", "report.html", "report.json"]
    for file in ("report.json", "report.html"):
        assert "onnx-ig[viz]" in (tmp_path / "out" / file).read_text("utf-8")


def test_equal_results_give_equal_files(tmp_path: Path) -> None:
    first, second = (write_report(tmp_path / name, DIGIT) for name in "ab")
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_an_earlier_report_is_replaced_and_its_leftovers_go(tmp_path: Path) -> None:
    write_report(tmp_path / "out", report(np.ones((3, 4))))
    (tmp_path / "out/notes.txt").write_text("mine")
    write_report(tmp_path / "out", DIGIT)
    expected = ["attributions.npz", "notes.txt", "overlay_x_0.png", "report.html", "report.json"]
    assert sorted(os.listdir(tmp_path / "out")) == expected
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("existing", ["report.json", "attributions.npz", "overlay_x_0.png"])
def test_files_of_other_origin_are_kept_unless_overwriting(existing: str, tmp_path: Path) -> None:
    (tmp_path / existing).write_text("[1]")
    with pytest.raises(UsageError, match=re.escape(existing)):
        write_report(tmp_path, DIGIT)
    assert os.listdir(tmp_path) == [existing]
    assert (tmp_path / existing).read_text() == "[1]"
    files = write_report(tmp_path, DIGIT, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == [file.name for file in files]
    assert (tmp_path / existing).read_bytes() != b"[1]"


def test_a_forged_manifest_reaches_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    manifest = {
        "format": "onnx-ig report",
        "files": ["../precious.txt", "report.json", "/etc/hostname", "..", "", "notes.txt", 3],
    }
    (out / "report.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match=r"report\.json"):  # one wrong entry makes the whole account worthless
        write_report(out, DIGIT)
    (out / "report.json").write_text(json.dumps(manifest | {"files": manifest["files"][:-1]}))
    write_report(out, DIGIT)
    assert (tmp_path / "precious.txt").read_text() == (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("prepared", ["absent", "empty", "earlier report"])
def test_a_failure_while_writing_leaves_no_trace(
    prepared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    if prepared == "empty":
        out.mkdir()
    if prepared == "earlier report":
        write_report(out, DIGIT)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    def disk_full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("onnx_ig.report.write.page", disk_full)
    with pytest.raises(UsageError, match="No space left on device"):
        write_report(out, report(np.ones((1, 4))))
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert out.exists() == (prepared != "absent")


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="file"):
            write_report(place, DIGIT)
    assert os.listdir(tmp_path) == ["file"]


def test_directories_are_made_and_readable_as_any_other(tmp_path: Path) -> None:
    write_report(tmp_path / "a/b/out", DIGIT)
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "a/b/out").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    write_report(tmp_path / "link", DIGIT)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "plain/report.html").exists()


# what is wrong, words of the message
CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no tensor": ({"attributions": {}}, "at least one"),
    "score rank": ({"score": np.ones((1, 1))}, "[N]"),
    "delta length": ({"convergence_delta": np.ones(3)}, "convergence_delta has shape [3]"),
    "target scalar": ({"target": np.array(1)}, "target"),
    "input shape": ({"inputs": {"x": np.ones((1, 5))}}, "[1, 5]"),
    "examples": ({"attributions": {"x": np.ones((2, 4))}, "inputs": {}}, "expected 1 examples"),
    "feature names": ({"feature_names": {"x": ["a"]}}, "1 feature names"),
    "example names": ({"example_names": ["a", "b"]}, "2 names for 1 examples"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions_are_refused(case: str) -> None:
    wrong, words = CONTRADICTIONS[case]
    with pytest.raises(InputError, match=re.escape(words)):
        report(np.ones((1, 4)), **wrong)


def test_a_sheet_has_exactly_its_pixels() -> None:
    assert pixels(Sheet(333, 211).png()).shape == (211, 333, 3)
    assert DPI == 100
