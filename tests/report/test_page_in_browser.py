"""Reports of many examples in a real browser, as wide as a phone and a desk: whole, quiet, sorted on demand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from onnx_ig.data.pictures import Picture
from onnx_ig.data.text import Words
from onnx_ig.report import AttributionReport, write_report
from onnx_ig.report.classes import class_shares
from onnx_ig.report.several_targets import in_lines
from tests.helpers.browser import chromium

RNG = np.random.default_rng(0)


def report(name: str, array: Any, **more: Any) -> AttributionReport:
    count = len(array)
    facts: dict[str, Any] = {
        "score": RNG.standard_normal(count),
        "baseline_score": np.zeros(count),
        "convergence_delta": np.full(count, 0.01),
        "target": np.arange(count) % 2,
        "class_names": ["<no>", "yes"],
    }
    return AttributionReport(
        model="m.onnx", algorithm="integrated-gradients", attributions={name: array}, provider="cpu", **(facts | more)
    )


def pictures() -> AttributionReport:
    array = RNG.standard_normal((100, 1, 8, 8)).astype(np.float32)
    names = [f"digit {i}.png" for i in range(100)]
    return report(
        "image", array, inputs={"image": np.abs(array)}, pictures={"image": Picture("NCHW")}, example_names=names
    )


def rows() -> AttributionReport:
    array = RNG.standard_normal((10_000, 5)).astype(np.float32)
    return report("x", array, inputs={"x": array}, feature_names={"x": ["age", "height", "<b>", "d", "e"]})


def sentences() -> AttributionReport:
    words = [f"word{i}" for i in range(11)] + ["<script>alert(1)</script>"]
    text = Words(tuple(words), tuple((i,) for i in range(12)), tuple(words))
    return report("embedding", RNG.standard_normal((200, 12, 4)).astype(np.float32), words=[text] * 200)


NAMES = ["<b>ant</b>", "bee", "c" * 90, "dog", "eel", "fox", "gnu"]


def classes() -> AttributionReport:
    """Three targets of each of 20 pictures."""
    array = RNG.standard_normal((20, 1, 8, 8)).astype(np.float32)
    outputs = RNG.standard_normal((16, 7))
    targets = np.argsort(-RNG.standard_normal((20, 7)), axis=1)[:, :3]
    shares = class_shares(outputs, targets[:16], "softmax")
    facts = {"inputs": {"image": np.abs(array)}, "pictures": {"image": Picture("NCHW")}, "class_names": NAMES}
    return in_lines([report("image", array + k, target=targets[:, k], classes=shares, **facts) for k in range(3)])


REPORTS = {"100 pictures": pictures, "10,000 rows": rows, "200 sentences": sentences, "classes": classes}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    for name, made in REPORTS.items():
        write_report(folder / name, made(), max_pictures=4)
    return {name: folder / name / "report.html" for name in REPORTS}


def opened(browser: Browser, file: Path, width: int, said: list[str], **options: Any) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri())
    return page


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", REPORTS)
def test_pages_open_without_errors_and_fit_the_screen(
    name: str, width: int, pages: dict[str, Path], browser: Browser
) -> None:
    said: list[str] = []
    assert pages[name].stat().st_size < 5_000_000
    page = opened(browser, pages[name], width, said)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    shots = [image.bounding_box() for image in page.locator(".scroll > img").all() if image.is_visible()]
    assert name == "200 sentences" or all(box is not None and box["width"] >= 350 for box in shots)
    assert page.locator("section[id^=example-]").count() >= 16 and said == []
    page.close()


def test_a_table_is_sorted_by_the_head_that_is_pressed(pages: dict[str, Path], browser: Browser) -> None:
    page = opened(browser, pages["10,000 rows"], 1280, [])
    table = page.locator("table.sortable")

    def column(place: int) -> list[str]:
        return table.locator(f"tbody tr td:nth-child({place})").all_inner_texts()

    before = [float(text) for text in column(3)]
    button = table.locator("th button", has_text="score F(x)").first
    button.click()
    assert [float(text) for text in column(3)] == sorted(before) != before
    button.click()
    assert [float(text) for text in column(3)] == sorted(before, reverse=True)
    table.locator("th button", has_text="example").click()
    assert column(1) == [str(i) for i in range(100)]
    page.close()


def test_sections_are_of_what_is_drawn_and_further_texts_have_a_line(pages: dict[str, Path], browser: Browser) -> None:
    """A page of a hundred tables of pixels is read by nobody; a sentence is read in a line."""
    page = opened(browser, pages["100 pictures"], 1280, [])
    assert page.locator("section[id^=example-]").count() == 16
    page.close()
    page = opened(browser, pages["200 sentences"], 1280, [])
    assert page.locator("section[id^=example-]").count() == 16 and page.locator(".words").count() == 100
    assert page.locator(".words").last.inner_text().startswith("99: 1 (yes) word0 word1")
    assert not page.locator("details table").first.is_visible()
    page.close()


def test_without_a_script_the_page_is_whole(pages: dict[str, Path], browser: Browser) -> None:
    page = opened(browser, pages["100 pictures"], 390, [], java_script_enabled=False)
    assert page.locator("table.sortable tbody tr").count() == 100 and page.locator("th button").count() == 0
    assert page.locator(".gallery figure").count() == 4
    assert page.locator(".gallery a").first.get_attribute("href") == "#example-0"
    page.locator("summary").first.click()
    assert page.locator("details[open] table").is_visible()
    page.close()


def test_bars_tell_the_strongest_classes_and_mark_the_attributed_one(pages: dict[str, Path], browser: Browser) -> None:
    made, page = classes(), opened(browser, pages["classes"], 390, [])
    first = page.locator("#example-0 .classes")
    assert first.locator("li").count() == 5 and page.locator(".classes").count() == 18
    current = first.locator("li[aria-current]")
    assert current.count() == 1 and current.inner_text().endswith("%") and "attributed" in current.inner_text()
    assert page.locator(".classes b").count() == 0, "a name is text"
    shares = [float(text.split()[-2]) for text in first.locator("li").all_inner_texts()]
    assert shares == sorted(shares, reverse=True) and made.targets == 3
    page.close()


def test_the_target_that_is_picked_is_shown_and_all_are_printed(pages: dict[str, Path], browser: Browser) -> None:
    page = opened(browser, pages["classes"], 1280, [], java_script_enabled=False)

    def shown() -> list[bool]:
        return [page.locator(f"#example-{k}").is_visible() for k in range(6)]

    assert shown() == [True, False, False, True, False, False]
    page.locator("#choice-0 label").nth(2).click()
    page.locator("#choice-1-0").press("ArrowRight")
    assert shown() == [False, False, True, False, True, False]
    assert page.locator(".gallery a").nth(1).get_attribute("href") == "#choice-0"
    page.emulate_media(media="print")
    assert shown() == [True] * 6
    page.close()
