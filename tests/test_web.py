"""The web page in a real browser: drawing, pictures, choices, the keyboard, a phone, and what goes wrong."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.data import InputSpec, PictureOptions, read_input
from onnx_ig.errors import InputError, MissingDependencyError, UsageError
from onnx_ig.quadrature import path_nodes_and_weights
from onnx_ig.web import write_site
from tests.browser import chromium, served
from tests.node_runtime import ROOT, node_path

DIGITS = ROOT / "models" / "digits_cnn" / "digits_cnn.onnx"
SEVEN = DIGITS.with_name("seven.png")
SCREENSHOTS = ROOT / "out" / "web"
RGB = PictureOptions(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), size=(20, 28))
CLASSES = ["cat", "dog", "bird", "fish"]
STROKES = [[(0.2, 0.1), (0.8, 0.1), (0.45, 0.95)], [(0.35, 0.5), (0.75, 0.5)]]  # a 7 with its bar


def rgb_classifier() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        f (float[N, 3, H, W] pixels) => (float[N, 4] scores) {
            c = Conv <kernel_shape = [3, 3], strides = [2, 2]> (pixels, kernel)
            r = Relu(c)  m = GlobalAveragePool(r)  flat = Flatten(m)  scores = MatMul(flat, weight)
        }"""
    )
    for name, shape in (("kernel", (8, 3, 3, 3)), ("weight", (8, 4))):
        array = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def not_finite() -> onnx.ModelProto:
    """The square root has no derivative at the baseline."""
    return onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        f (float[N, 1, 4, 4] x) => (float[N, 16] y) { z = Sqrt(x)  w = Div(z, z)  y = Flatten(w) }"""
    )


@pytest.fixture(scope="module", autouse=True)
def packages() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NODE_PATH", node_path())
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("sites")
    write_site(folder / "digits", onnx_ig.load(DIGITS))
    write_site(folder / "rgb", onnx_ig.load(rgb_classifier()), pictures=RGB, classes=CLASSES)
    write_site(folder / "nan", onnx_ig.load(not_finite()))
    with served(folder) as address:
        yield address


class Site:
    """The page, as a person uses it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.problems = page, list[str]()
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda message: self.problems.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda request: None if request.url.startswith((address, "blob:")) else self.problems.append(request.url),
        )
        page.goto(address)
        expect(page.locator("#explanation")).to_have_attribute("data-state", "open")

    def draw(self) -> None:
        box = self.page.get_by_label("Drawing area").bounding_box()
        assert box is not None
        places = [[(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in line] for line in STROKES]
        for line in places:
            self.page.mouse.move(*line[0])
            self.page.mouse.down()
            for place in line[1:]:
                self.page.mouse.move(*place, steps=8)
            self.page.mouse.up()
        self.settled()

    def settled(self) -> None:
        """Wait until nothing is being computed."""
        self.page.evaluate("() => new Promise(requestAnimationFrame)")
        expect(self.page.locator("#explanation")).to_have_attribute("aria-busy", "false")

    def says(self, text: str) -> None:
        expect(self.page.get_by_role("status")).to_have_text(text)
        self.settled()

    def number(self, id: str) -> float:
        return float(self.text(id).split()[0].replace("−", "-"))

    def text(self, id: str) -> str:
        return self.page.locator(f"#{id}").inner_text()

    def strongest(self) -> list[tuple[int, int, float]]:
        self.page.locator("details").evaluate("(details) => { details.open = true; }")
        rows = [line.replace("−", "-").split() for line in self.page.locator("#strongest tr").all_inner_texts()]
        return [(int(row), int(column), float(value)) for row, column, value in rows]

    def shot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


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


def expected(model: onnx.ModelProto, picture: Path, options: PictureOptions) -> tuple[int, float, np.ndarray]:
    """The predicted class of a picture, F(x), and what Python attributes to each pixel."""
    (x,) = onnx_ig.load(model).inputs
    assert x.shape is not None
    spec = InputSpec(str(x.name), np.dtype("float32"), tuple(d if isinstance(d, int) else d.value for d in x.shape))
    value = read_input(picture, spec, options).value
    scores = onnx.reference.ReferenceEvaluator(model).run(None, {spec.name: value})[0][0]
    target = int(scores.argmax())
    attribution = onnx_ig.IntegratedGradients(model, provider="cpu").attribute(value, target=target)
    return target, float(scores[target]), attribution[0].sum(axis=0)


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


def give(site: Site, file: Path, way: str) -> None:
    if way == "choose":
        site.page.get_by_label("Choose a picture").set_input_files(file)
        return
    transfer = site.page.evaluate_handle(
        """([bytes, name]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
          return transfer;
        }""",
        [list(file.read_bytes()), file.name],
    )
    for event in ("dragover", "drop"):
        site.page.dispatch_event("body", event, {"dataTransfer": transfer})


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture of another size than the model's, with smooth colours and a transparent corner."""
    y, x = np.mgrid[0:60, 0:44] / 60
    pixels = np.stack([x, y, 0.5 + 0.5 * np.sin(9 * x * y), x + y < 1.3], axis=-1)
    Image.fromarray(np.rint(255 * pixels).astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("way", ["choose", "drop"])
def test_a_picture_gives_python_s_numbers(way: str, open_site: Any, photo: Path) -> None:
    for name, model, picture, options in (
        ("digits", onnx.load(DIGITS), SEVEN, PictureOptions()),
        ("rgb", rgb_classifier(), photo, RGB),
    ):
        site = open_site(name)
        give(site, picture, way)
        target, score, per_pixel = expected(model, picture, options)
        site.says(f"Predicted {CLASSES[target] if name == 'rgb' else target}")
        assert site.number("score") == pytest.approx(score, rel=1e-2)
        assert np.abs(per_pixel).max() == pytest.approx(abs(site.strongest()[0][2]), rel=2e-2)
        for row, column, value in site.strongest():
            assert value == pytest.approx(per_pixel[row, column], rel=5e-2)
    site.shot(f"rgb-{way}")


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(scheme: str, open_site: Any) -> None:
    site = open_site("digits", viewport={"width": 360, "height": 740}, has_touch=True, color_scheme=scheme)
    site.draw()
    site.says("Predicted 7")
    site.shot(f"phone-{scheme}")
    assert site.page.evaluate("document.documentElement.scrollWidth") == 360
    for control in site.page.locator("button:visible, .button, select, input[type=number]").all():
        box = control.bounding_box()
        assert box is not None and box["height"] >= 35, control


def test_what_goes_wrong_is_said_in_the_page(open_site: Any, tmp_path: Path) -> None:
    alert = "#error"
    site = open_site("digits")
    (tmp_path / "text.png").write_text("no picture")
    give(site, tmp_path / "text.png", "choose")
    expect(site.page.locator(alert)).to_contain_text("text.png is not a picture")
    give(site, SEVEN, "choose")
    site.says("Predicted 7")
    expect(site.page.locator(alert)).to_be_hidden()
    site.page.get_by_label("Steps").fill("0")
    site.page.get_by_label("Steps").blur()
    expect(site.page.locator(alert)).to_contain_text("from 1 to 1000")
    site = open_site("nan")
    site.draw()
    expect(site.page.locator(alert)).to_contain_text("not finite")
    expect(site.page.locator("#result")).to_be_hidden()


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


BAKED: dict[str, tuple[dict[str, Any], str]] = {
    "path": ({}, "the path baked in"),
    "target": ({"target": "predicted", "path_as_input": True}, "no single class"),
    "baseline": ({"baselines": "input", "path_as_input": True}, "the baseline as an input"),
    "form": ({"form": "step"}, "the step form"),
    "algorithm": ({"algorithm": "input-x-gradient"}, "input-x-gradient"),
    "factor": ({"multiply_by_inputs": False, "path_as_input": True}, "local attributions"),
}


@pytest.mark.parametrize("name", BAKED)
def test_an_attribution_model_must_leave_open_what_the_page_chooses(name: str, tmp_path: Path) -> None:
    keywords, what = BAKED[name]
    model = onnx_ig.load(onnx_ig.export(DIGITS, tmp_path / "model.onnx", **keywords))
    with pytest.raises(UsageError, match=what):
        write_site(tmp_path / "site", model)
    assert not (tmp_path / "site").exists()


def test_writing_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx_ig.load(onnx_ig.export(DIGITS, tmp_path / "model.onnx", path_as_input=True))
    site = tmp_path / "site"
    files = write_site(site, model, classes=[str(i) for i in range(10)])
    assert sorted(site.iterdir()) == files
    assert json.loads((site / "settings.json").read_text())["names"]["scores"] == "logits"
    assert write_site(site, model) == files
    (site / "settings.json").unlink()
    with pytest.raises(UsageError, match="already holds"):
        write_site(site, model)
    assert write_site(site, model, overwrite=True) == files
    with pytest.raises(InputError, match="2 class names"):
        write_site(site, model, classes=["no", "yes"])
    with pytest.raises(InputError, match="--size"):
        write_site(site, onnx_ig.load(rgb_classifier()))
    with pytest.raises(UsageError, match="3 numbers"):
        write_site(site, model, pictures=RGB)
    monkeypatch.delenv("NODE_PATH")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingDependencyError, match="npm install onnxruntime-web"):
        write_site(site, model)


COMMANDS: dict[str, tuple[str, int, str]] = {
    "a plain model": (f"{DIGITS}", 0, "wrote 13 files"),
    "an attribution model": ("open.onnx --names digits.json", 0, "wrote 13 files"),
    "a torch source": (
        f"models.digits_cnn.model:digits_cnn --weights {DIGITS.with_suffix('.safetensors')} --example-input 1x1x8x8",
        0,
        "wrote 13 files",
    ),
    "what is baked": ("baked.onnx", 2, "the path baked in"),
    "an option for plain models": ("open.onnx --baseline 1", 2, "--baseline"),
    "no picture": (f"{ROOT / 'models' / 'tabular_mlp' / 'tabular_mlp.onnx'}", 4, "rank 4"),
    "no size": ("rgb.onnx", 4, "--size"),
    "no model": ("absent.onnx", 2, "absent.onnx"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_command_line(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, code, said = COMMANDS[case]
    monkeypatch.chdir(tmp_path)
    if "open" in arguments:
        onnx_ig.export(DIGITS, "open.onnx", path_as_input=True)
    elif "baked" in arguments:
        onnx_ig.export(DIGITS, "baked.onnx")
    onnx.save(rgb_classifier(), "rgb.onnx")
    Path("digits.json").write_text(json.dumps({"classes": [f"digit {i}" for i in range(10)]}))
    done = CliRunner().invoke(app, ["web", *arguments.split(), "-o", "page"])
    assert done.exit_code == code, done.output
    assert said in done.output
    assert Path("page").exists() == (code == 0)
    if "--names" in arguments:
        assert json.loads(Path("page/settings.json").read_text())["classes"][9] == "digit 9"
