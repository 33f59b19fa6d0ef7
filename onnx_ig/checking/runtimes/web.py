"""ONNX Runtime in a browser (npm package onnxruntime-web, WebAssembly): a page in headless Chromium runs the model.

The one idea: the page comes from a server on the loopback interface and asks it for work, so that nothing but a browser
is needed to drive one. It is started once and ends with this process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import queue
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from onnx_ig.checking.runtimes import npm
from onnx_ig.checking.runtimes.base import Opened, Runtime, refused
from onnx_ig.checking.runtimes.tensors import arrays, described
from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError

_TITLE = "onnxruntime-web"
_PAGE = b'<!doctype html><title>onnx-ig</title><script type="module" src="browser.mjs"></script>'
_WASM = "ort-wasm-simd-threaded.wasm"
_TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm"}
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--disable-sync", "--disable-background-networking",
    "--disable-component-update", "--disable-dev-shm-usage", "--no-first-run",
)  # fmt: skip


class _Page:
    """One page in one browser.

    Attributes:
        files: what the server gives out, by name.
    """

    def __init__(self, program: str, package: Path) -> None:
        here = Path(__file__).parent
        self.files = {
            "browser.mjs": here / "browser.mjs",
            "answer.mjs": here / "answer.mjs",
            "ort.mjs": package / "dist" / "ort.wasm.bundle.min.mjs",
            _WASM: package / "dist" / _WASM,
        }
        self.prefix = f"/{secrets.token_urlsafe(16)}/"  # other users of this machine can reach the port
        self.requests: queue.Queue[Mapping[str, Any]] = queue.Queue()
        self.answers: queue.Queue[Mapping[str, Any]] = queue.Queue()
        self._one_at_a_time = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, self))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._profile = tempfile.TemporaryDirectory(prefix="onnx_ig_", ignore_cleanup_errors=True)
        address = f"http://127.0.0.1:{self._server.server_port}{self.prefix}"
        self._process = subprocess.Popen(
            [program, *flags(), f"--user-data-dir={self._profile.name}", address],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
        threading.Thread(target=self._watch, daemon=True).start()
        atexit.register(self.close)

    def ask(self, request: Mapping[str, Any], doing: str) -> Mapping[str, Any]:
        """The page's answer.

        Raises:
            ModelError: onnxruntime-web refused, or the browser ended.
        """
        with self._one_at_a_time:
            mark = secrets.token_hex(8)
            self.requests.put({**request, "mark": mark})
            while (answer := self.answers.get())["mark"] not in (mark, None):
                pass  # of a run that was interrupted
            if answer["mark"] is None:
                self.answers.put(answer)  # for whoever asks again
                self.close()
        if "error" in answer:
            raise refused(_TITLE, doing, str(answer["error"]))
        return answer

    def end(self, why: str) -> None:
        """Tell whoever waits that no answer will come."""
        self.answers.put({"error": f"the browser ended: {why}", "mark": None})

    def close(self) -> None:
        """End the browser and forget its profile; the next model gets a new one."""
        atexit.unregister(self.close)
        _page.cache_clear()
        self._process.terminate()
        self._process.wait()
        self._server.shutdown()
        self._server.server_close()
        self._profile.cleanup()

    def _watch(self) -> None:
        _, said = self._process.communicate()
        self.end(f"status {self._process.returncode}. {said[-300:]}")


class _Handler(BaseHTTPRequestHandler):
    """Gives out files and requests, takes in answers."""

    def __init__(self, page: _Page, *arguments: Any) -> None:
        self._page = page
        super().__init__(*arguments)

    def do_GET(self) -> None:
        name = self.path.removeprefix(self._page.prefix)
        if name == "":
            self._send("text/html", _PAGE)
        elif name == "alive":
            self._stay()
        elif name in self._page.files:
            file = self._page.files[name]
            self._send(_TYPES.get(file.suffix, "application/octet-stream"), file.read_bytes())
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        if self.path != f"{self._page.prefix}next":
            self.send_error(404)
            return
        answer = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if answer is not None:  # None: the page has just been loaded
            self._page.answers.put(answer)
        self._send("application/json", json.dumps(self._page.requests.get()).encode())

    def _stay(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"\n")
                time.sleep(1)
        except OSError:  # the other end is gone
            self._page.end("the page died, perhaps for want of memory")

    def _send(self, kind: str, content: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # the page is gone, which ends ``alive`` too
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: standard error is the user's."""


class _Model:
    def __init__(self, path: Path) -> None:
        self._page = _page(program(), _package())
        self._name = f"model-{len(self._page.files)}"
        self._page.files[self._name] = path.resolve()
        self._page.ask({"model": self._name, "feeds": None}, "open the model")

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        request = {"model": self._name, "feeds": described(feeds, _TITLE)}
        return arrays(self._page.ask(request, "run the model")["outputs"])

    def seconds(self, feeds: Mapping[str, Array], runs: int) -> float:
        request = {"model": self._name, "feeds": described(feeds, _TITLE), "runs": runs}
        return float(self._page.ask(request, "run the model")["milliseconds"]) / 1000


_page = functools.cache(_Page)


def flags() -> list[str]:
    """What Chromium is started with: no window, and no business of its own with the network."""
    as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # else it does not start
    return [*_FLAGS, *as_root]


def program() -> str:
    """Chromium or Chrome: CHROME_PATH, else the first on PATH.

    Raises:
        MissingDependencyError: there is none.
    """
    found = os.environ.get("CHROME_PATH") or next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        raise MissingDependencyError(
            "running a model in a browser needs Chromium or Chrome: install it (Debian: apt install chromium), or set "
            "CHROME_PATH to its program"
        )
    return found


def _package() -> Path:
    return npm.package("onnxruntime-web", "running a model in a browser")


def _version() -> str:
    return npm.version(_package())


def _open(path: Path) -> Opened:
    return _Model(path)


RUNTIME = Runtime("web", _TITLE, _version, _open)
