"""What of an installation works and what it lacks, on this one and on others made up from it."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import onnx_ig
from onnx_ig.checking import installation
from onnx_ig.checking.installation import PURPOSES, Package, examine, remedies
from onnx_ig.cli import app
from tests.helpers.node_runtime import node_path

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]


def test_every_extra_has_a_purpose() -> None:
    assert set(PURPOSES) == {"", *PROJECT["optional-dependencies"]} - {"test", "docs"}


def test_this_installation() -> None:
    found = examine()
    assert found.works and found.problems == []
    assert {trial.name: trial.works for trial in found.providers} == {"cpu": True, "openvino": True}
    assert {"onnx", "numpy", "torch", "onnxruntime"} <= {p.name for p in found.packages if p.state == "ok"}
    assert not {"pytest", "captum", "mkdocs-material"} & {p.name for p in found.packages}  # for the project's own tests
    assert found.cores >= 1 and (found.memory_bytes or 1) >= (found.free_memory_bytes or 1) > 0


_GPU = Package("onnxruntime-gpu", "gpu", ">=1.22", None, "missing")
MENDED: dict[str, tuple[list[Package], list[str]]] = {
    "nothing": ([Package("numpy", "", ">=2", "2.4", "ok")], []),
    "missing": ([Package("onnx", "", ">=1.21", None, "missing")], ["pip install onnx-ig"]),
    "extras": (
        [Package("pillow", "viz", ">=10", None, "missing"), Package("torch", "torch", ">=2", None, "missing")],
        ["pip install 'onnx-ig[viz,torch]'"],
    ),
    "too old": ([Package("numpy", "", ">=2.0", "1.26", "too old")], ["pip install --upgrade 'numpy>=2.0'"]),
    "a GPU, and ONNX Runtime without": (
        [Package("onnxruntime", "cpu", ">=1.22", "1.23", "ok"), _GPU],
        ["pip uninstall -y onnxruntime", "pip install 'onnx-ig[gpu]'"],
    ),
    "a GPU, and an old ONNX Runtime": (
        [Package("onnxruntime", "cpu", ">=1.22", "1.20", "too old"), _GPU],
        ["pip uninstall -y onnxruntime", "pip install 'onnx-ig[gpu]'"],
    ),
    "a GPU and no ONNX Runtime": (
        [Package("onnxruntime", "cpu", ">=1.22", None, "missing"), _GPU],
        ["pip install 'onnx-ig[gpu]'"],
    ),
}


@pytest.mark.parametrize("case", MENDED)
def test_the_line_that_mends_it(case: str) -> None:
    packages, lines = MENDED[case]
    assert list(remedies(packages)) == lines


def _version_but(others: dict[str, str | None]) -> Callable[[str], str | None]:
    here = installation._version

    def version(name: str) -> str | None:
        return others[name] if name in others else here(name)

    return version


# what is installed otherwise than here, and what is said
OTHERWISE: dict[str, tuple[dict[str, str | None], str]] = {
    "two ONNX Runtimes": ({"onnxruntime-gpu": "1.31.1"}, "onnxruntime and onnxruntime-gpu are both installed"),
    "an old numpy": ({"numpy": "1.20", "onnxruntime-gpu": None}, "but 1.20 is installed"),
    "no onnxscript": ({"onnxscript": None, "onnxruntime-gpu": None}, "but it is not installed"),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_problems_are_told(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others, said = OTHERWISE[case]
    monkeypatch.setattr(installation, "_version", _version_but(others))
    assert any(said in problem for problem in examine().problems)


# what the browser's runtime lacks, and what is said to install it
NO_BROWSER: dict[str, str] = {"Playwright": "onnx-ig[browser]", "Chromium": "no-such-program"}


@pytest.mark.parametrize("lacking", NO_BROWSER)
def test_a_browser_is_part_of_the_runtime_of_the_web(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_PATH", node_path())
    monkeypatch.setenv("CHROME_PATH", "no-such-program")
    if lacking == "Playwright":
        monkeypatch.setitem(sys.modules, "playwright", None)
    web = installation._found("web")
    assert not web.works and NO_BROWSER[lacking] in web.said


def test_the_command() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "onnxruntime" in result.output and "right, opened and run in" in result.output
    found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).output)
    assert found["works"] and found["versions"]["python"]


def test_wrong_numbers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = lambda *_, **__: np.array([[9.0, 15.0]])  # noqa: E731
    monkeypatch.setattr(onnx_ig.IntegratedGradients, "attribute", wrong)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 5
    assert "are 9 and 15 there" in result.output and "no provider can run a model" in result.output
