"""Open a model in ONNX Runtime, run it, and say truthfully where it runs: nothing falls back silently."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_ig.common.suggestions import nearest
from onnx_ig.common.types import Array, Provider
from onnx_ig.errors import (
    InputError,
    MissingDependencyError,
    ModelError,
    NotDifferentiableError,
    OnnxIgError,
    OutOfMemoryError,
    ProviderError,
)
from onnx_ig.runtime import forms, tensorrt
from onnx_ig.runtime.device_memory import free_device_memory
from onnx_ig.runtime.heap import give_back_freed_memory
from onnx_ig.runtime.in_place import read_weights_in_place
from onnx_ig.runtime.serialised import ModelLike, as_ir_model, openable, scratch_folder
from onnx_ig.runtime.widening import BFLOAT16, in_float32

# no Sequence: to a type checker every text is one of texts, and any word would be a provider
ProviderSpec = (
    Provider | list[str] | list[str | tuple[str, Mapping[str, Any]]] | tuple[str | tuple[str, Mapping[str, Any]], ...]
)

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
# What ONNX Runtime is told: left to itself, its CUDA provider rounds the factors of float32 products to TF32's 10 bits.
PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": (CPU, {}),
    "cuda": (CUDA, {"use_tf32": "0"}),
    "cuda-tf32": (CUDA, {"use_tf32": "1"}),
    "tensorrt": (TENSORRT, {}),
}
# Providers with a memory of their own, and what ONNX Runtime calls the device.
_DEVICES = {CUDA: "cuda", TENSORRT: "cuda"}
_SHARED_TYPES = frozenset((ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16))
# Measured on two cores: from here on ResNet-50 and a vision transformer became slower by a twentieth.
_WORKING_SET_BYTES = 160 << 20
# Not measured: enough to keep thousands of cores busy, with all path points of an example of most models in one Run.
_WORKING_SET_BYTES_ON_DEVICE = 8 << 30
_SHARE_OF_DEVICE = 0.25  # of its free memory; a runtime's arena takes up to twice what the tensors need
_WORKING_SET_BYTES_IF_UNTOLD = 2 << 30
# How long a thread looks for work before it sleeps. By default it is long enough to take the core from what else runs
# there: beside one busy process, on two cores, MobileNetV3 takes 0.64 times as long so, and alone as long as before.
_SPIN_MICROSECONDS = "20"
# A product with its bias as one Gemm is two kernels there as well, and the bias then is not found by what would take it
# into a GELU's kernel.
_LEFT_OUT_ON_CUDA = ("MatMulAddFusion",)
_KIND = re.compile(r"\[ONNXRuntimeError\] : \d+ : (FAIL|INVALID_ARGUMENT|RUNTIME_EXCEPTION) : ")
_FAILED_NODE = re.compile(r"Non-zero status code returned while running (\w+) node\. Name:'(.*?)' Status Message: ")
_CHANGES_SHAPE = re.compile(r"Name:'([^']*)' Status Message: Inconsistent shape in loop output")
_ONE_SHAPE = (
    "what it gives out at every step has another shape at another one, and a gradient needs its states of all steps",
    "Start its states with the shape that a step gives them (an Expand before the Loop), and write a tensor that grows "
    "as a scan output, one slice per step",
)
_IN_ITS_SOURCES = re.compile(r"\S*\.(?:h|cc):\d+ (?:(?:[\w:]+ )*onnxruntime::\S*?\(.*?\) (?:const )?)?")
OUT_OF_MEMORY_SIGNS = (
    *("Failed to allocate memory", "bad_alloc", "out of memory", "BFCArena::AllocateRawInternal"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "DEVICE_ALLOCATION_FAILED"),
)


def import_onnxruntime() -> ModuleType:
    """ONNX Runtime, or an error naming the extras that bring it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "running a model needs ONNX Runtime: pip install 'onnx-ig[cpu]' (or 'onnx-ig[gpu]' for CUDA)"
        ) from error
    return onnxruntime


@dataclass(frozen=True)
class _Opened:
    """ONNX Runtime's session and the weights it reads where they lie: who holds this may run it, whatever is opened
    meanwhile.
    """

    session: Any
    weights: Mapping[str, Any]


