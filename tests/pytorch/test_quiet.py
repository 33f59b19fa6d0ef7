"""Exports say nothing, and what the rest of the program says meanwhile is heard."""

from __future__ import annotations

import logging
import sys
import threading
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from onnx_ig import InputXGradient
from onnx_ig.errors import ModelError
from onnx_ig.pytorch.export import export_torch
from onnx_ig.pytorch.quiet import exporting


def _with_no_operator_and_a_branch(x: Tensor) -> Tensor:
    return torch.linalg.svd(x if x.sum() > 0 else -x)[0]


@pytest.mark.parametrize("log_was_on", [False, True])
def test_failing_exporters_say_nothing(log_was_on: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """Each exporter prints the graph that it fails on, one of them past Python's streams.

    Of any TorchScript export of the program's own the log stays on, and is left on.
    """
    torch._C._jit_set_onnx_log_enabled(log_was_on)
    with warnings.catch_warnings(record=True) as seen, pytest.raises(ModelError):
        export_torch(_with_no_operator_and_a_branch, torch.rand(2, 4, 4))
    assert torch._C._jit_is_onnx_log_enabled() == log_was_on
    torch._C._jit_set_onnx_log_enabled(False)
    assert not seen
    assert capfd.readouterr() == ("", "")


def test_other_threads_are_heard(caplog: pytest.LogCaptureFixture) -> None:
    def speak(name: str) -> None:
        logging.getLogger("onnxscript").warning(name)
        warnings.warn(name, FutureWarning, stacklevel=1)

    streams = sys.stdout, sys.stderr
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with exporting():
            assert (sys.stdout, sys.stderr) == streams
            speak("export")
            other = threading.Thread(target=speak, args=("other",))
            other.start()
            other.join()
        speak("afterwards")
    assert [str(warning.message) for warning in seen] == ["other", "afterwards"]
    assert caplog.messages == ["other", "afterwards"]


def test_first_calls_from_many_threads() -> None:
    """Each has the serial answer, x · w, and the program's streams are what they were."""
    layer = nn.Linear(3, 1).eval()
    method, x = InputXGradient(layer), torch.randn(2, 3)
    streams, found = (sys.stdout, sys.stderr), []
    threads = [threading.Thread(target=lambda: found.append(method.attribute(x))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sys.stdout, sys.stderr) == streams
    assert len(found) == len(threads)
    for attributions in found:
        torch.testing.assert_close(attributions, x * layer.weight.detach())


def test_the_table_of_operators_is_built_once_for_exports_alone() -> None:
    """Others may add operators of their own to the table they are given."""
    export_torch(torch.sin, torch.rand(2, 3))
    with exporting():
        assert ONNXRegistry().from_torchlib(opset_version=18) is ONNXRegistry.from_torchlib(opset_version=18)
    assert ONNXRegistry.from_torchlib(opset_version=18) is not ONNXRegistry.from_torchlib(opset_version=18)
