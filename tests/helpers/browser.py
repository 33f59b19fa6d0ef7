"""A real browser for the tests, and a static server for the pages it opens."""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from onnx_ig.checking.runtimes import web


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which ``folder`` is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@contextmanager
def chromium(provider: str = "wasm") -> Iterator[Browser]:
    """Chromium, the one that onnx_ig finds, with or without WebGPU (computed by the CPU); an error that says what to
    install where there is none."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(**web.launch_options(provider=provider))
        yield started
        started.close()
