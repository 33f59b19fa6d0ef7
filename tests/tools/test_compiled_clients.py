"""The clients that need a compiler: they compile without a warning, and the one in C++ prints what Python's prints."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import onnx_ig
from tools.check_clients import CLIENTS, COMPILED, build

DIGITS = Path(__file__).parents[2] / "models" / "digits_cnn"


def built(client: str, folder: Path) -> Path | None:
    compiler, _ = COMPILED[client]
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    return build(client, folder)


@pytest.mark.parametrize("client", ["java", "rust"])  # go and csharp: tools.check_clients, their compilers are slow
def test_compiles(client: str, tmp_path: Path) -> None:
    built(client, tmp_path)


def test_cpp_prints_what_python_prints(tmp_path: Path) -> None:
    model = onnx_ig.export(DIGITS / "digits_cnn.onnx", tmp_path / "model.onnx", target="predicted")
    right, broken = tmp_path / "seven.f32", tmp_path / "nan.f32"
    np.load(DIGITS / "seven.npy").astype(np.float32).tofile(right)
    np.full(64, np.nan, np.float32).tofile(broken)
    python, cpp = [sys.executable, CLIENTS / "python" / "attribute.py"], [built("cpp", tmp_path)]
    (want, refused), (got, also) = (
        [
            subprocess.run([*map(str, words), model, picture], capture_output=True, text=True, check=False)
            for picture in (right, broken)
        ]
        for words in (python, cpp)
    )
    assert (want.returncode, got.returncode) == (0, 0), got.stderr
    assert _numbers(got.stdout)[:, 0].tolist() == _numbers(want.stdout)[:, 0].tolist()
    np.testing.assert_allclose(_numbers(got.stdout), _numbers(want.stdout), rtol=1e-5)
    assert (refused.returncode, also.returncode) == (1, 1)
    assert "not finite" in also.stderr


def _numbers(printed: str) -> np.ndarray:
    """Feature and attribution, line by line, behind the target's line."""
    return np.array([[float(word) for word in line.split()] for line in printed.splitlines()[1:]])
