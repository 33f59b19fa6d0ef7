"""What ONNX Runtime is told for each provider: a machine with CUDA is played by recording what it is handed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import onnxruntime
import pytest

import onnx_ig
from onnx_ig.errors import ProviderError
from onnx_ig.runtime import session as session_module
from onnx_ig.runtime.session import Session

MODEL = onnx.parser.parse_model(
    '<ir_version: 8, opset_import: ["" : 18]> g (float[N] x) => (float[N] y) { y = Sin (x) }'
).SerializeToString()
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
EXACT, ROUNDED = (CUDA, {"use_tf32": "0"}), (CUDA, {"use_tf32": "1"})


class _Machine:
    """Every provider is available; ``opened`` ones are then used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *opened: str) -> None:
        self.opened, self.handed, self.preloaded = [*opened, CPU], [], 0
        self._open = onnxruntime.InferenceSession

        def preload() -> None:
            print("libcudnn.so.9 not found")
            self.preloaded += 1

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
        monkeypatch.setattr(onnxruntime, "preload_dlls", preload)
        monkeypatch.setattr(onnxruntime, "InferenceSession", self._session)

    def _session(self, model: bytes, options: Any, providers: list[Any], disabled_optimizers: list[str]) -> Any:
        self.handed, self.left_out = providers, disabled_optimizers
        session = self._open(model, options, providers=[CPU])
        session.get_providers = lambda: self.opened
        return session


@pytest.mark.parametrize(
    ("provider", "handed"),
    [
        ("cpu", [(CPU, {})]),
        ("cuda", [EXACT]),
        ("cuda-tf32", [ROUNDED]),
        ("auto", [EXACT, (CPU, {})]),
        ([(CUDA, {"device_id": "1"}), CPU], [(CUDA, {"device_id": "1"}), CPU]),
    ],
)
def test_what_onnx_runtime_is_handed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], provider: Any, handed: list[Any]
) -> None:
    machine = _Machine(monkeypatch, CUDA, TENSORRT)
    session = Session(MODEL, provider)
    assert machine.handed == handed
    assert machine.preloaded == (provider != "cpu")
    assert machine.left_out == ([] if provider == "cpu" else ["MatMulAddFusion"])
    assert not session._opened.session._enable_fallback
    assert capsys.readouterr().out == ""  # standard output is for results


def test_tensorrt_keeps_its_timings_and_leaves_the_rest_to_cuda(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = _Machine(monkeypatch, TENSORRT, CUDA)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Session(MODEL, "tensorrt")
    folder = tmp_path / "onnx-ig" / "tensorrt"
    assert folder.is_dir()
    assert machine.handed == [
        (TENSORRT, {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(folder)}),
        EXACT,
    ]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    Session(MODEL, "tensorrt")
    assert machine.handed == [(TENSORRT, {}), EXACT]
    machine.opened = [CUDA, CPU]
    with pytest.raises(ProviderError, match=r"TensorRT 10's libraries .*, CUDA's and cuDNN's could not be loaded"):
        Session(MODEL, "tensorrt")


@pytest.mark.parametrize("provider", ["cuda", "cuda-tf32"])
def test_a_provider_that_does_not_open_is_refused(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    _Machine(monkeypatch)
    with pytest.raises(ProviderError, match="was asked for"):
        Session(MODEL, provider)
    assert Session(MODEL, "auto").provider == CPU


def test_an_unknown_name_is_told_the_others() -> None:
    with pytest.raises(ProviderError, match="auto, cpu, cuda, cuda-tf32, tensorrt, openvino, openvino-bf16"):
        Session(MODEL, "gpu")


def test_inputs_are_uploaded_once_for_all_their_path_points(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(__file__).parents[2] / "models" / "digits_cnn" / "digits_cnn.onnx"
    x = np.random.default_rng(0).uniform(size=(3, 1, 8, 8)).astype(np.float32)
    arguments: dict[str, Any] = {"target": [7, 1, 3], "n_steps": 8, "internal_batch_size": 2}
    method = onnx_ig.IntegratedGradients(source, provider="cpu")
    expected = method.attribute(x, **arguments)

    uploads: list[int] = []
    upload = onnxruntime.OrtValue.ortvalue_from_numpy

    def recorded(value: np.ndarray, device: str, number: int) -> Any:
        uploads.append(len(value))
        return upload(value, device, number)

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_numpy", recorded)
    monkeypatch.setitem(session_module._DEVICES, CPU, "cpu")
    np.testing.assert_array_equal(method.attribute(x, **arguments), expected)
    assert uploads == [1] + [1, 1] * 3  # the one baseline, then input and target of each example
