"""Pictures prepared as a model's own pipeline does: held against Pillow's operations and transformers' processors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageOps

from onnx_ig.cli import app
from onnx_ig.data import InputSpec, PictureOptions, named_baseline, preprocessing, read_input, read_inputs
from onnx_ig.errors import InputError, UsageError

MODELS = Path(__file__).parents[2] / "models"
SPEC = InputSpec("image", np.dtype("float32"), ("N", 3, None, None))


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Waves of three colours, 60 wide and 40 high."""
    y, x = np.mgrid[:40, :60]
    waves = np.stack([np.sin(x / 7), np.cos(y / 5), np.sin((x + y) / 9)], 2)
    file = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(np.uint8(127 + 120 * waves)).save(file)
    return file


def read(file: Path, **options: Any) -> np.ndarray[Any, Any]:
    """[H, W, 3]."""
    return read_input(file, SPEC, PictureOptions(**options)).value[0].transpose(1, 2, 0)


@pytest.mark.parametrize(("fit", "like"), [("crop", ImageOps.fit), ("pad", ImageOps.pad)])
@pytest.mark.parametrize("size", [(20, 20), (40, 20), (16, 60), (80, 50)])
def test_fits(fit: str, like: Any, size: tuple[int, int], photo: Path) -> None:
    expected = np.asarray(like(Image.open(photo), size[::-1], Image.Resampling.BILINEAR), np.float32) / 255
    found = read(photo, size=size, fit=fit)
    assert found.shape == (*size, 3)
    # the edges of the middle lie between pixels, and are rounded there
    assert np.abs(found - expected).mean() < 0.03
    assert (found == 0).all(axis=2).mean() == pytest.approx((expected == 0).all(axis=2).mean(), abs=0.03)


@pytest.mark.parametrize("name", ["CLIPImageProcessor", "ViTImageProcessor"])
def test_a_models_own_file_prepares_as_its_own_processor(name: str, photo: Path, tmp_path: Path) -> None:
    import transformers

    processor = getattr(transformers, name)(
        size={"shortest_edge": 24} if name == "CLIPImageProcessor" else {"height": 24, "width": 24},
        **({"crop_size": {"height": 20, "width": 20}} if name == "CLIPImageProcessor" else {}),
    )
    processor.save_pretrained(tmp_path)
    expected = processor(images=Image.open(photo), return_tensors="np")["pixel_values"]
    options = preprocessing(str(tmp_path))
    found = read_input(photo, SPEC, options).value
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=0.02)  # theirs is rounded to whole numbers in between


@pytest.mark.parametrize(("name", "shorter", "size"), [("imagenet", 256, (224, 224)), ("caffe", 256, (224, 224))])
def test_presets(name: str, shorter: int, size: tuple[int, int], photo: Path) -> None:
    options = preprocessing(name)
    found = read_input(photo, SPEC, options).value
    assert found.shape == (1, 3, *size) and options.shorter == shorter
    resized = Image.open(photo).resize((384, 256), Image.Resampling.BILINEAR).crop((80, 16, 304, 240))
    pixels = np.asarray(resized, np.float32).transpose(2, 0, 1)
    if name == "imagenet":
        expected = (pixels / 255 - np.reshape(options.mean, (3, 1, 1))) / np.reshape(options.std, (3, 1, 1))
    else:
        expected = pixels[::-1] - np.reshape([103.939, 116.779, 123.68], (3, 1, 1))
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-4)


def test_black_and_white_are_so_in_the_models_own_scale(photo: Path) -> None:
    options = PictureOptions((103.9, 116.8, 123.7), channels="BGR", scale=255)
    value = read_input(photo, SPEC, options)
    black, white = (named_baseline(word, value, "image") for word in ("black", "white"))
    np.testing.assert_allclose(black[0, :, 0, 0], [-103.9, -116.8, -123.7], rtol=1e-5)
    np.testing.assert_allclose(white[0, :, 0, 0], [151.1, 138.2, 131.3], rtol=1e-5)


REFUSED: dict[str, tuple[Any, str]] = {
    "no such preset": ("imagnet", "neither a file nor one of imagenet"),
    "not JSON": (b"{", "not a JSON file"),
    "no mean": (b"{}", "not the form of a preprocessor_config.json"),
    "another resampling": (b'{"image_mean": 0, "image_std": 1, "size": 8, "resample": 5}', "resample 5 is none of"),
    "no size": (b'{"image_mean": 0, "image_std": 1, "size": {"longest_edge": 8}}', "neither height and width nor"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_understood_is_refused(case: str, tmp_path: Path) -> None:
    given, message = REFUSED[case]
    if isinstance(given, bytes):
        (tmp_path / "preprocessor_config.json").write_bytes(given)
        given = str(tmp_path)
    with pytest.raises((UsageError, InputError), match=message):
        preprocessing(given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "squeeze"}, "fit 'squeeze' is none of stretch, crop, pad"),
        ({"channels": "GBR"}, "channels 'GBR' is none of RGB, BGR"),
        ({"scale": 0.0}, "scale 0.0 must be positive"),
        ({"shorter": 8, "fit": "pad"}, "leave fit pad out"),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PictureOptions(**options)


def test_a_middle_larger_than_the_picture_is_refused(photo: Path) -> None:
    with pytest.raises(UsageError, match=r"--resize-shorter 16 .* 16x24 .* middle of 20x20 .* 20 or more"):
        read(photo, shorter=16, size=(20, 20))


@pytest.mark.parametrize("suffix", ["webp", "bmp", "tiff"])
def test_further_kinds(suffix: str, photo: Path, tmp_path: Path) -> None:
    file = tmp_path / f"photo.{suffix}"
    Image.open(photo).save(file, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read(file), read(photo))


def test_several_files_and_patterns_are_one_batch(photo: Path, tmp_path: Path) -> None:
    for name in ("b.png", "a.png"):
        (tmp_path / name).write_bytes(photo.read_bytes())
    by_pattern = read_inputs([f"{tmp_path}/*.png"], [SPEC])["image"]
    assert by_pattern.names == ("a.png", "b.png") and by_pattern.value.shape == (2, 3, 40, 60)
    by_name = read_inputs([f"image={tmp_path}/b.png", f"image={photo}"], [SPEC])["image"]
    assert by_name.names == ("b.png", "photo.png") and by_name.picture is not None
    assert [one.file.name for one in by_name.picture.originals] == ["b.png", "photo.png"]
    with pytest.raises(UsageError, match="no file is called so"):
        read_inputs([f"{tmp_path}/*.jpg"], [SPEC])


def test_a_broken_file_is_named_and_the_others_are_explained(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "a.png").write_bytes((MODELS / "digits_cnn/seven.png").read_bytes())
    (folder / "b.png").write_bytes(b"nothing")
    model = str(MODELS / "digits_cnn/digits_cnn.onnx")
    command = ["attribute", model, "-i", str(folder), "-o", str(tmp_path / "out"), "--draw", "none"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "out/report.json").read_text("utf-8"))
    assert [example["name"] for example in document["examples"]] == ["a.png"]
    assert any("left out" in warning and "b.png" in warning for warning in document["warnings"])
    assert "b.png" in result.stderr and not list((tmp_path / "out").glob("*.png"))
    (folder / "a.png").write_bytes(b"nothing either")
    assert CliRunner().invoke(app, [*command, "--overwrite"]).exit_code == 4
