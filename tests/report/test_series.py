"""Series in reports: which drawing fits, sums that stay whole, colours by sign, and never a picture beyond a screen."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnx_ig.data import Series
from onnx_ig.report import AttributionReport
from onnx_ig.report.drawing import HEADING
from onnx_ig.report.illustrate import illustrations, kinds_of_drawing
from onnx_ig.report.series import pieces

Array = np.ndarray[Any, Any]


def report(attribution: Array, *, of_input: bool = True, **more: Any) -> AttributionReport:
    values = np.cumsum(np.random.default_rng(0).standard_normal(attribution.shape), axis=-1)
    facts: dict[str, Any] = {"inputs": {"x": values}} if of_input else {}
    return AttributionReport(
        model="m.onnx",
        algorithm="input-x-gradient",
        attributions={"x": attribution},
        score=np.ones(len(attribution)),
        provider="cpu",
        **(facts | more),
    )


def drawn(result: AttributionReport) -> list[tuple[str, Array]]:
    """Each drawing of the first example: the word of its file, its pixels."""
    found = []
    for one in illustrations(result, 1):
        picture = Image.open(io.BytesIO(one.png)).convert("RGB")
        found.append((one.file.partition("_")[0], np.asarray(picture, int)))
    return found


NAMED = {"x": [str(i) for i in range(12)]}
# shape of one example, whether it is a model input, names of axis 1, the drawings
KINDS: dict[str, tuple[tuple[int, ...], bool, Any, list[Any]]] = {
    "a table": ((30,), True, None, ["features"]),
    "a wide table without names": ((300,), True, None, [Series("NT")]),
    "a wide table with names": ((300,), True, {"x": [str(i) for i in range(300)]}, ["features"]),
    "a waveform": ((43844,), True, None, [Series("NT")]),
    "channels first": ((3, 500), True, None, [Series("NCT")]),
    "channels last": ((500, 3), True, None, [Series("NTC")]),
    "leads with names": ((12, 500), True, NAMED, ["positions", Series("NCT")]),
    "neither axis is long": ((5, 6), True, None, ["map"]),
    "words with vectors, an input": ((12, 16), True, NAMED, ["positions"]),
    "vectors inside the graph": ((40, 16), False, None, ["positions"]),
    "a long sequence inside the graph": ((641, 16), False, None, ["line"]),
    "a long text inside the graph": ((241, 4), False, {"x": ["a"] * 241}, ["line"]),
}


@pytest.mark.parametrize("case", KINDS)
def test_what_is_drawn(case: str) -> None:
    shape, of_input, names, expected = KINDS[case]
    result = report(np.ones((1, *shape)), of_input=of_input, feature_names=names or {})
    assert kinds_of_drawing(result, "x") == expected


# shape of one example, what its axes are known to be
SIZES: dict[str, tuple[tuple[int, ...], Series | None]] = {
    "one position": ((1,), Series("NT")),
    "a waveform in seconds": ((43844,), Series("NT", 16000)),
    "long, channels last": ((31800, 1), None),
    "stereo": ((2, 2001), Series("NCT", 100)),
    "as many lines as there are": ((8, 100), None),
    "a map": ((9, 100), None),
    "a map larger than the screen": ((700, 3000), None),
    "square": ((64, 64), None),
}


@pytest.mark.parametrize("case", SIZES)
def test_no_drawing_is_larger_than_a_screen(case: str) -> None:
    shape, series = SIZES[case]
    for values in (np.random.default_rng(1).standard_normal((1, *shape)), np.full((1, *shape), np.nan)):
        (one,) = drawn(report(values, series={"x": series} if series else {}))
        assert max(one[1].shape) < 2000 and one[1].std() > 1


@pytest.mark.parametrize(("length", "most"), [(1, 900), (2001, 900), (43844, 900), (5, 3), (900, 900)])
def test_pieces_hold_everything_once(length: int, most: int) -> None:
    starts = pieces(length, most)
    sizes = np.diff(np.append(starts, length))
    assert len(starts) == min(length, most) and starts[0] == 0
    assert sizes.sum() == length and sizes.min() >= length // most and sizes.max() <= -(-length // most)


def test_time_is_not_summed_away() -> None:
    """Attributions that cancel over time are seen, at their times and in the colour of their signs."""
    attribution = np.zeros((1, 4, 4000))
    attribution[0, 2, 400:600], attribution[0, 2, 3400:3600] = 1, -1
    ((_, page),) = drawn(report(attribution))
    sums = page[HEADING + 4 * 110 : HEADING + 4 * 110 + 140, 96 : 96 + 860]  # the lowest panel
    red = np.where((sums[..., 0] - sums[..., 2] > 80).any(axis=0))[0]
    blue = np.where((sums[..., 2] - sums[..., 0] > 80).any(axis=0))[0]
    assert (red.min() / 860, red.max() / 860) == pytest.approx((0.1, 0.15), abs=0.01)
    assert (blue.min() / 860, blue.max() / 860) == pytest.approx((0.85, 0.9), abs=0.01)
    lanes = [page[HEADING + i * 110 + 3 : HEADING + i * 110 + 97, 100:950] for i in range(4)]
    coloured = [int((np.ptp(lane, axis=-1) > 80).sum()) for lane in lanes]
    assert coloured[2] > 100 and coloured[0] == coloured[1] == coloured[3] == 0


def test_channels_are_called_by_their_names() -> None:
    attribution = np.ones((1, 3, 50))
    pages = [
        drawn(report(attribution, series={"x": Series("NCT", channels=names)}))[0][1]
        for names in ((), ("[0]", "[1]", "[2]"), ("heat", "pressure", "speed"))
    ]
    assert np.array_equal(pages[0], pages[1]) and not np.array_equal(pages[0], pages[2])


@pytest.mark.parametrize("size", [1, -1.234e-5, 0.000289])
def test_the_scale_has_room_for_its_numbers(size: float) -> None:
    ((_, page),) = drawn(report(np.full((1, 2500), size)))
    assert (page[:, -2:] == 255).all(), "numbers are cut off at the right"


def test_a_peak_of_one_sample_is_drawn() -> None:
    values = np.zeros((1, 43844))
    values[0, 30000] = 1
    ((_, page),) = drawn(report(np.ones((1, 43844)), inputs={"x": values}))
    lane = page[HEADING + 2 : HEADING + 238, 98:954]
    columns = np.where((lane[:60].min(axis=-1) < 230).any(axis=0))[0]
    assert columns.mean() / 856 == pytest.approx(30000 / 43844, abs=0.01)


def test_a_map_shows_rows_and_columns_where_they_are() -> None:
    attribution = np.zeros((1, 10, 40))
    attribution[0, 7, 10] = 1
    ((_, page),) = drawn(report(attribution, series={"x": Series("NCT")}))
    redness = page[..., 0] - page[..., 2]
    rows, columns = np.where(redness[:, :950] > 80)
    top = HEADING + 18 + 180 + 44  # of the second panel
    assert (rows.mean() - top) / 180 == pytest.approx(0.75, abs=0.02)
    assert (columns.mean() - 96) / 860 == pytest.approx(10.5 / 40, abs=0.01)
