"""Runtimes that one environment cannot hold together, each installed from PyPI into a folder of its own in .cache.

    python -m tools.other_runtimes [opencv4 tvm ...]           install them; default: all

The one idea: a process that is given :func:`settings` finds one of them, as users find it who installed that alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from onnx_ig.errors import MissingDependencyError
from tests.helpers.packages import CACHE, from_pypi

# the packages that are imported, by the runtime's name in `export --for`
LIBRARIES: dict[str, tuple[str, ...]] = {
    "opencv4": ("opencv-python-headless==4.14.0.94",),
    "litert": ("ai-edge-litert==2.3.0",),
    "tvm": ("apache-tvm==0.27.0.post1", "apache-tvm-ffi==0.1.15.post2", "cloudpickle==3.1.3", "psutil==7.2.2"),
    "iree": ("iree-base-compiler==3.13.0", "iree-base-runtime==3.13.0"),
    "tinygrad": ("tinygrad==0.14.0",),
}
# the converters that are called, and the interpreter of each
PROGRAMS: dict[str, tuple[str, str]] = {
    "litert": ("onnx2tf==2.6.9", "python3.12"),
    "c": ("emx-onnx-cgen==1.4.0", sys.executable),
}
NAMES = tuple(dict.fromkeys((*LIBRARIES, *PROGRAMS)))


def install(name: str) -> None:
    """What ``name`` needs, once.

    Raises:
        subprocess.CalledProcessError: pip cannot fetch it; MissingDependencyError: there is no interpreter for it.
    """
    for requirement in LIBRARIES.get(name, ()):
        from_pypi(requirement)
    if name in PROGRAMS and not _program(name).is_dir():
        requirement, interpreter = PROGRAMS[name]
        if shutil.which(interpreter) is None:
            raise MissingDependencyError(f"{requirement} needs {interpreter} on PATH")
        folder = CACHE / "programs" / requirement
        subprocess.run([interpreter, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-qq", requirement], check=True)
        (folder / "done").mkdir()


def settings(name: str) -> dict[str, str]:
    """The environment of a process that finds the runtime ``name``, as far as it is installed."""
    packages = [folder for r in LIBRARIES.get(name, ()) if (folder := CACHE / r).is_dir()]
    programs = [_program(name).parent / "bin"] if name in PROGRAMS and _program(name).is_dir() else []
    return {
        **os.environ,
        "PYTHONPATH": _joined([Path(__file__).parents[1], *packages], os.environ.get("PYTHONPATH")),
        "PATH": _joined(programs, os.environ.get("PATH")),
    }


def _program(name: str) -> Path:
    """What is there once its environment is whole."""
    return CACHE / "programs" / PROGRAMS[name][0] / "done"


def _joined(folders: Sequence[Path], before: str | None) -> str:
    return os.pathsep.join([*map(str, folders), *filter(None, (before,))])


def main() -> int:
    """Install; exit status 1 unless all could be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], help="default: all")
    failed = 0
    for name in parser.parse_args().names or NAMES:
        try:
            install(name)
            print(f"{name}: installed")
        except (subprocess.CalledProcessError, MissingDependencyError) as error:
            print(f"{name}: {error}")
            failed = 1
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
