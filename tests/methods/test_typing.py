"""A user's program under `mypy --strict`: what this library returns has types that say what is returned."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

PROGRAM = """
import numpy as np
from numpy.typing import NDArray
import onnx_ig

x: NDArray[np.float32] = np.zeros((1, 2), np.float32)
method = onnx_ig.IntegratedGradients("m.onnx", provider="cpu")
reveal_type(method.attribute(x))                                        # ndarray
reveal_type(method.attribute((x, x), return_convergence_delta=True)[0])  # tuple
reveal_type(method.explain({"x": x}).attributions)                      # dict
found = method.explain(onnx_ig.read("f.csv", "m.onnx"))
reveal_type(found.attributions)    # dict
reveal_type(found.top(3))          # Feature
reveal_type(found.top(3)[0].attribution)  # float
reveal_type(found.plot())          # Drawings
reveal_type(found.save("out"))     # Path
reveal_type(found.provider)        # str
reveal_type(onnx_ig.InputXGradient("m.onnx").attribute(x))          # ndarray
reveal_type(onnx_ig.Saliency("m.onnx").attribute(x))                # ndarray
"""
MISTAKES = """
import numpy as np
import onnx_ig

onnx_ig.IntegratedGradients("m.onnx", provider="gpu")
onnx_ig.IntegratedGradients("m.onnx").attribute(np.zeros((1, 2)), method="simpson")
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("typed")
    files = {"program.py": PROGRAM, "mistakes.py": MISTAKES}
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    options = ["--strict", "--follow-imports=silent", "--cache-dir", str(folder / "cache")]
    ignored = ["--config-file", str(Path(__file__).resolve().parents[2] / "pyproject.toml")]
    output, errors, _ = api.run([*options, *ignored, *(str(folder / name) for name in files)])
    assert not errors
    return output


def test_results_are_typed(checked: str) -> None:
    revealed = re.findall(r'program\.py:(\d+): note: Revealed type is "(.*)"', checked)
    expected = [
        (number, line.rpartition("# ")[2].strip())
        for number, line in enumerate(PROGRAM.splitlines(), 1)
        if line.startswith("reveal_type")
    ]
    assert len(revealed) == len(expected), checked
    for (number, kind), (line, text) in zip(expected, revealed, strict=True):
        assert int(line) == number and kind in text, (number, kind, text)
        assert "Any" not in re.sub(r"ndarray\[(builtins\.)?tuple\[Any, \.\.\.\]|ndarray\[Any, Any\]", "", text), text
    assert "program.py" not in "".join(line for line in checked.splitlines() if ": error:" in line), checked


@pytest.mark.parametrize(("line", "word"), [(5, "provider"), (6, "attribute")])
def test_unknown_words_are_mistakes_before_anything_runs(line: int, word: str, checked: str) -> None:
    assert any(f"mistakes.py:{line}: error:" in text and word in text for text in checked.splitlines()), checked
