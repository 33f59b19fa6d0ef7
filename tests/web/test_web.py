"""Writing the web page: what it takes, what it refuses, what the command says."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.errors import InputError, MissingDependencyError, UsageError
from onnx_ig.web import write_site
from tests.helpers.node_runtime import ROOT, node_path
from tests.helpers.web_page import DIGITS, RGB, rgb_classifier


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_PATH", node_path())


BAKED: dict[str, tuple[dict[str, Any], str]] = {
    "path": ({}, "the path baked in"),
    "target": ({"target": "predicted", "path_as_input": True}, "no single class"),
    "baseline": ({"baselines": "input", "path_as_input": True}, "the baseline as an input"),
    "form": ({"form": "step"}, "the step form"),
    "algorithm": ({"algorithm": "input-x-gradient"}, "input-x-gradient"),
    "factor": ({"multiply_by_inputs": False, "path_as_input": True}, "local attributions"),
}

SIX = """<ir_version: 8, opset_import: ["" : 18]>
f (float[N, 3, 6, 6] x) => (float[N, 4] y) <int64[4] s = {6, 3, 2, 2}, int64[4] t = {4, 6, 2, 2}, float[1] one = {1}>
    { v = Expand (one, s)  w = Expand (one, t)  a = Conv <kernel_shape = [2, 2]> (x, v)  b = Tanh (a)
    c = Conv <kernel_shape = [2, 2]> (b, w)  p = GlobalAveragePool (c)  y = Flatten (p) }"""


def test_what_webgpu_computes_wrong_is_left_to_webassembly(tmp_path: Path) -> None:
    write_site(tmp_path / "site", onnx_ig.load(onnx.parser.parse_model(SIX)))
    settings = json.loads((tmp_path / "site" / "settings.json").read_text("utf-8"))
    assert list(settings["runtimes"]) == ["wasm"]
    assert settings["note"].startswith("WebGPU is left out: Conv (")


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
    write_site(tmp_path / "open", onnx_ig.load(rgb_classifier()))
    assert json.loads((tmp_path / "open" / "settings.json").read_text())["input"]["dims"] == [1, 3, None, None]
    with pytest.raises(UsageError, match="3 numbers"):
        write_site(site, model, pictures=RGB)
    monkeypatch.delenv("NODE_PATH")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingDependencyError, match="npm install onnxruntime-web"):
        write_site(site, model)


COMMANDS: dict[str, tuple[str, int, str]] = {
    "a plain model": (f"{DIGITS}", 0, "wrote 17 files"),
    "an attribution model": ("open.onnx --names digits.json", 0, "wrote 17 files"),
    "a torch source": (
        f"models.digits_cnn.model:digits_cnn --weights {DIGITS.with_suffix('.safetensors')} --example-input 1x1x8x8",
        0,
        "wrote 17 files",
    ),
    "what is baked": ("baked.onnx", 2, "the path baked in"),
    "an option for plain models": ("open.onnx --baseline 1", 2, "--baseline"),
    "no picture": (f"{ROOT / 'models' / 'tabular_mlp' / 'tabular_mlp.onnx'}", 4, "rank 4"),
    "any size": ("rgb.onnx", 0, "wrote 17 files"),
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
