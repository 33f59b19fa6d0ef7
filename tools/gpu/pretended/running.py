"""Run a command of this repository again in a process over the pretended device."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from tools.gpu.pretended.build import NotHere, environment

_WITHIN = "PRETENDED_CUDA"  # set where a process runs over the device


def is_pretended() -> bool:
    """Whether this process runs over the pretended device."""
    return _WITHIN in os.environ


def run_over_it(module: str, arguments: Sequence[str]) -> int:
    """The exit code of ``python -m module arguments`` over the device; 5 where it cannot be had, which is said."""
    try:
        variables = environment()
    except NotHere as error:
        print(f"error: there is no pretended CUDA device on this machine: {error}", file=sys.stderr)
        return 5
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env={**variables, _WITHIN: "1"}).returncode
