"""Entries of a Triton model repository: the configuration parses by Triton's schema and says what the file takes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest
from click.testing import CliRunner
from google.protobuf import text_format

import onnx_ig
from onnx_ig.checking.conformance import conform
from onnx_ig.cli.app import app
from onnx_ig.errors import ModelError, OnnxIgError
from onnx_ig.exporting.triton import configuration, repository_entry
from tests.helpers.packages import from_pypi

DIGITS = Path(__file__).parents[2] / "models" / "digits_cnn" / "digits_cnn.onnx"
NO_BATCH = """<ir_version: 8, opset_import: ["" : 18]> f (float[3] x, double shift) => (float[2] y)
<float[3, 2] w = {1, -2, 3, 4, -5, 6}> { f = Cast <to = 1> (shift) a = Add (x, f) s = Sin (a) y = MatMul (s, w) }"""


@pytest.fixture(scope="module")
def schema() -> Any:
    """Triton's published model_config.proto, as tritonclient compiles it."""
    file = from_pypi("tritonclient==2.73.0") / "tritonclient" / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def described(tensors: Any) -> dict[str, tuple[int, list[int], bool]]:
    """name → type, dims, reshaped to no axes."""
    return {t.name: (t.data_type, list(t.dims), t.HasField("reshape")) for t in tensors}


# keyword arguments of export, whether requests may be joined, inputs as (type's name, dims without and with the batch)
CASES: dict[str, tuple[dict[str, Any], bool, dict[str, tuple[str, list[int]]]]] = {
    "all baked": ({"target": "predicted"}, True, {"image": ("FP32", [1, 8, 8])}),
    "open target and baseline": (
        {"baselines": "input"},
        True,
        {"image": ("FP32", [1, 8, 8]), "target": ("INT64", []), "baseline_image": ("FP32", [1, 8, 8])},
    ),
    "open path": (
        {"target": 3, "path_as_input": True},
        False,
        {"image": ("FP32", [-1, 1, 8, 8]), "path_nodes": ("FP32", [-1]), "path_weights": ("FP32", [-1])},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_configuration(case: str, tmp_path: Path, schema: Any) -> None:
    keywords, joined, inputs = CASES[case]
    with repository_entry(tmp_path / "digits_ig") as file:
        onnx_ig.export(DIGITS, file, **keywords)
    text = (tmp_path / "digits_ig" / "config.pbtxt").read_text()
    config = text_format.Parse(text, schema.ModelConfig())
    assert (config.name, config.backend) == ("digits_ig", "onnxruntime")
    assert (config.max_batch_size > 0, config.HasField("dynamic_batching")) == (joined, joined)
    assert config.version_policy.latest.num_versions == 1 and config.instance_group[0].count == 1
    wanted = {
        name: (schema.DataType.Value(f"TYPE_{kind}"), dims or [1], not dims) for name, (kind, dims) in inputs.items()
    }
    assert described(config.input) == wanted
    outputs = described(config.output)
    assert outputs["logits"][1:] == ([10] if joined else [-1, 10], False)
    assert outputs["score"][1:] == ([1], True) if joined else ([-1], False)
    assert outputs["attribution_image"][1] == ([1, 8, 8] if joined else [-1, 1, 8, 8])


def test_no_axis_of_examples(tmp_path: Path, schema: Any) -> None:
    def exported(text: str) -> Path:
        model = onnx.parser.parse_model(text)
        return onnx_ig.export(model, tmp_path / "ig.onnx", inputs=["x"], target=1, n_steps=2, overwrite=True)

    with pytest.raises(ModelError, match="number of axes of 'shift'"):
        configuration(exported(NO_BATCH.replace("double shift", "double[] shift")), "any")
    path = exported(NO_BATCH)
    config = text_format.Parse(configuration(path, 'odd "name"\\'), schema.ModelConfig())
    assert config.name == 'odd "name"\\' and config.max_batch_size == 0
    assert described(config.input) == {
        "x": (schema.TYPE_FP32, [3], False),
        "shift": (schema.TYPE_FP64, [1], True),
    }


def test_an_input_with_a_default_keeps_it(tmp_path: Path) -> None:
    """ONNX Runtime counts it apart, and Triton compares the numbers of inputs."""
    proto = onnx.parser.parse_model(NO_BATCH)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.5), "shift"))
    text = configuration(onnx_ig.export(proto, tmp_path / "m.onnx", n_steps=3, target=1), "digits")
    assert [line.split('"')[1] for line in text.splitlines() if line.startswith("input")] == ["x"]


def test_command_line_adds_versions(tmp_path: Path) -> None:
    def command(*words: str) -> Any:
        return CliRunner().invoke(app, ["export", str(DIGITS), *words], standalone_mode=False)

    entry = tmp_path / "digits_ig"
    words = ["--triton", str(entry), "--n-steps", "3"]
    assert command(*words).exit_code == 0
    done = command(*words, "--target", "predicted", "--with-test-data")
    assert f"wrote {entry}" in done.output and "expected outputs" in done.output
    assert sorted(p.name for p in entry.iterdir()) == ["1", "2", "config.pbtxt"]
    assert conform(entry / "2" / "model.onnx").passed
    for wrong in (["-o", "x.onnx", *words], [], ["--triton", str(tmp_path / "absent" / "entry")]):
        assert command(*wrong).exit_code == 2


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OnnxIgError), repository_entry(tmp_path / "entry") as file:
        onnx_ig.export(DIGITS, file, output="nope")
    with pytest.raises(ModelError, match="no attribution model"), repository_entry(tmp_path / "entry") as file:
        file.write_bytes(DIGITS.read_bytes())
    assert not list(tmp_path.iterdir())


def test_weights_beyond_two_gigabytes_lie_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx_ig.exporting.model_writer._SINGLE_FILE_LIMIT", 0)
    with repository_entry(tmp_path / "entry") as file:
        onnx_ig.export(DIGITS, file, n_steps=2, with_test_data=True)
    written = tmp_path / "entry" / "1"
    assert {"model.onnx", "model.onnx.data"} <= {p.name for p in written.iterdir()}
    assert all(conform(written / "model.onnx", runtime).passed for runtime in ("onnxruntime", "reference", "openvino"))
