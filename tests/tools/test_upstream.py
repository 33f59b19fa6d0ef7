"""What other runtimes are reported to compute wrong: right in ONNX Runtime, and noticed when they mend it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from onnx_ig.checking.runtimes import runtime_named
from onnx_ig.errors import MissingDependencyError
from tests.helpers.node_runtime import ROOT

FOLDER = ROOT / "tools" / "upstream"
# the runtime, the version in which it was seen, the inputs, the output and what the standard says of it
CASES: dict[str, tuple[str, str, dict[str, np.ndarray], str, np.ndarray]] = {
    "opencv4_reduce_three_axes": (
        "opencv",
        "4.",
        {"x": np.arange(36, dtype=np.float32).reshape(1, 4, 3, 3)},
        "y",
        np.array([630], np.float32),
    ),
    "iree_scan_open_batch": (
        "iree",
        "3.",
        {"x": np.arange(24, dtype=np.float32).reshape(4, 2, 3), "s": np.zeros((2, 3), np.float32)},
        "y",
        (x := np.arange(24, dtype=np.float32).reshape(4, 2, 3)).cumsum(axis=0) * x,
    ),
}


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
    _, _, inputs, output, want = CASES[name]
    for runtime in ("onnxruntime", "reference"):
        got = runtime_named(runtime).open(written(name, tmp_path)).run(inputs)[output]
        np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_it_is_wrong_still(name: str, tmp_path: Path) -> None:
    runtime, seen, inputs, output, want = CASES[name]
    try:
        version = runtime_named(runtime).version()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    if not version.startswith(seen):
        pytest.skip(f"{runtime} {version} is installed, seen in {seen}x")
    got = runtime_named(runtime).open(written(name, tmp_path)).run(inputs)[output]
    right = got.size == want.size and np.allclose(got.reshape(want.shape), want)
    assert not right, f"{runtime} {version} has mended it: delete the model"
