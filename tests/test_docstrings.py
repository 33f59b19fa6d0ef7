"""The examples in the docstrings of the public names, run where nothing but this package and ONNX Runtime is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

# Runs every example, in the current folder; a name without one, or an example that imports torch, is a failure.
PROGRAM = """
import doctest, sys
sys.modules["torch"] = None
import onnx_ig
found = {"Data", "Explanation", "Model", "OnnxIgError", "OnnxIgWarning", "__version__"}  # met in the examples of others
found |= {"PictureOptions", "SoundOptions", "TableOptions", "TextOptions"}  # plain data
runner = doctest.DocTestRunner()
for name in dir(onnx_ig):
    for test in doctest.DocTestFinder(recurse=False).find(getattr(onnx_ig, name), name, globs={}):
        runner.run(test)
        found |= {name} if test.examples else set()
missing = set(dir(onnx_ig)) - found
print(f"no example: {sorted(missing)}" if missing else "", runner.summarize())
sys.exit(bool(missing or runner.failures))
"""


def test_examples_of_public_names_say_what_happens(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
