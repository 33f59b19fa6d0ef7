"""The portable form in runtimes that are installed beside the environment: right, or refused by name beforehand."""

from __future__ import annotations

import pytest

from tools.other_runtimes import NAMES
from tools.portable_table import BEFOREHAND, RIGHT, measure

# one deployed model, one whose steps are written out, and layers that these runtimes read in ways of their own
MODELS = ("digits_cnn", "lstm", "kinks", "transposed", "embedded")
# OpenCV 4 ends in an assertion where the sums of two chunks are added; in one chunk (--steps-per-run 0) it is right
FAILS = pytest.mark.xfail(strict=True, reason="OpenCV 4.14: src.size == dst.size")
CELLS = [
    pytest.param(model, runtime, marks=[FAILS] if (model, runtime) == ("kinks", "opencv4") else [])
    for model in MODELS
    for runtime in NAMES
]


@pytest.mark.runtimes
@pytest.mark.parametrize(("model", "runtime"), CELLS)
def test_right_or_refused_beforehand(model: str, runtime: str) -> None:
    for cell in measure([model], [runtime], patience=900):
        assert cell.result in (RIGHT, BEFOREHAND), cell
