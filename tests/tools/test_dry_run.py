"""What CUDA is asked, counted over a pretended device: everything runs there, nothing is copied in between.

These tests fetch ONNX Runtime for CUDA (256 MB, once), so they are a step of their own: `pytest -n0 -m cuda`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onnx_ig.checking.kernels import table
from tools.gpu import dry_operators
from tools.gpu.dry_run import STEM, main
from tools.gpu.tables import RESULTS
from tools.kernel_table import cuda_kernels

pytestmark = pytest.mark.cuda
FORMS = ("step", "complete", "flat", "input-x-gradient")
# By form, at most how many kernels: 0.8 times what graphs launched as they are exported, 0.3 times where cuDNN has an
# LSTM's forward pass (counted in the same way at commit 9a339be).
GUARDED = {
    "MLP": dict(zip(FORMS, (36, 120, 53, 24), strict=True)),
    "LSTM": dict(zip(FORMS, (1322, 6044, 3403, 1317), strict=True)),
    "MobileNetV3": {"step": 468, "input-x-gradient": 455},
    "ViT-small": {"step": 1064},
}


def test_the_cuda_columns_are_what_onnx_runtime_registers() -> None:
    registered = cuda_kernels()
    known = {
        name: (row["ort_cuda"], row["ort_cuda_float_types"]) for name, row in table().items() if name != "Constant"
    }
    assert known == {name: registered.get(name, ("-", "-")) for name in known}
    assert registered.keys() <= known.keys()


def test_operators_without_a_cuda_kernel_are_written_in_others() -> None:
    assert dry_operators.main() == 0, "its output says which are not"


@pytest.mark.parametrize("name", GUARDED)
def test_every_node_is_on_cuda_and_launches_do_not_grow(name: str, tmp_path: Path) -> None:
    recorded = {
        (row["model"], row["form"]): row for row in json.loads((RESULTS / f"{STEM}.json").read_text()) if "form" in row
    }
    forms = ["--forms", *GUARDED[name]]
    assert main(["--models", name, *forms, "--rows", str(tmp_path / "rows.json")]) == 0, "its output says why"
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["form"] for row in rows] == list(GUARDED[name])
    for row in rows:
        before = recorded[row["model"], row["form"]]
        assert (row["on the CPU"], row["Memcpys"], row["plans rebuilt"]) == (0, 0, 0), row
        assert row["launches"] <= min(before["launches"], GUARDED[name][row["form"]]), row
        assert row["CUDA graph"] == before["CUDA graph"], row
