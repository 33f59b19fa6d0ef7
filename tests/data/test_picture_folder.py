"""A folder of pictures is a batch: one example each, under its own name in everything that is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.data import InputSpec, PictureOptions, read_input
from onnx_ig.errors import InputError, UsageError

DIGITS = Path(__file__).parents[2] / "models" / "digits_cnn"
GREY = InputSpec("image", np.dtype("float32"), ("N", 1, 8, 8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The scanned seven, lying on its side and upside down; ``b`` comes before ``c`` whatever was written first."""
    place = tmp_path / "digits"
    place.mkdir()
    seven = Image.open(DIGITS / "seven.png")
    seven.rotate(180).save(place / "c upside down.png")
    seven.rotate(90).save(place / "b side.PNG")
    seven.save(place / "a seven.png")
    (place / "notes.txt").write_text("not a picture")
    return place


def stacked(folder: Path) -> np.ndarray[Any, Any]:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".png")
    return np.stack([np.asarray(Image.open(file), np.float32)[None] / 255 for file in files])


@pytest.mark.parametrize("deployed", [False, True], ids=["model", "attribution model"])
def test_attribute_explains_each_picture_under_its_name(folder: Path, tmp_path: Path, deployed: bool) -> None:
    model = DIGITS / "digits_cnn.onnx"
    if deployed:
        onnx_ig.export(model, tmp_path / "explained.onnx", target="predicted")
        model = tmp_path / "explained.onnx"
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["attribute", str(model), "-i", f"{folder}/", "-o", str(out)])
    assert result.exit_code == 0, result.output
    found = np.load(out / "attributions.npz")
    expected = onnx_ig.IntegratedGradients(DIGITS / "digits_cnn.onnx").attribute(
        stacked(folder), target=found["target"]
    )
    assert len(found["target"]) == 3
    np.testing.assert_allclose(found["attribution_image"], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    names = ["a seven.png", "b side.PNG", "c upside down.png"]
    assert [example["name"] for example in json.loads((out / "report.json").read_text("utf-8"))["examples"]] == names
    page = (out / "report.html").read_text("utf-8")
    for index, name in enumerate(names):
        assert f"Example {index} ({name})" in page and f"example {index} ({name})," in page
        assert f"{index} ({name})" in result.stdout
        slug = name.rpartition(".")[0].replace(" ", "-")
        assert (out / f"overlay_image_{index}_{slug}.png").exists()


def test_pictures_of_different_sizes_need_a_size(folder: Path) -> None:
    Image.new("L", (16, 12)).save(folder / "d.png")
    free = InputSpec("image", np.dtype("float32"), ("N", 1, "H", "W"))
    with pytest.raises(InputError, match=r"d\.png has shape \[1, 1, 12, 16\].*\[1, 1, 8, 8\].*--size"):
        read_input(folder, free)
    read = read_input(folder, free, PictureOptions(size=(4, 4)))
    assert read.value.shape == (4, 1, 4, 4) and len(read.names) == 4
    assert len(read.notes) == 4 and "1 more note" in read.notes[-1]


def test_what_is_no_batch_of_pictures_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty.*without pictures.*\.png"):
        read_input(tmp_path / "empty", GREY)
    with pytest.raises(InputError, match=r"\[1, 8, 8\].*one picture"):
        read_input(folder, InputSpec("image", np.dtype("float32"), (1, 8, 8)), PictureOptions(layout="NCHW"))
