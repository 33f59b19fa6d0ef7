"""What other runtimes are reported to compute wrong: right in ONNX Runtime, and noticed when they mend it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from onnx_ig.checking.runtimes import runtime_named
from tests.helpers.node_runtime import ROOT, node_path
from tools.other_runtimes import NAMES, settings
from tools.portable_table import COLUMNS

FOLDER = ROOT / "tools" / "upstream"
# the runtime as `export --for` has it, the inputs, the output and what the standard says of it
CASES: dict[str, tuple[str, dict[str, np.ndarray], str, np.ndarray]] = {
    "opencv4_reduce_three_axes": (
        "opencv4",
        {"x": np.arange(36, dtype=np.float32).reshape(1, 4, 3, 3)},
        "y",
        np.array([630], np.float32),
    ),
    "opencv4_place_without_axis": (
        "opencv4",
        {"x": np.arange(4, dtype=np.float32).reshape(1, 4)},
        "y",
        np.array([2], np.int64),  # of sin(0, 1, 2, 3) · w = 0, 0.84, 0.91 + 2 · 0.14
    ),
    "opencv4_sums_less_a_number": (
        "opencv4",
        {"x": np.arange(6, dtype=np.float32).reshape(2, 3)},
        "y",
        np.array([3 - 9, 12 - 9], np.float32),
    ),
    "iree_scan_open_batch": (
        "iree",
        {"x": np.arange(24, dtype=np.float32).reshape(4, 2, 3), "s": np.zeros((2, 3), np.float32)},
        "y",
        (x := np.arange(24, dtype=np.float32).reshape(4, 2, 3)).cumsum(axis=0) * x,
    ),
    "mnn_prelu_slope_of_four_axes": (
        "mnn",
        {"x": -(x := np.arange(16, dtype=np.float32).reshape(1, 4, 2, 2))},
        "y",
        -x * np.array([0.25, -0.5, 2, 8], np.float32).reshape(1, 4, 1, 1),
    ),
    "webgpu_six_channels": (
        "webgpu",
        {"x": (x := np.arange(96, dtype=np.float32).reshape(1, 6, 4, 4))},
        "y",
        np.einsum(
            "nchwij,ocij->nohw", np.lib.stride_tricks.sliding_window_view(x, (2, 2), (2, 3)), x.reshape(4, 6, 2, 2)
        ),
    ),
    "webgpu_two_activations": (
        "webgpu",
        {"x": -np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)},
        "y",
        np.zeros((1, 1, 2, 2), np.float32),
    ),
}
# in a process of its own: what a runtime computes from beyond its constants may end it
_ASK = """
import sys
from pathlib import Path
import numpy as np
from onnx_ig.checking.runtimes import runtime_named
runtime, model, inputs, output, answer = sys.argv[1:]
runtime = runtime_named(runtime)
print("asked of", runtime.title, runtime.version(), flush=True)
np.save(answer, runtime.open(Path(model)).run(dict(np.load(inputs)))[output])
"""


def written(name: str, folder: Path) -> Path:
    """The model's file."""
    file = folder / f"{name}.onnx"
    onnx.save(onnx.parser.parse_model((FOLDER / f"{name}.txt").read_text("utf-8")), file)
    return file


def test_every_model_has_a_case_and_a_line() -> None:
    names = {file.stem for file in FOLDER.glob("*.txt")}
    assert names == set(CASES)
    readme = (FOLDER / "README.md").read_text("utf-8")
    assert all(f"({name}.txt)" in readme for name in names)


@pytest.mark.parametrize("name", CASES)
def test_the_standard_s_numbers(name: str, tmp_path: Path) -> None:
    _, inputs, output, want = CASES[name]
    for runtime in ("onnxruntime", "reference"):
        got = runtime_named(runtime).open(written(name, tmp_path)).run(inputs)[output]
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.runtimes] if case[0] in NAMES else []) for n, case in CASES.items()]
)
def test_it_is_wrong_still(name: str, tmp_path: Path) -> None:
    runtime, inputs, output, want = CASES[name]
    given, answer = tmp_path / "inputs.npz", tmp_path / "answer.npy"
    np.savez(given, allow_pickle=False, **inputs)
    words = [sys.executable, "-c", _ASK, COLUMNS[runtime], written(name, tmp_path), given, output, answer]
    done = subprocess.run(
        words, env={**settings(runtime), "NODE_PATH": node_path()}, capture_output=True, text=True, check=False
    )
    assert "asked of" in done.stdout, done.stderr
    got = np.load(answer) if answer.is_file() else np.zeros(0)
    right = got.size == want.size and np.allclose(got.reshape(want.shape), want)
    assert not right, f"{done.stdout} has mended it: delete the model"
