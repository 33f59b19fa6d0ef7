"""What a program asked of the pretended device: read in the process that runs over it."""

from __future__ import annotations

import ctypes
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

# The calls that are a kernel on a GPU, or several, and those that begin like them and only prepare one.
_KERNELS = re.compile(
    "kernel |cublas|cufftXtExec|"
    "cudnn(BackendExecute|RNNForward|Convolution(BiasActivation)?Forward|AddTensor|PoolingForward|SoftmaxForward|"
    "ReduceTensor|BatchNorm|ActivationForward|LRNCrossChannelForward)"
)
_PREPARING = re.compile("cublas(Lt)?(Create|Destroy|Set|Get|Matmul(Algo|Desc|Pref)|Matrix(Layout|TransformDesc))")
_WAITS = ("cudaDeviceSynchronize", "cudaStreamSynchronize", "cudaEventSynchronize", "cudaMemcpy")
_PLANS = ("cudnn plan built", "cudnnFindConvolutionForwardAlgorithmEx", "cudnnGetConvolutionForwardAlgorithm_v7")
_OVER_THE_BUS = ("copy host to device", "copy device to host")


class Calls(NamedTuple):
    """How often something was asked for, and of how many bytes in all."""

    times: int
    bytes: int


class Counts(dict[str, Calls]):
    """The calls since :func:`clear`, by name."""

    @property
    def launches(self) -> int:
        """Kernels."""
        return sum(c.times for name, c in self.items() if _KERNELS.match(name) and not _PREPARING.match(name))

    @property
    def waits(self) -> int:
        """Times that the host waits for the device."""
        return sum(self[name].times for name in _WAITS if name in self)

    @property
    def bytes_copied(self) -> int:
        """Bytes copied between the host and the device."""
        return sum(c.bytes for name, c in self.items() if name.startswith(_OVER_THE_BUS))

    @property
    def plans(self) -> int:
        """Convolutions that cuDNN was asked to plan."""
        return sum(self[name].times for name in _PLANS if name in self)


def clear() -> None:
    """Begin to count anew."""
    _library().pretended_clear()


def read() -> Counts:
    """What was counted since :func:`clear`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts"
        if _library().pretended_write(str(path).encode()):
            raise OSError(f"the counts could not be written to {path}")
        lines = (line.split("\t") for line in path.read_text().splitlines())
        return Counts({name: Calls(int(times), int(size)) for name, times, size in lines})


def of(counts: Mapping[str, Calls], beginning: str) -> int:
    """The calls whose names begin so."""
    return sum(calls.times for name, calls in counts.items() if name.startswith(beginning))


def _library() -> ctypes.CDLL:
    return ctypes.CDLL("libcudart.so.13")
