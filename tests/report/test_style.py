"""Attributions over a picture as they are shown: smoothed, of one sign, on the file's own pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from onnx_ig.common.smoothing import smoothed
from onnx_ig.data import InputSpec, PictureOptions, read_input
from onnx_ig.errors import UsageError
from onnx_ig.report import AttributionReport
from onnx_ig.report.illustrate import of_example
from onnx_ig.report.overlay import displayable, enlarged, original
from onnx_ig.report.style import Style

RNG = np.random.default_rng(0)


def test_smoothing_is_a_gaussian_filter() -> None:
    values = RNG.standard_normal((30, 3))
    found = smoothed(values, [0], 2.0)
    expected = gaussian_filter1d(values, 2.0, axis=0, truncate=20, mode="constant")
    weights = gaussian_filter1d(np.ones((30, 3)), 2.0, axis=0, truncate=20, mode="constant")
    np.testing.assert_allclose(found, expected / weights, rtol=1e-9)


@pytest.mark.parametrize(
    ("sign", "expected"),
    [("both", [[-2, 3]]), ("positive", [[0, 3]]), ("negative", [[-2, 0]]), ("absolute", [[2, 3]])],
)
def test_signs(sign: Any, expected: Any) -> None:
    np.testing.assert_array_equal(Style(sign=sign).shown(np.array([[-2.0, 3.0]])), expected)


def test_small_pictures_stay_sharp_and_the_legend_says_what_was_done() -> None:
    spike = np.zeros((200, 200))
    spike[100, 100] = 1
    assert Style().shown(spike).max() < 0.1 and Style(smooth=0).shown(spike).max() == 1
    assert Style().shown(spike[:64, :64]).shape == (64, 64) and Style().deviation(64, 64) == 0
    assert "smoothed over 2 pixels" in Style().legend(200, 200) and "smoothed" not in Style().legend(8, 8)
    assert "the scale ends at the maximum" in Style(clip=100).legend(8, 8)


@pytest.mark.parametrize("options", [{"smooth": -1}, {"sign": "up"}, {"clip": 0}, {"clip": 101}])
def test_what_no_drawing_can_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Style(**options)


@pytest.mark.parametrize("options", [{}, {"fit": "crop"}, {"fit": "pad"}, {"shorter": 90}])
def test_the_file_is_shown_where_the_input_lies_in_it(options: dict[str, Any], tmp_path: Path) -> None:
    """In the resolution of the file: shrunk to the input's, it is the input."""
    y, x = np.mgrid[:400, :600]
    file = tmp_path / "photo.png"
    Image.fromarray(np.uint8(127 + 120 * np.stack([np.sin(x / 70), np.cos(y / 50), np.sin((x + y) / 90)], 2))).save(
        file
    )
    spec = InputSpec("image", np.dtype("float32"), ("N", 3, None, None))
    read = read_input(file, spec, PictureOptions((0.4,), (0.2,), size=(80, 80), channels="BGR", **options))
    assert read.picture is not None
    fed = displayable(read.value[0].transpose(1, 2, 0), read.picture)
    shown = original(read.picture, 0, fed)
    assert min(shown.shape[:2]) >= 300
    small = np.asarray(Image.fromarray(np.uint8(255 * shown)).resize((80, 80), Image.Resampling.BILINEAR)) / 255
    inside = (small > 0.01).any(axis=2)
    assert np.abs(small - fed)[inside].mean() < 0.03
    file.unlink()
    assert original(read.picture, 0, fed) is fed


def test_enlarging_keeps_what_lies_where() -> None:
    small = np.zeros((4, 4))
    small[1, 2] = 8
    large = enlarged(small, 40, 40)
    assert np.unravel_index(large.argmax(), large.shape)[0] in range(10, 20) and large.mean() == pytest.approx(
        0.5, 0.01
    )
    assert enlarged(small, 4, 4) is small


def test_a_convolution_is_laid_over_the_picture_that_was_read(tmp_path: Path) -> None:
    x = InputSpec("image", np.dtype("float32"), ("N", 3, 32, 32))
    Image.new("RGB", (96, 96), (200, 30, 60)).save(tmp_path / "red.png")
    picture = read_input(tmp_path / "red.png", x).picture
    assert picture is not None
    scores: dict[str, Any] = {"score": np.ones(1), "provider": "cpu", "algorithm": "input-x-gradient", "model": "m"}

    def report(shape: tuple[int, ...]) -> AttributionReport:
        return AttributionReport(
            attributions={"conv": RNG.standard_normal(shape)}, pictures={"image": picture}, **scores
        )

    (drawn,) = of_example(report((1, 8, 4, 4)), 0)
    assert drawn.file == "overlay_conv_0.png"
    pixels = np.asarray(Image.open(io.BytesIO(drawn.png)).convert("RGB")).reshape(-1, 3)
    assert (pixels == (200, 30, 60)).all(axis=1).sum() > 50_000  # the file itself, in a panel of its own
    assert list(of_example(report((1, 8, 4, 16)), 0)) == []  # no map of a square picture


@pytest.mark.parametrize("axes", ["NCHW", "NHWC"])
def test_a_map_is_laid_over_the_input_where_no_file_is_known(axes: str) -> None:
    fed = np.zeros((1, 3, 8, 8), np.float32)
    fed[:, 0] = 200 / 255
    result = AttributionReport(
        attributions={"conv": np.zeros((1, 1, 4, 4))},
        inputs={"image": fed if axes == "NCHW" else fed.transpose(0, 2, 3, 1)},
        score=np.ones(1),
        provider="cpu",
        algorithm="grad-cam",
        model="m",
    )
    (drawn,) = of_example(result, 0)
    pixels = np.asarray(Image.open(io.BytesIO(drawn.png)).convert("RGB")).reshape(-1, 3)
    assert (pixels == (200, 0, 0)).all(axis=1).sum() > 50_000
    small = np.asarray(Image.open(io.BytesIO(drawn.small)).convert("RGB"))
    grey = 255 * (0.3 + 0.6 * 0.299 * 200 / 255)  # of red, where the map is zero: it would be white by itself
    assert small.shape == (160, 160, 3) and np.abs(small - grey).max() < 8
