"""The documentation site: built without a warning, and shown without asking another server for anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import onnx_ig
from onnx_ig.cli import app
from tests.helpers.browser import chromium, served
from tests.helpers.pages import PAGES, ROOT

_UNLISTED = {"Data", "__version__"}  # what read returns is handed on


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mkdocs build --strict`: a link to nowhere, or a page that no list has, is an error."""
    folder = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


def test_every_page_is_there_and_the_references_are_full(site: Path) -> None:
    for page in PAGES:
        assert (site / page).with_suffix(".html").is_file()
    python = (site / "reference/python.html").read_text("utf-8")
    for name in dir(onnx_ig):
        assert f'id="onnx_ig.{name}"' in python or name in _UNLISTED
    assert 'id="onnx_ig.IntegratedGradients.attribute"' in python and ":class:" not in python
    commands = (site / "reference/command-line.html").read_text("utf-8")
    for command in app.commands.values():
        assert f'id="{command.name}"' in commands
        assert all(one.opts[0] in commands for one in command.params if isinstance(one, click.Option))
    assert "<strong>all</strong>" in (site / "reading.html").read_text("utf-8")  # the figures of accuracy.md


@pytest.fixture(scope="module")
def asked(site: Path) -> dict[str, list[str]]:
    """What goes wrong on each page in a browser, and what it asks of other servers."""
    found: dict[str, list[str]] = {}
    with chromium() as browser, served(site) as address:
        window = browser.new_page(viewport={"width": 390, "height": 844})
        wrong: list[str] = []
        window.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        window.on("request", lambda request: None if request.url.startswith(address) else wrong.append(request.url))
        for page in PAGES:
            window.goto(f"{address}{page.removesuffix('.md')}.html", wait_until="load")
            if window.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wrong.append("wider than a phone")
            found[page] = [*wrong]
            wrong.clear()
    return found


@pytest.mark.parametrize("page", PAGES)
def test_a_page_asks_no_other_server(page: str, asked: dict[str, list[str]]) -> None:
    assert asked[page] == []
