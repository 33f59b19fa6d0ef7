"""The web page in a real browser: drawing, pictures, choices, the keyboard, a phone, and what goes wrong."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, expect

import onnx_ig
from onnx_ig.data import InputSpec, PictureOptions, read_input
from onnx_ig.quadrature import path_nodes_and_weights
from onnx_ig.web import write_site
from tests.helpers.browser import chromium, served
from tests.helpers.node_runtime import node_path
from tests.helpers.web_page import CLASSES, DIGITS, RGB, SEVEN, Site, expected, not_finite, rgb_classifier


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("sites")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NODE_PATH", node_path())
        write_site(folder / "digits", onnx_ig.load(DIGITS))
        write_site(folder / "rgb", onnx_ig.load(rgb_classifier()), pictures=RGB, classes=CLASSES)
        write_site(folder / "nan", onnx_ig.load(not_finite()))
        write_site(folder / "any-size", onnx_ig.load(rgb_classifier()), classes=CLASSES)
    with served(folder) as address:
        yield address


@pytest.fixture
def open_site(browser: Browser, sites: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    opened: list[Site] = []

    def opener(name: str, **options: Any) -> Site:
        page = browser.new_page(**{"viewport": {"width": 1100, "height": 900}, **options})
        opened.append(Site(page, f"{sites}{name}/"))
        return opened[-1]

    yield opener
    for site in opened:
        site.page.close()
        assert site.problems == []


def colours(canvas: Locator) -> np.ndarray:
    """The canvas's pixels, [H · W, 3]."""
    data = canvas.evaluate("(c) => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")
    return np.reshape(data, (-1, 4))[:, :3]


