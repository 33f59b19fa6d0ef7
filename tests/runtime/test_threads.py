"""One object used from several threads gives the serial answers; in a process of its own, because it would crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("model", "provider", "calls"),
    [
        ("convolutional", "cpu", 48),
        ("transformer", "cpu", 24),
        ("convolutional", "openvino", 10),
        ("torch-convolutional", "cpu", 24),
        ("torch-transformer", "cpu", 24),
    ],
)
def test_threads_share_an_object(model: str, provider: str, calls: int) -> None:
    command = [sys.executable, "-m", "tests.helpers.thread_runtime", model, provider, "8", str(calls)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-2000:]}"
    assert done.stdout.split() == [str(8 * calls)]
