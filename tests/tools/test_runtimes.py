"""The table of runtimes: every form of the small models gives the reference's numbers in every runtime."""

from pathlib import Path

import pytest

from onnx_ig.checking.runtimes import RUNTIMES
from tests.helpers.node_runtime import node_path
from tools import runtimes
from tools.runtime_subjects import LAYERS, SUBJECTS

# every form of two small models, one form of the others; `python -m tools.runtimes` makes the whole table
CELLS = [(name, form) for name in ("digits_cnn", "lstm") for form in runtimes.FORMS]
CELLS += [(name, "complete, loop") for name in ("tabular_mlp", "vit", "bert")] + [("resnet18", "input-x-gradient")]


@pytest.mark.parametrize(("name", "form"), CELLS)
def test_every_runtime_gives_the_reference_s_numbers(
    name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_PATH", node_path())
    path = runtimes.make(SUBJECTS[name](), form, tmp_path)
    for runtime in RUNTIMES:
        cell = runtimes.judge(name, form, path, runtime)
        assert cell.error is not None and cell.error <= 1e-4, cell


@pytest.mark.parametrize("name", ["digits_cnn", "lstm", "kinks", "embedded"])
@pytest.mark.parametrize("runtime", ["opencv", "tract", "mnn", "webgpu"])
def test_the_portable_form_in_the_runtimes_that_it_is_for(
    runtime: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_PATH", node_path())
    path = runtimes.make_portable((SUBJECTS | LAYERS)[name](), "predicted", tmp_path, runtime)
    cell = runtimes.judge(name, "predicted", path, runtime)
    assert cell.error is not None and cell.error <= 1e-4, cell
