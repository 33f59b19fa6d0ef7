"""Conformance: right runtimes pass, whatever computes wrong is caught, and every runtime is really run."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import numpy_helper

import onnx_ig
from onnx_ig.checking.conformance import conform, read_data_sets
from onnx_ig.checking.runtimes import RUNTIMES, Runtime, web
from onnx_ig.cli.app import app
from onnx_ig.errors import InputError, MissingDependencyError, ModelError, UsageError, VerificationError
from tests.helpers.node_runtime import ROOT, node_path

DIGITS = ROOT / "models" / "digits_cnn" / "digits_cnn.onnx"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    return onnx_ig.export(DIGITS, tmp_path / "model.onnx", n_steps=5, with_test_data=True)


def test_layout_is_that_of_the_standard_s_backend_tests(exported: Path) -> None:
    model = onnx.load(exported)
    folder = exported.parent / "test_data_set_0"
    for kind, values in (("input", model.graph.input), ("output", model.graph.output)):
        files = [folder / f"{kind}_{i}.pb" for i in range(len(values))]
        assert sorted(folder.glob(f"{kind}_*.pb")) == files
        assert [onnx.load_tensor(f).name for f in files] == [v.name for v in values]
    assert "reference evaluator" in (folder / "note.txt").read_text()


def test_a_target_out_of_range_must_give_nan(exported: Path) -> None:
    _, bad = read_data_sets(exported)
    assert bad.inputs["target"].tolist() == [10**9, -1]
    assert all(np.isnan(bad.outputs[name]).all() for name in ("attribution_image", "score", "convergence_delta"))
    assert np.isfinite(bad.outputs["logits"]).all()


def test_a_tampered_expected_output_is_caught(exported: Path) -> None:
    file = exported.parent / "test_data_set_0" / "output_1.pb"
    tensor = onnx.load_tensor(file)
    array = numpy_helper.to_array(tensor).copy()
    array.flat[np.abs(array).argmax()] *= 1.001
    file.write_bytes(numpy_helper.from_array(array, tensor.name).SerializeToString())
    report = conform(exported)
    assert [r.output for r in report.rows if not r.passed] == ["attribution_image"]
    with pytest.raises(VerificationError, match="attribution_image"):
        report.require()
    assert conform(exported, tolerance=1e-2).passed


def test_a_tampered_model_is_caught(exported: Path) -> None:
    model = onnx.load(exported)
    weight = next(w for w in model.graph.initializer if len(w.dims) == 4)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.01), weight.name))
    onnx.save(model, exported)
    assert not conform(exported).passed


@pytest.mark.parametrize("wrong", ["nan", "finite", "shape", "type"])
def test_what_no_tolerance_can_excuse(exported: Path, wrong: str) -> None:
    file = exported.parent / ("test_data_set_1" if wrong == "finite" else "test_data_set_0") / "output_2.pb"
    array = numpy_helper.to_array(onnx.load_tensor(file))
    changed = {
        "nan": np.full_like(array, np.nan),
        "finite": np.zeros_like(array),  # a runtime that clamps the target where NaN is due, the other way round
        "shape": array[:1],
        "type": array.astype(np.float64),
    }[wrong]
    file.write_bytes(numpy_helper.from_array(changed, "score").SerializeToString())
    assert conform(exported, tolerance=1e9).worst == np.inf


def test_baking_the_target_removes_the_older_data_of_open_targets(exported: Path) -> None:
    onnx_ig.export(DIGITS, exported, target="predicted", n_steps=5, with_test_data=True, overwrite=True)
    assert [d.folder for d in read_data_sets(exported)] == ["test_data_set_0"]
    assert conform(exported).passed


def test_another_model_s_data_are_neither_used_nor_overwritten(exported: Path) -> None:
    other = exported.with_name("other.onnx")
    with pytest.raises(UsageError, match=r"belongs to model\.onnx"):
        onnx_ig.export(DIGITS, other, algorithm="input-x-gradient", with_test_data=True)
    onnx_ig.export(DIGITS, other, algorithm="input-x-gradient")
    with pytest.raises(UsageError, match=r"belongs to model\.onnx"):
        conform(other)


def test_no_data(tmp_path: Path, exported: Path) -> None:
    (tmp_path / "alone").mkdir()
    path = onnx_ig.export(DIGITS, tmp_path / "alone" / "m.onnx")
    with pytest.raises(UsageError, match="--with-test-data"):
        conform(path)
    (exported.parent / "test_data_set_0" / "input_1.pb").unlink()
    with pytest.raises(InputError, match="'target' has no data"):
        conform(exported)


CALL = {
    "image": np.repeat(np.load(DIGITS.with_name("seven.npy")).astype(np.float32), 2, axis=0),
    "target": np.array([7, 1]),
    "baseline_image": np.zeros((1, 1, 8, 8), np.float32),
    "path_nodes": np.full(2, 0.5, np.float32),
    "path_weights": np.full(2, 0.5, np.float32),
}
BAD_CALLS = {
    "no target": {"target": None},
    "no baseline": {"baseline_image": None},
    "another shape": {"image": np.zeros((2, 1, 8, 9), np.float32)},
    "an axis too few": {"image": np.zeros((2, 8, 8), np.float32)},
    "baselines for three examples": {"baseline_image": np.zeros((3, 1, 8, 8), np.float32)},
    "a target for one of two examples": {"target": np.array([7])},
    "targets for three examples": {"target": np.array([7, 1, 1])},
    "a path of unequal lengths": {"path_weights": np.ones(3, np.float32)},
    "one weight for two points": {"path_weights": np.ones(1, np.float32)},
    "no such target": {"target": np.array([10, 10**9])},
    "a negative target": {"target": np.array([-1, -10])},
}


@pytest.mark.parametrize("form", ["complete", "step"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_bad_calls_end_in_an_error_or_in_nan(
    runtime: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_PATH", node_path())
    path = onnx_ig.export(DIGITS, tmp_path / "model.onnx", form=form, baselines="input", path_as_input=True)
    opened = RUNTIMES[runtime].open(path)
    assert np.isfinite(opened.run(CALL)["attribution_image"]).all()
    for what, changes in BAD_CALLS.items():
        feeds = {name: value for name, value in {**CALL, **changes}.items() if value is not None}
        try:
            results = opened.run(feeds)
        except ModelError:
            continue
        assert np.isnan(results["attribution_image"]).all(), what


# what a wrong runtime makes of an output, by its name
WRONG = {
    "a little off": lambda name, y: y * 1.001 if name.startswith("attribution") else y,
    "computes in half precision": lambda name, y: y.astype(np.float16).astype(y.dtype),
    "a number where NaN is due": lambda name, y: np.nan_to_num(y),
    "examples mixed up": lambda name, y: y[::-1],
    "another type": lambda name, y: y.astype(np.float64),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_runtime_that_computes_wrong_is_caught(how: str, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = RUNTIMES["onnxruntime"]

    class Wrong:
        def __init__(self, path: Path) -> None:
            self._opened = right.open(path)

        def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: np.asarray(WRONG[how](name, y)) for name, y in self._opened.run(feeds).items()}

    monkeypatch.setitem(RUNTIMES, "wrong", Runtime("wrong", "A wrong runtime", right.version, Wrong))
    with pytest.raises(VerificationError, match=r"A wrong runtime .* do not deploy"):
        conform(exported, "wrong").require()


def test_a_runtime_that_is_not_installed_says_what_to_install(
    exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r"onnx-ig\[openvino\]"):
        conform(exported, "openvino")
    modules = node_path()
    monkeypatch.delenv("NODE_PATH", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingDependencyError, match="npm install onnxruntime-node"):
        conform(exported, "node")
    with pytest.raises(MissingDependencyError, match="npm install onnxruntime-web"):
        conform(exported, "web")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingDependencyError, match=r"Node\.js"):
        conform(exported, "node")
    monkeypatch.setenv("NODE_PATH", modules)
    monkeypatch.delenv("CHROME_PATH", raising=False)
    with pytest.raises(MissingDependencyError, match="CHROME_PATH"):
        conform(exported, "web")
    monkeypatch.setitem(sys.modules, "playwright", None)
    with pytest.raises(MissingDependencyError, match=r"onnx-ig\[browser\]"):
        conform(exported, "web")


def test_a_browser_that_ends_is_an_error(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_PATH", node_path())
    monkeypatch.setenv("CHROME_PATH", shutil.which("false") or "false")
    with pytest.raises(ModelError, match="the browser ended: BrowserType"):
        conform(exported, "web")


def test_a_model_that_is_held_when_the_browser_ends_says_so(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_PATH", node_path())
    opened = RUNTIMES["web"].open(exported)
    opened._page.close()
    opened._page.close()
    for ask in (lambda: opened.run({}), lambda: opened._page.open(exported)):
        with pytest.raises(ModelError, match="the browser ended; open the model again"):
            ask()
    assert web._page.cache_info().currsize == 0  # the next model gets a browser of its own


def test_command_line(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"

    def command(*words: str) -> Result:
        return CliRunner().invoke(app, words)

    factory = ["models.digits_cnn.model:digits_cnn", "--weights", str(DIGITS.with_suffix(".safetensors"))]
    done = command("export", *factory, "--example-input", str(DIGITS.with_name("seven.npy")), "-o", str(path),
                   "--n-steps", "5", "--with-test-data")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "torch autograd in float64" in done.stdout
    done = command("conform", str(path), "--runtime", "openvino")
    assert done.exit_code == 0, done.stderr
    assert "conforms" in done.stdout
    done = command("conform", str(path), "--tolerance", "1e-12")
    assert done.exit_code == 8
    assert "do not deploy" in done.stderr
