"""Models are given to runtimes in memory, or in a file from which their weights are mapped."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

import onnx_ig
from onnx_ig.errors import ModelError
from onnx_ig.runtime import serialised as openable_module
from onnx_ig.runtime.providers import open_session
from tests.helpers.peak_memory import megabytes, on_linux

WEIGHT = np.random.default_rng(0).standard_normal((3, 2000)).astype(np.float32)
X = np.array([[1, -2, 0.5]], np.float32)


def linear(weight: np.ndarray = WEIGHT, x: str = "float[N, 3] x") -> onnx.ModelProto:
    """x @ W."""
    text = (
        f'<ir_version: 8, opset_import: ["" : 18]> f ({x}) => (float[M, {weight.shape[1]}] y) {{ y = MatMul (x, W) }}'
    )
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "W"))
    return proto


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
@pytest.mark.parametrize("kind", [ir.from_proto, lambda proto: proto], ids=["onnx_ir", "ModelProto"])
def test_large_models_are_mapped(provider: str, kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(openable_module.openable(kind(linear()), str(tmp_path)), bytes)
    monkeypatch.setattr(openable_module, "_MAPPED_FROM", 20_000)
    monkeypatch.setattr(openable_module, "_SERIALISED_LIMIT", 20_000)
    path = openable_module.openable(kind(linear()), str(tmp_path))
    assert path == str(tmp_path / "model.onnx") and (tmp_path / "model.data").stat().st_size >= WEIGHT.nbytes
    found = open_session(kind(linear()), provider).run({"x": X})["y"]
    np.testing.assert_allclose(found, X @ WEIGHT, rtol=1e-4, atol=1e-5)


def test_text_stays_in_a_model_whose_weights_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of classes, however many: the standard has no text outside."""
    proto = linear()
    proto.graph.initializer.append(onnx.helper.make_tensor("names", onnx.TensorProto.STRING, [2000], [b"name"] * 2000))
    proto.graph.node.append(onnx.helper.make_node("ArgMax", ["y"], ["best"], axis=1, keepdims=0))
    proto.graph.node.append(onnx.helper.make_node("Gather", ["names", "best"], ["name"]))
    proto.graph.output.append(onnx.helper.make_tensor_value_info("name", onnx.TensorProto.STRING, ["N"]))
    monkeypatch.setattr(openable_module, "_MAPPED_FROM", 20_000)
    monkeypatch.setattr("onnx_ig.exporting.model_writer._SINGLE_FILE_LIMIT", 20_000)
    assert open_session(ir.from_proto(proto), "cpu").run({"x": X})["name"].tolist() == ["name"]
    path = onnx_ig.export(proto, tmp_path / "explained.onnx", target=0)
    assert (tmp_path / "explained.onnx.data").stat().st_size >= WEIGHT.nbytes
    assert open_session(path, "cpu").run({"x": X})["name"].tolist() == ["name"]


def test_a_folder_without_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(openable_module, "_MAPPED_FROM", 1)
    monkeypatch.setattr(openable_module.ir, "save", full)
    for provider in ("cpu", "openvino"):
        with pytest.raises(ModelError, match=r"weights \(0 MB\) could not be written to .*No space left.*TMPDIR"):
            open_session(ir.from_proto(linear()), provider)


@on_linux
def test_weights_of_large_products_are_in_memory_once(tmp_path: Path) -> None:
    """From the file to the attribution: 262 MB of weights, and little more: an example takes 2 MB."""
    weight = np.zeros((1 << 13, 8000), np.float32)
    weight[:, 0] = 1
    onnx.save(linear(weight, f"float[N, 64, {1 << 13}] x"), tmp_path / "large.onnx")
    onnx.save(linear(x="float[N, 64, 3] x"), tmp_path / "small.onnx")
    before = """
import numpy as np; import onnx_ig
def explained(file, width):
    x = np.ones((1, 64, width), np.float32)
    return onnx_ig.IntegratedGradients(file, provider="cpu").attribute(x, target=(0, 0), n_steps=2)
explained(sys.argv[1], 3)
"""
    measured = "assert np.allclose(explained(sys.argv[2], 1 << 13)[0, 0], 1)"
    taken = megabytes(before, measured, str(tmp_path / "small.onnx"), str(tmp_path / "large.onnx"))
    assert 200 < taken < 1.6 * 250
