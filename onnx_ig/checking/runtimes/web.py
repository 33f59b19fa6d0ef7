"""ONNX Runtime in a browser (npm package onnxruntime-web): a page in headless Chromium runs the model, by WebAssembly
or by WebGPU.

The one idea: Playwright drives the browser from a thread of its own, so that any thread may ask, an event loop's too.
It is started once and ends with this process; what the page loads is given to it from files, by no server.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import shutil
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_ig.checking.runtimes import npm
from onnx_ig.checking.runtimes.base import Opened, Runtime, refused
from onnx_ig.checking.runtimes.tensors import arrays, described
from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError

if TYPE_CHECKING:
    from playwright.async_api import Route

_TITLE = "onnxruntime-web"
_ADDRESS = "http://onnx-ig.localhost/"
_PAGE = '<!doctype html><title>onnx-ig</title><input type="file"><script type="module" src="browser.mjs"></script>'
_TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm"}
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_STARTING = 180_000  # milliseconds, on a busy machine


@dataclass(frozen=True)
class _Kind:
    """What computes: the package's bundle with its WebAssembly (WebGPU has it too, for what has no shader), and what
    Chromium is started with."""

    provider: str
    title: str
    bundle: str
    binary: str
    switches: tuple[str, ...]


_KINDS = {
    "wasm": _Kind("wasm", _TITLE, "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm", ("--disable-gpu",)),
    "webgpu": _Kind(
        "webgpu",
        f"{_TITLE} (WebGPU)",
        "ort.webgpu.bundle.min.mjs",
        "ort-wasm-simd-threaded.asyncify.wasm",
        ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"),  # a GPU's shaders, computed by the CPU
    ),
}


class _Page:
    """One page in one browser."""

    def __init__(self, package: Path, program: str, kind: _Kind) -> None:
        here = Path(__file__).parent
        self._kind = kind
        self._files = {
            "browser.mjs": here / "browser.mjs",
            "answer.mjs": here / "answer.mjs",
            "ort.mjs": package / "dist" / kind.bundle,
            kind.binary: package / "dist" / kind.binary,
        }
        self._one_at_a_time, self._ended = threading.Lock(), False
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        atexit.register(self.close)
        self._driven(self._start(program))

    def open(self, path: Path) -> str:
        """The page's address of a file here."""
        with self._one_at_a_time:
            return str(self._driven(self._choose(path)))

    def ask(self, request: Mapping[str, Any], doing: str) -> Mapping[str, Any]:
        """The page's answer.

        Raises:
            ModelError: onnxruntime-web refused, or the browser ended.
        """
        with self._one_at_a_time:
            answer = self._driven(self._answer({**request, "provider": self._kind.provider}))
        if "error" in answer:
            raise refused(self._kind.title, doing, str(answer["error"]))
        return dict(answer)

    def close(self) -> None:
        """End the browser; the next model gets a new one."""
        if self._ended:
            return
        self._ended = True
        atexit.unregister(self.close)
        _page.cache_clear()
        asyncio.run_coroutine_threadsafe(self._playwright.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _driven(self, work: Coroutine[Any, Any, Any]) -> Any:
        from playwright.async_api import Error

        if self._ended:  # nothing runs on its loop any more, so an answer would never come
            work.close()
            raise refused(self._kind.title, "run", "the browser ended; open the model again")
        doing = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return doing.result()
        except Error as error:
            self.close()
            raise refused(self._kind.title, "run", f"the browser ended: {str(error).splitlines()[0]}") from error
        finally:
            doing.cancel()  # if this thread was interrupted

    async def _start(self, program: str) -> None:
        from playwright.async_api import async_playwright

        self._playwright = await async_playwright().start()
        browser = await self._playwright.chromium.launch(**launch_options(program, self._kind.provider))
        self._page = await browser.new_page()
        await self._page.route("**/*", self._give)
        await self._page.goto(_ADDRESS, timeout=_STARTING)

    async def _give(self, route: Route) -> None:
        name = route.request.url.removeprefix(_ADDRESS)
        if name == "":
            await route.fulfill(body=_PAGE, content_type="text/html")
        elif name in self._files:
            await route.fulfill(path=self._files[name], content_type=_TYPES[Path(name).suffix])
        else:
            await route.continue_() if name.startswith("blob:") else await route.abort()

    async def _answer(self, request: Mapping[str, Any]) -> Any:
        return await self._page.evaluate("request => answered(request)", request)

    async def _choose(self, path: Path) -> Any:
        await self._page.set_input_files("input", path.resolve())
        return await self._page.evaluate("chosen()")


class _Model:
    def __init__(self, path: Path, kind: _Kind) -> None:
        self._page = _page(_package(), _program(), kind)
        self._address = self._page.open(path)
        self._page.ask({"model": self._address, "feeds": None}, "open the model")

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        request = {"model": self._address, "feeds": described(feeds, _TITLE)}
        return arrays(self._page.ask(request, "run the model")["outputs"])

    def seconds(self, feeds: Mapping[str, Array], runs: int) -> float:
        request = {"model": self._address, "feeds": described(feeds, _TITLE), "runs": runs}
        return float(self._page.ask(request, "run the model")["milliseconds"]) / 1000


_page = functools.cache(_Page)


def launch_options(program: str | None = None, provider: str = "wasm") -> dict[str, Any]:
    """How Playwright starts Chromium for ``provider`` (wasm: without a GPU), with no business of its own with the
    network."""
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0  # with its sandbox it does not start then
    return {
        "executable_path": program or _program(),
        "args": [*_KINDS[provider].switches, "--disable-quic", "--disable-sync"],
        "chromium_sandbox": not as_root,
        "timeout": _STARTING,
    }


def _program() -> str:
    """Chromium or Chrome: CHROME_PATH, else the first on PATH.

    Raises:
        MissingDependencyError: there is none, or no Playwright.
    """
    try:
        import playwright  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "running a model in a browser needs Playwright: pip install 'onnx-ig[browser]'"
        ) from error
    named = os.environ.get("CHROME_PATH")
    if named and not shutil.which(named):
        raise MissingDependencyError(
            f"CHROME_PATH is {named}, which is no program; set it to that of Chromium or Chrome"
        )
    found = named or next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        raise MissingDependencyError(
            "running a model in a browser needs Chromium or Chrome: install it (Debian: apt install chromium), or set "
            "CHROME_PATH to its program"
        )
    return found


def _package() -> Path:
    return npm.package("onnxruntime-web", "running a model in a browser")


def _version() -> str:
    """The package's.

    Raises:
        MissingDependencyError: there is none, or nothing that it runs in.
    """
    package = _package()
    _program()
    return npm.version(package)


def _open(path: Path) -> Opened:
    return _Model(path, _KINDS["wasm"])


def _open_on_gpu(path: Path) -> Opened:
    return _Model(path, _KINDS["webgpu"])


RUNTIME = Runtime("web", _TITLE, _version, _open)
WEBGPU = Runtime("webgpu", _KINDS["webgpu"].title, _version, _open_on_gpu)
