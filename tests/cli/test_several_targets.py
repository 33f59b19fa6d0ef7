"""``attribute --targets``: one report, with a line and a drawing for each class of each example.

The one idea: what Python explains target by target is the truth; every source and every way to name targets must give
those numbers, on axis 1 of the arrays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from playwright.sync_api import Browser

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.common.types import Array
from onnx_ig.report import shards
from tests.helpers.browser import chromium
from tests.helpers.several_classes import DIGITS, IMAGES, MAPS, X, net

CLASSES = ["ant", "bee", "cat", "dog", "eel", "fox"]
FACTORY = """
import torch
def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 6)).eval()
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    onnx.save(net(), "net.onnx")
    onnx.save(net("3"), "whole.onnx")
    onnx.save(MAPS, "maps.onnx")
    np.save("x.npy", X)
    np.save("whole.npy", X[:3])
    np.save("images.npy", IMAGES)
    np.save("rows.npy", np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]))
    Path("names.json").write_text(json.dumps({"classes": CLASSES}))
    Path("made_for_targets.py").write_text(FACTORY)
    return tmp_path


def run(command: str) -> Result:
    return CliRunner().invoke(app, command.split())


def succeed(command: str) -> Result:
    done = run(command)
    assert done.exit_code == 0, done.output + done.stderr
    return done


def module() -> torch.nn.Module:
    made: dict[str, Any] = {}
    exec(FACTORY, made)
    found: torch.nn.Module = made["make"]()
    return found


# the command, what Python explains, its targets, its options
PLAIN: dict[str, tuple[str, Any, Any, dict[str, Any]]] = {
    "largest": ("net.onnx -i x.npy --targets top-3", net, "top-3", {}),
    "indices": ("net.onnx -i x.npy --targets 4,0", net, [4, 0], {}),
    "names": ("net.onnx -i x.npy --targets eel,ant --names names.json", net, [4, 0], {}),
    "of each row": ("net.onnx -i x.npy --targets @rows.npy", net, [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]], {}),
    "tolerance": ("net.onnx -i x.npy --targets top-2 --tolerance 0.05", net, "top-2", {"tolerance": 0.05}),
    "pieces": ("net.onnx -i x.npy --targets top-2 --rows-per-file 2", net, "top-2", {}),
    "rows in pieces": (
        "net.onnx -i x.npy --targets @rows.npy --rows-per-file 2", net, [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]], {}
    ),
    "baseline": ("net.onnx -i x.npy --targets top-2 --baseline 0.5", net, "top-2", {"baselines": 0.5}),
    "inside": ("net.onnx -i x.npy --targets top-2 --at h", net, "top-2", {}),
    "a factory": ("made_for_targets:make -i x.npy --targets top-2", module, "top-2", {}),
}  # fmt: skip


def arrays(folder: str) -> dict[str, Array]:
    files = [np.load(file) for file in sorted(Path(folder).glob("attributions*.npz"))]
    return {key: np.concatenate([file[key] for file in files]) for key in files[0].files}


@pytest.mark.parametrize("name", PLAIN)
def test_each_target_has_the_numbers_of_python(work: Path, name: str) -> None:
    command, source, targets, options = PLAIN[name]
    done = succeed(f"attribute {command} -o out --draw none --provider cpu")
    made = source()
    x: Any = torch.from_numpy(X) if isinstance(made, torch.nn.Module) else X
    method = onnx_ig.IntegratedGradients(made, provider="cpu", at="h" if name == "inside" else None)
    expected = method.explain_targets(x, targets, **options)
    found = arrays("out")
    (key,) = (key for key in found if key.startswith("attribution_"))
    assert found[key].shape[:2] == found["target"].shape == (5, len(expected))
    for k, one in enumerate(expected):
        assert np.array_equal(found["target"][:, k], one.report.target)
        np.testing.assert_allclose(found[key][:, k], np.asarray(one.attributions), atol=1e-5)
        np.testing.assert_allclose(found["score"][:, k], np.asarray(one.scores), rtol=1e-5)
    report = json.loads(Path("out/report.json").read_text())
    assert report["targets"] == len(expected) and report["summary"]["examples"] == 5
    assert [e["example"] for e in report["examples"]] == np.repeat(np.arange(5), len(expected)).tolist()
    assert [e["target"] for e in report["examples"]] == found["target"].ravel().tolist()
    if name == "names":
        assert {e["target_name"] for e in report["examples"]} == {"eel", "ant"} and "4 (eel)" in done.stdout


# how the file is exported, and what attribute is given for it
FILES = {
    "largest": ("--targets top-2", ""),
    "indices": ("--targets 4,0", ""),
    "names again": ("--targets 4,0", "--targets 4,0"),
    "as an input": ("--targets input-2", "--targets top-2"),
    "one after the other": ("--target input", "--targets top-2"),
    "tolerance": ("--targets top-2 --tolerance 0.05", ""),
    "steps": ("--targets top-2 --form step", ""),
    "no path": ("--targets top-2 --algorithm input-x-gradient", ""),
}


