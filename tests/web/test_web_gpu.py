"""The web page in a browser with WebGPU, whose shaders the CPU computes here: used, named, and left where it fails."""

from collections.abc import Iterator

import onnx
import pytest
from playwright.sync_api import Browser

import onnx_ig
from onnx_ig.data import PictureOptions
from onnx_ig.web import write_site
from tests.helpers.browser import chromium, served
from tests.helpers.node_runtime import node_path
from tests.helpers.web_page import DIGITS, SEVEN, Site, expected


@pytest.fixture(scope="module")
def with_gpu() -> Iterator[Browser]:
    with chromium("webgpu") as started:
        yield started


@pytest.fixture(scope="module")
def site_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("sites")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NODE_PATH", node_path())
        write_site(folder / "digits", onnx_ig.load(DIGITS))
    with served(folder) as address:
        yield f"{address}digits/"


def test_webgpu_gives_python_s_numbers_and_is_named(with_gpu: Browser, site_address: str) -> None:
    target, score, per_pixel = expected(onnx.load(DIGITS), SEVEN, PictureOptions())
    with with_gpu.new_page(viewport={"width": 1100, "height": 900}) as page:
        site = Site(page, site_address)
        assert page.locator("#runtime").text_content() == "WebGPU"
        site.give(SEVEN, "choose")
        site.says(f"Predicted {target}")
        assert (site.text("runtime"), site.text("runtime-note")) == ("WebGPU", "")
        site.shot("webgpu")
        assert site.number("score") == pytest.approx(score, rel=1e-2)
        for row, column, value in site.strongest():
            assert value == pytest.approx(per_pixel[row, column], rel=5e-2)
        assert site.problems == []


def test_what_fails_on_the_gpu_is_computed_by_webassembly_and_said(with_gpu: Browser, site_address: str) -> None:
    with with_gpu.new_page() as page:
        page.route("**/ort-webgpu.js", lambda route: route.fulfill(status=404))
        site = Site(page, site_address)
        site.give(SEVEN, "choose")
        site.says("Predicted 7")
        assert site.text("runtime") == "WebAssembly" and site.text("runtime-note").startswith("WebGPU failed: ")
