"""The clients to copy: what they print is what the reference says; the rest are at least short and well-formed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import expect
from safetensors.torch import load_file

import onnx_ig
from models.digits_cnn.model import digits_cnn
from onnx_ig.checking import reference
from tests.helpers.browser import chromium, served
from tests.helpers.node_runtime import CLIENTS, ROOT, node_modules

DIGITS = ROOT / "models" / "digits_cnn"
SOURCES = ("python/attribute.py", "node/attribute.js", "web/index.html", "cpp/attribute.cpp", "csharp/Attribute.cs",
           "java/Attribute.java", "rust/main.rs", "go/attribute.go")  # fmt: skip
RUN = ("python", "node", "web")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The exported model and the picture."""
    folder = tmp_path_factory.mktemp("client")
    model = onnx_ig.export(DIGITS / "digits_cnn.onnx", folder / "model.onnx", target="predicted")
    np.load(DIGITS / "seven.npy").astype(np.float32).tofile(folder / "seven.f32")
    return model, folder / "seven.f32"


def command(client: str) -> tuple[list[str], dict[str, str]]:
    if client == "python":
        return [sys.executable, str(CLIENTS / "python" / "attribute.py")], {}
    return ["node", str(CLIENTS / "node" / "attribute.js")], {"NODE_PATH": str(node_modules("node"))}


def run(client: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    if client == "web":
        return open_page(*arguments)
    words, environment = command(client)
    return subprocess.run(
        [*words, *map(str, arguments)], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def open_page(model: Path, picture: Path) -> subprocess.CompletedProcess[str]:
    """What the page shows, as if it were printed."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser, served(Path(folder)) as address:
        places = {"index.html": CLIENTS / "web" / "index.html", "node_modules": node_modules("web"),
                  "model.onnx": model, "picture.f32": picture}  # fmt: skip
        for name, place in places.items():
            (Path(folder) / name).symlink_to(place)
        page = browser.new_page()
        page.goto(address)
        expect(page.get_by_role("status")).not_to_have_text("computing …")
        shown, error = page.get_by_role("status").inner_text(), page.get_by_role("alert").text_content()
    return subprocess.CompletedProcess("web", bool(error), shown, error)


@pytest.mark.parametrize("client", RUN)
def test_prints_the_reference_s_features(client: str, files: tuple[Path, Path]) -> None:
    done = run(client, *files)
    assert done.returncode == 0, done.stderr
    first, *features = done.stdout.splitlines()
    net = digits_cnn()
    net.load_state_dict(load_file(DIGITS / "digits_cnn.safetensors"))
    x = torch.from_numpy(np.load(DIGITS / "seven.npy").astype(np.float32))
    (wanted,), _ = reference.integrated_gradients(net.eval(), x, 0, 7, dtype=torch.float64)
    wanted = wanted.flatten().numpy()
    assert first.startswith("target 7 score ")
    shown = {int(line.split()[0]): float(line.split()[1]) for line in features}
    assert list(shown) == np.argsort(-np.abs(wanted))[:5].tolist()
    np.testing.assert_allclose(list(shown.values()), wanted[list(shown)], rtol=1e-4)


@pytest.mark.parametrize("client", RUN)
def test_a_picture_that_gives_nan_is_an_error(client: str, files: tuple[Path, Path], tmp_path: Path) -> None:
    broken = tmp_path / "nan.f32"
    np.full(64, np.nan, np.float32).tofile(broken)
    done = run(client, files[0], broken)
    assert done.returncode == 1
    assert "not finite" in done.stderr


@pytest.mark.parametrize("source", SOURCES)
def test_is_short_and_turns_nan_into_an_error(source: str) -> None:
    text = (CLIENTS / source).read_text()
    assert len(text.splitlines()) < 60
    assert "the attribution is not finite" in text