class Session:
    """A model opened in ONNX Runtime. Threads may share it.

    Attributes:
        widened: it holds bfloat16, which NumPy and ONNX Runtime cannot hand each other, and for which there are hardly
            any kernels: it is computed in float32.

    Args:
        model: a path, serialised bytes, a ModelProto or an onnx_ir model (also over 2 GB).
        provider: ``auto`` (``cuda`` if it really opens, else ``cpu``), ``cpu``, ``cuda``, ``cuda-tf32`` (float32
            products from factors rounded to 10 bits), ``tensorrt`` (likewise, unless NVIDIA_TF32_OVERRIDE=0 is set;
            what it does not take, loops among it, runs on CUDA),
            or ONNX Runtime's own list of provider names and (name, options) pairs.
        threads: intra-op threads; ONNX Runtime's default (one per physical core) when None.

    Raises:
        ProviderError: a provider asked for by name is absent or was not actually used.
        ModelError: ONNX Runtime refuses the model.
    """

    at_once = 1  # how many sets of feeds run_each had better be given

    def __init__(self, model: ModelLike, provider: ProviderSpec = "auto", *, threads: int | None = None) -> None:
        self._model, self._threads = model, threads
        self._requested, self._strict = _requested_providers(import_onnxruntime(), provider)
        self.widened, self._narrow_outputs = False, frozenset[str]()
        self._on_device: int | None = None  # bytes of a Run's tensors on a device
        self.open({})

    def open(self, dimensions: Mapping[str, int]) -> None:
        """Open the model, again if it is open, for these sizes of named dimensions of its inputs and any of the others.

        Not while another thread runs it: what is open is closed first, because two at once would need twice the memory.

        Raises:
            See the class.
        """
        self._opened: _Opened | None = None
        give_back_freed_memory()
        try:
            session, weights = self._new_session(dimensions)
        except ModelError as error:
            if not lacks_kernel(error) or not self._widen():
                raise
            session, weights = self._new_session(dimensions)
        if "tensor(bfloat16)" in {x.type for x in (*session.get_inputs(), *session.get_outputs())} and self._widen():
            session, weights = self._new_session(dimensions)
        give_back_freed_memory()
        session.disable_fallback()  # a run that fails on the GPU would be repeated on the CPU
        self.providers: list[str] = session.get_providers()
        if self._strict:
            missing = [name for name in map(_name, self._requested) if name not in self.providers]
            if missing:
                raise ProviderError(
                    f"{missing[0]} was asked for but ONNX Runtime opened the model on {', '.join(self.providers)}; "
                    f"{tensorrt.NEEDED if missing[0] == TENSORRT else 'its libraries (CUDA, cuDNN)'} could not be "
                    "loaded: install 'onnx-ig[gpu]' on a machine with a GPU, or ask for provider='cpu'"
                )
        taken = (*session.get_inputs(), *session.get_overridable_initializers())  # these need not be fed
        self.input_names: list[str] = [value.name for value in taken]
        self.output_names: list[str] = [value.name for value in session.get_outputs()]
        self._opened = _Opened(session, weights)

    def _new_session(self, dimensions: Mapping[str, int]) -> tuple[Any, Mapping[str, Any]]:
        """ONNX Runtime's session of the model, and the weights that it reads where they lie."""
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 4  # what it logs as an error comes as an exception, also where that is caught
        # its threads would look for work between two Runs, at the cost of what runs there: torch, the other session
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_MICROSECONDS)
        options.enable_mem_pattern = False  # it plans the largest run as one block beside what the arena holds already
        for name, size in dimensions.items():
            options.add_free_dimension_override_by_name(name, size)
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        weights: dict[str, Any] = {}
        with scratch_folder() as scratch:
            try:
                model = self._model
                if self._on_cuda():
                    model = as_ir_model(model)  # files too: what a kernel's launch costs is not the file's size
                if isinstance(model, ir.Model):
                    model = model.clone()
                    with _fixed(model.graph.inputs, dimensions if self._on_cuda() else {}):
                        model, weights = self._fastest_form(ort, model, options)
                left_out = list(_LEFT_OUT_ON_CUDA) if self._on_cuda() else []
                session = ort.InferenceSession(
                    openable(model, scratch), options, providers=self._requested, disabled_optimizers=left_out
                )
            except Exception as error:  # ONNX Runtime's exceptions share no public base class
                raise _translated(error, "open the model") from error
        return session, weights

    def _widen(self) -> bool:
        """Have float32 in place of bfloat16; whether there was any."""
        wide = in_float32(self._model)
        if wide is None:
            return False
        self._model, self._narrow_outputs = wide
        self.widened = True
        return True

    def _on_cuda(self) -> bool:
        return _name(self._requested[0]) == CUDA

    def _fastest_form(self, ort: ModuleType, model: ir.Model, options: Any) -> tuple[ir.Model, dict[str, Any]]:
        """``model`` changed to the form that the provider runs fastest, and ``options`` with it.

        With the weights that the session will read where they lie.
        """
        on_cpu = list(map(_name, self._requested)) == [CPU]
        own = forms.ONNX_RUNTIME_CUDA if self._on_cuda() else forms.ONNX_RUNTIME
        (forms.ONNX_RUNTIME_CPU if on_cpu else own)(model)
        if not on_cpu:
            return model, {}
        tensors = {name: model.graph.initializers[name].const_value for name in read_weights_in_place(model)}
        in_place = {
            name: ort.OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(tensor.numpy()), tensor.dtype)
            for name, tensor in tensors.items()
            if tensor is not None and tensor.dtype in _SHARED_TYPES
        }
        if in_place:
            options.add_session_config_entry("session.disable_prepacking", "1")
            for name, value in in_place.items():
                options.add_initializer(name, value)
        return model, in_place

    @property
    def provider(self) -> str:
        """The first provider in use, for example ``CUDAExecutionProvider``."""
        return self.providers[0]

    @property
    def device(self) -> str | None:
        """Where inputs are uploaded to; None: the provider computes in the process's own memory."""
        return _DEVICES.get(self.provider)

    @property
    def working_set_bytes(self) -> int:
        """How much the tensors of a Run should take: more is not faster, and costs memory.

        On a device it is settled when it is first asked for: what its arena holds later is free for the next Run.
        """
        if self.device is None:
            return _WORKING_SET_BYTES
        if self._on_device is None:
            free = free_device_memory(self._device_number())
            share = _WORKING_SET_BYTES_IF_UNTOLD if free is None else int(free * _SHARE_OF_DEVICE)
            self._on_device = min(_WORKING_SET_BYTES_ON_DEVICE, share)
        return self._on_device

    def _device_number(self) -> int:
        return int(self._now_open().session.get_provider_options()[self.provider].get("device_id", 0))

    def placed(self, feeds: Mapping[str, Array]) -> dict[str, Any]:
        """``feeds`` as :meth:`run` takes them, uploaded to the device: for values that several runs share.

        Raises:
            OutOfMemoryError: they do not fit in the device's memory.
        """
        feeds = self._fed(feeds)
        if self.device is None:
            return dict(feeds)
        number = self._device_number()
        upload = import_onnxruntime().OrtValue.ortvalue_from_numpy
        try:
            return {name: upload(value, self.device, number) for name, value in feeds.items()}
        except Exception as error:  # as in open
            raise _translated(error, "upload the inputs") from error

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Evaluate the model; returns arrays by output name.

        Raises:
            OutOfMemoryError: the device's memory did not suffice (a smaller batch may).
        """
        names = list(outputs) if outputs is not None else self.output_names
        opened = self._now_open()  # held until the Run has ended
        try:
            values = opened.session.run(names, self._fed(feeds))
        except Exception as error:
            raise _translated(error, "run the model") from error
        found = dict(zip(names, values, strict=True))
        return found | {name: found[name].astype(BFLOAT16) for name in self._narrow_outputs & found.keys()}

    def _fed(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """``feeds`` in the types that the opened model declares."""
        if not self.widened:
            return dict(feeds)
        return {
            n: v.astype(np.float32) if isinstance(v, np.ndarray) and v.dtype == BFLOAT16 else v
            for n, v in feeds.items()
        }

    def expect(self, runs: int) -> None:
        """Be told how many Runs of the same shapes are to come, so that what pays for many is done for them."""

    def run_each(self, several: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
        """:meth:`run` for several feeds of the same shapes."""
        return [self.run(feeds) for feeds in several]

    def _now_open(self) -> _Opened:
        assert self._opened is not None, "the model could not be opened"
        return self._opened


def _requested_providers(ort: ModuleType, provider: ProviderSpec) -> tuple[list[Any], bool]:
    """ONNX Runtime's provider list and whether each of them must really be used."""
    available = ort.get_available_providers()
    if provider == "auto":
        entries: list[Any] = [PROVIDERS[name] for name in ("cuda", "cpu") if PROVIDERS[name][0] in available]
    elif isinstance(provider, str):
        if provider not in PROVIDERS:
            known = ["auto", *PROVIDERS, "openvino", "openvino-bf16"]
            raise ProviderError(f"unknown provider {provider!r}{nearest(provider, known)}: choose {', '.join(known)}")
        entries = [PROVIDERS[provider]]
        if provider == "tensorrt":
            entries = [(TENSORRT, tensorrt.options()), PROVIDERS["cuda"]]  # not the CPU for what it does not take
    else:
        entries = list(provider)
    for name in map(_name, entries):
        if name not in available:
            raise ProviderError(
                f"{name} is not in this ONNX Runtime (it has {', '.join(available)}); "
                "for CUDA install 'onnx-ig[gpu]' instead of 'onnx-ig[cpu]', or ask for provider='cpu'"
            )
    if not _DEVICES.keys().isdisjoint(map(_name, entries)):
        # the CUDA libraries that pip installed are on no search path; it prints what it does not find
        _printing_on_stderr(ort.preload_dlls)()
    return entries, provider != "auto"