def test_a_drawn_seven_is_read_and_explained(open_site: Any, tmp_path: Path) -> None:
    site = open_site("digits")
    site.draw()
    site.says("Predicted 7")
    site.page.get_by_label("Drawing area").screenshot(path=tmp_path / "drawn.png")
    _, score, _ = expected(onnx.load(DIGITS), tmp_path / "drawn.png", PictureOptions())
    assert site.number("score") == pytest.approx(score, rel=0.05), "not the whole drawing is explained"
    assert site.page.locator("#classes button").first.inner_text().startswith("7")
    red, _, blue = colours(site.page.locator("#heatmap")).T.astype(int)
    assert (red > blue + 60).sum() > 5, "no pixel raises the score"
    assert abs(site.number("delta")) < 0.02 * abs(site.number("score") - site.number("baseline-score"))
    site.shot("drawn")
    predicted = site.number("score")
    site.page.get_by_label("Explain the class").select_option("3")
    site.says("Predicted 7, explained 3")
    assert site.number("score") < predicted
    deltas = []
    for steps in ("2", "500"):
        site.page.get_by_label("Steps").fill(steps)
        site.page.get_by_label("Steps").press("Enter")
        site.settled()
        deltas.append(abs(site.number("delta")))
    assert deltas[1] < deltas[0] / 10
    site.page.locator("#classes button", has_text="7").click()
    site.says("Predicted 7")
    site.page.get_by_role("button", name="Clear").click()
    site.says("Draw, or choose a picture.")
    expect(site.page.locator("#result")).to_be_hidden()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture of another size than the model's, with smooth colours and a transparent corner."""
    y, x = np.mgrid[0:60, 0:44] / 60
    pixels = np.stack([x, y, 0.5 + 0.5 * np.sin(9 * x * y), x + y < 1.3], axis=-1)
    Image.fromarray(np.rint(255 * pixels).astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize(("name", "way"), [("digits", "choose"), ("rgb", "drop")])
def test_a_picture_gives_python_s_numbers(name: str, way: str, open_site: Any, photo: Path) -> None:
    digits = (onnx.load(DIGITS), SEVEN, PictureOptions(), [str(i) for i in range(10)])
    model, picture, options, classes = digits if name == "digits" else (rgb_classifier(), photo, RGB, CLASSES)
    site = open_site(name)
    site.give(picture, way)
    target, score, per_pixel = expected(model, picture, options)
    site.says(f"Predicted {classes[target]}")
    site.shot(name)
    assert site.number("score") == pytest.approx(score, rel=1e-2)
    assert np.abs(per_pixel).max() == pytest.approx(abs(site.strongest()[0][2]), rel=2e-2)
    for row, column, value in site.strongest():
        assert value == pytest.approx(per_pixel[row, column], rel=5e-2)


def test_a_model_of_any_size_takes_the_picture_s_own(open_site: Any, photo: Path) -> None:
    site = open_site("any-size")
    for longest, size in (("256", (60, 44)), ("30", (30, 22))):
        site.page.get_by_label("Longest side").fill(longest)
        site.page.get_by_label("Longest side").press("Enter")
        site.give(photo, "choose")
        target, score, per_pixel = expected(rgb_classifier(), photo, PictureOptions(size=size))
        site.says(f"Predicted {CLASSES[target]}")
        expect(site.page.locator("#heatmap")).to_have_attribute("height", str(size[0]))
        assert site.page.locator("#heatmap").get_attribute("width") == str(size[1])
        assert site.number("score") == pytest.approx(score, rel=1e-2)
        row, column, value = site.strongest()[0]
        assert value == pytest.approx(per_pixel[row, column], rel=5e-2)


def test_a_page_opened_once_works_without_its_server(browser: Browser, sites: str, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NODE_PATH", node_path())
        write_site(tmp_path / "page", onnx_ig.load(DIGITS))
    with browser.new_context() as context:
        with served(tmp_path) as address:
            site = Site(context.new_page(), f"{address}page/")
            expect(site.page.locator("#offline")).to_have_text("· works without a network now")
        context.set_offline(True)
        site.page.reload()
        site.give(SEVEN, "choose")
        site.says("Predicted 7")
        assert site.text("runtime") == "WebAssembly" and site.problems == []


def test_the_keyboard_is_enough(open_site: Any) -> None:
    site = open_site("digits")
    keys = site.page.keyboard
    keys.press("Tab")
    expect(site.page.get_by_label("Drawing area")).to_be_focused()
    for key in ("ArrowUp " * 4 + "Space " + "ArrowDown " * 8).split():
        keys.press(key)
    site.says("Predicted 1")
    site.shot("keyboard")
    for _ in range(3):
        keys.press("Tab")  # Clear, Choose a picture, Invert
    expect(site.page.get_by_label("Invert light and dark")).to_be_focused()
    keys.press("Tab")
    keys.press("4")
    site.says("Predicted 1, explained 4")
    keys.press("Tab")
    keys.press("ArrowUp")
    keys.press("Tab")
    site.settled()
    assert site.page.get_by_label("Steps").input_value() == "51"
    focused = site.page.locator("#classes button:focus")
    expect(focused).to_have_count(1)
    keys.press("Enter")
    site.says("Predicted 1")
    expect(focused).to_have_attribute("aria-pressed", "true")


def test_a_phone_shows_all_of_it(open_site: Any) -> None:
    site = open_site("digits", viewport={"width": 360, "height": 740}, has_touch=True, color_scheme="dark")
    site.draw()
    site.says("Predicted 7")
    site.shot("phone")
    assert site.page.evaluate("document.documentElement.scrollWidth") == 360
    for control in site.page.locator("button:visible, .button, select, input[type=number]:visible").all():
        box = control.bounding_box()
        assert box is not None and box["height"] >= 35, control


def test_what_goes_wrong_is_said_in_the_page(open_site: Any, tmp_path: Path) -> None:
    alert = "#error"
    site = open_site("digits")
    (tmp_path / "text.png").write_text("no picture")
    site.give(tmp_path / "text.png", "choose")
    expect(site.page.locator(alert)).to_contain_text("text.png is not a picture")
    site.give(SEVEN, "choose")
    site.says("Predicted 7")
    expect(site.page.locator(alert)).to_be_hidden()
    site.page.get_by_label("Steps").fill("0")
    site.page.get_by_label("Steps").blur()
    expect(site.page.locator(alert)).to_contain_text("from 1 to 1000")
    site = open_site("nan")
    site.draw()
    expect(site.page.locator(alert)).to_contain_text("not finite")
    expect(site.page.locator("#result")).to_be_hidden()


@pytest.mark.parametrize("file", ["settings.json", "worker.js", "ort.js", "model.onnx"])
def test_a_page_that_is_not_complete_says_so(file: str, browser: Browser, sites: str) -> None:
    with browser.new_page() as page:
        page.route(f"**/{file}", lambda route: route.fulfill(status=404))
        page.goto(f"{sites}digits/")
        expect(page.get_by_role("alert")).to_contain_text(re.compile(r"settings\.json|could not be opened"))


def test_the_scripts_agree_with_python(open_site: Any, photo: Path) -> None:
    page = open_site("rgb").page
    for n in (1, 2, 3, 50, 1000):
        got = page.evaluate(
            """async (n) => {
              const { gaussLegendre } = await import("./quadrature.js");
              return Object.values(gaussLegendre(n)).map((values) => [...values]);
            }""",
            n,
        )
        np.testing.assert_allclose(got, path_nodes_and_weights("gausslegendre", n), rtol=1e-6)
    for size, axes, channels in (
        ((20, 28), "NCHW", 3),
        ((75, 90), "NHWC", 3),
        ((60, 44), "NHWC", 1),
        ((9, 7), "CHW", 1),
    ):
        dims = [{"N": 1, "C": channels, "H": size[0], "W": size[1]}[axis] for axis in axes]
        options = PictureOptions(mean=(0.4,), std=(0.2,), layout="NHWC" if axes == "NHWC" else "NCHW")
        want = read_input(photo, InputSpec("x", np.dtype("float32"), tuple(dims)), options).value
        got = page.evaluate(
            """async ([bytes, input]) => {
              const { prepared } = await import("./picture.js");
              return [...prepared(await createImageBitmap(new Blob([new Uint8Array(bytes)])), input, false).values];
            }""",
            [list(photo.read_bytes()), {"axes": axes, "dims": dims, "mean": [0.4], "std": [0.2]}],
        )
        # Pillow rounds to whole grey levels, up to three times; 0.2 is the standard deviation above
        np.testing.assert_allclose(np.reshape(got, dims), want, rtol=0, atol=2 / 255 / 0.2)
