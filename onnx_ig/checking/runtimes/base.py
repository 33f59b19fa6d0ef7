"""What every runtime offers here: a name, a version, and models that can be opened and run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from onnx_ig.common.types import Array
from onnx_ig.errors import ModelError


class Opened(Protocol):
    """A model that a runtime has taken in."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays by output name, all of the model's outputs.

        Raises:
            ModelError: the runtime ends with an error of its own.
        """


@runtime_checkable
class Timed(Protocol):
    """A model in another process, whose run takes less time than getting the tensors there."""

    def seconds(self, feeds: Mapping[str, Array], runs: int) -> float:
        """The median time of one run by the runtime's own clock, tensors in place."""


@dataclass(frozen=True)
class Runtime:
    """One ONNX runtime.

    Attributes:
        name: what the command line calls it.
        title: what people call it.
        version: its version; raises MissingDependencyError, naming what to install, where it is not installed.
        open: take in the model file; raises that error too, and ModelError where the runtime refuses the model.
    """

    name: str
    title: str
    version: Callable[[], str]
    open: Callable[[Path], Opened]


def refused(title: str, doing: str, error: Exception | str) -> ModelError:
    """A runtime's own error as one of ours: the lines that say something, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return ModelError(f"{title} could not {doing}: {text[:400]}")


def called(*words: str, folder: str | None = None) -> subprocess.CompletedProcess[str]:
    """What a converter says, a program that has a Python of its own: it must not find ours' packages."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=environment)