@contextmanager
def _fixed(inputs: Sequence[ir.Value], dimensions: Mapping[str, int]) -> Iterator[None]:
    """Let the shapes of ``inputs`` have these sizes of named dimensions meanwhile.

    ONNX Runtime is told of them by its own option: with shapes that are numbers it leaves a Transpose more in an LSTM.
    """
    shapes = [x.shape for x in inputs]
    for x in inputs:
        if x.shape is not None:
            x.shape = ir.Shape([d if isinstance(d, int) else dimensions.get(str(d.value), d) for d in x.shape])
    try:
        yield
    finally:
        for x, shape in zip(inputs, shapes, strict=True):
            x.shape = shape


def _printing_on_stderr(function: FunctionType) -> Callable[[], None]:
    """``function``, whose prints go to stderr; redirecting stdout would redirect other threads' prints as well."""
    names = {**function.__globals__, "print": functools.partial(print, file=sys.stderr)}
    return FunctionType(function.__code__, names, argdefs=function.__defaults__, closure=function.__closure__)


def _name(entry: str | tuple[str, Mapping[str, Any]]) -> str:
    return entry if isinstance(entry, str) else entry[0]


def _translated(error: Exception, doing: str) -> Exception:
    """ONNX Runtime's exception as one of ours, its first line kept."""
    if isinstance(error, OnnxIgError):
        return error
    text = str(error).strip()
    if isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY_SIGNS):
        return OutOfMemoryError(f"out of memory while trying to {doing}: {text.splitlines()[0]}")
    if "Unknown Category" in text:
        return InputError(
            "an encoder of the model does not know one of the given categories, nor takes unknown ones: give data, and "
            "for what is attributed a baseline, of known categories (the baselines are 0 and no text unless given)"
        )
    changes = _CHANGES_SHAPE.search(text)
    if changes is not None:
        return NotDifferentiableError("Loop", changes[1], *_ONE_SHAPE)
    found = ModelError(f"ONNX Runtime could not {doing}: {_reason(text) if text else type(error).__name__}")
    if not lacks_kernel(found):
        return found
    return ModelError(
        f"{found}. It has no kernel for this operator at these types: convert the model to float32 (in PyTorch "
        "model.float(), without autocast), or choose another provider"
    )


def _reason(text: str) -> str:
    """The first line of ONNX Runtime's message: of a failed node what and why, without where in its sources."""
    line = _KIND.sub("", text.splitlines()[0])
    return _IN_ITS_SOURCES.sub("", _FAILED_NODE.sub(r"\1 \2: ", line)).strip()


def lacks_kernel(error: ModelError) -> bool:
    """Whether ONNX Runtime refused a model because it has no kernel for an operator at the model's types."""
    return any(sign in str(error) for sign in ("NOT_IMPLEMENTED", "tensor(bfloat16)"))