@pytest.mark.parametrize("name", FILES)
def test_exported_files_have_the_numbers_of_the_model(work: Path, name: str) -> None:
    exported, given = FILES[name]
    succeed(f"export net.onnx -o file.onnx {exported}")
    succeed(f"attribute file.onnx -i x.npy {given} -o out --draw none --provider cpu --rows-per-file 3")
    rest = " ".join(exported.split()[2:]).replace("--form step", "")
    targets = "4,0" if "4,0" in exported else "top-2"
    succeed(f"attribute net.onnx -i x.npy --targets {targets} {rest} -o want --draw none --provider cpu")
    found, want = arrays("out"), arrays("want")
    for key in found:
        if key != "error_estimate":
            np.testing.assert_allclose(found[key], want[key], atol=2e-5, err_msg=key)


def test_input_x_gradient_and_models_without_a_batch(work: Path) -> None:
    succeed("attribute net.onnx -i x.npy --targets top-2 --algorithm input-x-gradient -o ixg --draw none")
    method = onnx_ig.InputXGradient(net(), provider="cpu")
    found = arrays("ixg")
    for k in range(2):
        want = method.attribute(X, target=found["target"][:, k])
        np.testing.assert_allclose(found["attribution_x"][:, k], want, atol=1e-6)
    alone = "attribute whole.onnx -i whole.npy --batch-axis none --n-steps 6"
    succeed(f"{alone} --targets 0,1;2,5 -o several --draw none")
    succeed(f"{alone} --target 2,5 -o one --draw none")
    assert arrays("several")["attribution_x"].shape == (1, 2, 3, 4)
    np.testing.assert_allclose(arrays("several")["attribution_x"][0, 1], arrays("one")["attribution_x"], atol=1e-6)


def test_what_was_interrupted_goes_on(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "attribute net.onnx -i x.npy --targets top-2 --rows-per-file 2 --draw none -o"
    succeed(f"{command} whole")
    write = shards.Shards.add

    def ended(self: shards.Shards, *arguments: Any) -> None:
        if len(self.finished) == 2:
            raise KeyboardInterrupt
        write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(shards.Shards, "add", ended)
        assert run(f"{command} out").exit_code == 130
    refused = run(f"{command} out --resume".replace("top-2", "top-3"))
    assert refused.exit_code == 2 and "options changed" in refused.stderr
    assert "4 explained examples" in run(f"{command} out").stderr.replace("holds 4", "4")
    succeed(f"{command} out --resume")
    for file in Path("whole").glob("attributions*"):
        assert (Path("out") / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("attribute net.onnx -i x.npy --target 1 --targets 2,3", 2, "contradict each other"),
        ("attribute net.onnx -i x.npy --targets best,worst", 2, "'best' is neither an index nor the name of a class"),
        ("attribute net.onnx -i x.npy --targets input-2", 2, "is for export"),
        ("attribute net.onnx -i x.npy --targets top-7", 4, "not that many classes"),
        ("attribute net.onnx -i x.npy --targets 0,6", 4, "6"),
        ("attribute maps.onnx -i x.npy --targets top-2", 4, "not that many classes"),
        ("attribute net.onnx -i x.npy --targets @x.npy", 4, "integers"),
        ("export net.onnx --target 1 --targets 2,3", 2, "contradict each other"),
    ],
)
def test_what_cannot_be_meant_is_refused(work: Path, command: str, code: int, words: str) -> None:
    out = "out.onnx" if command.startswith("export") else "out"
    refused = run(f"{command} -o {out}")
    assert (refused.exit_code, words in refused.stderr) == (code, True), refused.stderr
    assert not Path(out).exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def test_the_page_shows_class_by_class(work: Path, browser: Browser) -> None:
    succeed(f"attribute {DIGITS} -i images.npy --targets top-2 --draw 3 --n-steps 8 -o out")
    wanted = json.loads(Path("out/report.json").read_text())["examples"]
    page = browser.new_page(viewport={"width": 390, "height": 800})
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.goto((work / "out" / "report.html").as_uri())
    titles = page.locator("section > h2").all_inner_texts()
    assert titles[:4] == [f"Example {e['example']}: target {e['target']}, F(x) = {e['score']:.4g}" for e in wanted[:4]]
    drawn = page.locator("section img").count()
    assert drawn == 6 and len({*page.locator("section img").evaluate_all("all => all.map(i => i.alt)")}) == 6
    assert page.evaluate("document.documentElement.scrollWidth") <= 390 and not problems
    page.close()
