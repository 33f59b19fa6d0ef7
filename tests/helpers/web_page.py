"""The web page as a person uses it, and the models that the tests put behind it."""

from pathlib import Path

import numpy as np
import onnx
from playwright.sync_api import Page, expect

import onnx_ig
from onnx_ig.data import InputSpec, PictureOptions, read_input
from tests.helpers.node_runtime import ROOT

expect.set_options(timeout=60_000)  # a browser on a busy machine is slow, not wrong

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

    def give(self, file: Path, way: str) -> None:
        """Choose or drop a picture."""
        if way == "choose":
            self.page.get_by_label("Choose a picture").set_input_files(file)
            return
        transfer = self.page.evaluate_handle(
            """([bytes, name]) => {
              const transfer = new DataTransfer();
              transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
              return transfer;
            }""",
            [list(file.read_bytes()), file.name],
        )
        for event in ("dragover", "drop"):
            self.page.dispatch_event("body", event, {"dataTransfer": transfer})
