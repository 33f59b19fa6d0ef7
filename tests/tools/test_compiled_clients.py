"""The clients that need a compiler: they compile without a warning, and the one in C++ prints what Python's prints."""

import shutil
import subprocess
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tools.check_clients import CLIENTS, COMPILED, PROJECTS, build, features, run

# the file that makes a project of a client, and the library it asks its registry for
PARTS = {
    "java": ("pom.xml", "com.microsoft.onnxruntime"),
    "rust": ("Cargo.toml", "ort ="),
    "go": ("go.mod", "github.com/yalue/onnxruntime_go"),
    "csharp": ("Attribute.csproj", "Microsoft.ML.OnnxRuntime"),
}


def built(client: str, folder: Path) -> Path | None:
    compiler, _ = COMPILED[client]
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    return build(client, folder)


@pytest.mark.parametrize("client", ["java", "rust"])  # go and csharp: tools.check_clients, their compilers are slow
def test_compiles(client: str, tmp_path: Path) -> None:
    built(client, tmp_path)


def test_the_cpp_project_prints_what_python_prints(tmp_path: Path) -> None:
    for tool in ("cmake", "g++"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    printed = run("cpp", tmp_path)
    assert printed.startswith("target 7 score ") and features(printed).shape == (5, 2)
    broken = tmp_path / "nan.f32"
    np.full(64, np.nan, np.float32).tofile(broken)
    program = tmp_path / "cpp" / "build" / "attribute"
    refused = subprocess.run([program, tmp_path / "model.onnx", broken], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "not finite" in refused.stderr


@pytest.mark.parametrize("client", [client for client in PROJECTS if client != "cpp"])
def test_projects_name_their_source_and_library(client: str) -> None:
    """Their registries are not reached from here; what can be read of the projects is."""
    (name, library), folder = PARTS[client], CLIENTS / client
    text = (folder / name).read_text()
    if name.endswith((".xml", ".csproj")):
        ElementTree.fromstring(text)
    elif name.endswith(".toml"):
        assert (folder / tomllib.loads(text)["bin"][0]["path"]).is_file()
    assert library in text
    assert PROJECTS[client][-1][0] in text.partition("\n")[0] + text.splitlines()[1], "how it is run stands on top"
