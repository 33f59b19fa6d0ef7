"""Where an npm package is installed, looked for as Node itself does."""

from __future__ import annotations

import json
import os
from pathlib import Path

from onnx_ig.errors import MissingDependencyError


def package(name: str, purpose: str) -> Path:
    """The folder of package ``name``: in node_modules of the working folder and those above it, then on NODE_PATH.

    Raises:
        MissingDependencyError: ``purpose`` needs it, and it is not there.
    """
    here = Path.cwd()
    further = [Path(place) for place in os.environ.get("NODE_PATH", "").split(os.pathsep) if place]
    for place in (*(folder / "node_modules" for folder in (here, *here.parents)), *further):
        if (place / name / "package.json").is_file():
            return place / name
    raise MissingDependencyError(
        f"{purpose} needs the npm package {name}: `npm install {name}` in the folder this runs in (or set NODE_PATH "
        "to a node_modules folder that has it)"
    )


def version(folder: Path) -> str:
    """The version of the package in ``folder``."""
    return str(json.loads((folder / "package.json").read_text("utf-8"))["version"])
