"""Open a model in OpenVINO on CPU, and believe its numbers only after ONNX Runtime has given the same.

The one idea: OpenVINO is fastest with static shapes, so each set of input shapes gets a compiled model of its own; and
it has been seen to compute wrong gradients without a word, so the first run is compared with ONNX Runtime's.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError, ModelError, OnnxIgError, OutOfMemoryError, ProviderError
from onnx_ig.runtime import forms
from onnx_ig.runtime.heap import give_back_freed_memory
from onnx_ig.runtime.serialised import ModelLike, openable, scratch_folder
from onnx_ig.runtime.session import OUT_OF_MEMORY_SIGNS, Session

# What OpenVINO is told to compute in: left to itself it takes bfloat16 where the processor has it.
PRECISIONS = {"openvino": "f32", "openvino-bf16": "bf16"}
# Largest ‖y − y'‖ / ‖y'‖ to ONNX Runtime's y': a norm, because single elements at the kink of a Relu may flip.
_TOLERANCE = {"f32": 2e-2, "bf16": 2e-1}
_INT32 = 2**31  # its CPU plugin holds 64-bit integers in 32 bits, without a word
KEPT = 2  # compiled models: full pieces, and the last one

Signature = tuple[tuple[str, tuple[int, ...]], ...]


class OpenVinoSession:
    """A model opened in OpenVINO, with the methods of :class:`onnx_ig.runtime.session.Session`.

    Threads may share it and run it one after the other: a request holds one Run, and a Run takes all cores.

    Args:
        model: a path, serialised bytes, a ModelProto or an onnx_ir model.
        provider: ``openvino`` (computes in float32) or ``openvino-bf16``.
        checked: compare the first run with ONNX Runtime's.
        static: compile the model for the shapes it is fed; else once, as the file is.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        ModelError: OpenVINO refuses the model.
    """

    working_set_bytes = 512 << 20  # up to here larger batches were faster, BERT's by a tenth
    device = None  # it computes in the process's own memory
    widened = False
    # Each core then goes its own way: on two of them an LSTM was a fifth faster, a vision transformer a tenth.
    at_once = min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

    def __init__(
        self, model: ModelLike, provider: str = "openvino", *, checked: bool = True, static: bool = True
    ) -> None:
        self.provider, self.providers = provider, [provider]
        self._precision, self._static = PRECISIONS[provider], static
        self._core = import_openvino().Core()
        self._unchecked: ModelLike | None = model if checked else None
        self._scratch = scratch_folder()  # the weights are mapped from there
        if isinstance(model, ir.Model):
            model = model.clone()
            forms.OPENVINO(model)
        try:
            self._model = self._core.read_model(openable(model, self._scratch.name))
        except Exception as error:  # OpenVINO's exceptions are RuntimeErrors
            raise _translated(error, "open the model") from error
        give_back_freed_memory()
        # an input may have further names, of tensors that OpenVINO finds to be the same
        self.input_names: list[str] = [port.node.friendly_name for port in self._model.inputs]
        self.output_names: list[str] = [name for port in self._model.outputs for name in port.get_names()]
        self._compiled: OrderedDict[Signature, list[Any]] = OrderedDict()  # requests, one for each stream
        self._turn = threading.Lock()

    def placed(self, feeds: Mapping[str, Array]) -> dict[str, Any]:
        """``feeds``: they are where the device reads them."""
        return dict(feeds)

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Evaluate the model; returns arrays by output name.

        Raises:
            ModelError: an input is missing, or of a shape that the model does not take.
            OutOfMemoryError: memory did not suffice (a smaller batch may).
            ProviderError: the first run differs from ONNX Runtime's.
        """
        (found,) = self.run_each([feeds])
        return found if outputs is None else {name: found[name] for name in outputs}

    def expect(self, runs: int) -> None:
        """See :meth:`onnx_ig.runtime.session.Session.expect`: it compiles for all shapes."""

    def run_each(self, several: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
        """:meth:`run` for several feeds of the same shapes, at the same time, the cores divided between them."""
        for feeds in several:
            self._require_feeds(feeds)
        with self._turn:
            return self._run_each(several)

    def _run_each(self, several: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
        expected = None if self._unchecked is None else self._expected(self._unchecked, several[0])
        try:
            requests = self._requests(several[0], len(several))
            for request, feeds in zip(requests, several, strict=True):
                request.start_async({name: feeds[name] for name in self.input_names}, share_inputs=True)
            _wait_for(requests)
        except Exception as error:
            raise _translated(error, "run the model") from error
        found = [self._outputs(request) for request in requests]
        if expected is not None:
            self._check(found[0], expected)
            self._unchecked = None
        return found

    def _require_feeds(self, feeds: Mapping[str, Array]) -> None:
        missing = next((name for name in self.input_names if name not in feeds), None)
        if missing is not None:
            raise ModelError(f"OpenVINO could not run the model: input {missing!r} is not fed")
        for name in self.input_names:
            value = feeds[name]
            if value.dtype.kind in "iu" and value.size and not (-_INT32 <= value.min() <= value.max() < _INT32):
                raise ModelError(f"OpenVINO could not run the model: it takes input {name!r} modulo 2³²")

    def _outputs(self, request: Any) -> dict[str, Array]:
        return {
            name: np.array(request.get_output_tensor(index).data)
            for index, port in enumerate(self._model.outputs)
            for name in port.get_names()
        }

    def _requests(self, feeds: Mapping[str, Array], count: int) -> list[Any]:
        """As many inference requests of the model compiled for these shapes."""
        signature = tuple((name, feeds[name].shape) for name in self.input_names) if self._static else ()
        if len(self._compiled.get(signature, ())) < count:
            self._compiled.pop(signature, None)
            while len(self._compiled) >= KEPT:
                self._compiled.popitem(last=False)
            model = self._model.clone()
            if self._static:
                model.reshape({port: list(feeds[port.node.friendly_name].shape) for port in model.inputs})
            # a stream is a share of the cores that evaluates a request by itself
            options = {"INFERENCE_PRECISION_HINT": self._precision, "NUM_STREAMS": str(count)}
            compiled = self._core.compile_model(model, "CPU", options)
            self._compiled[signature] = [compiled.create_infer_request() for _ in range(count)]
            give_back_freed_memory()
        self._compiled.move_to_end(signature)
        return self._compiled[signature][:count]

    def _expected(self, model: ModelLike, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """ONNX Runtime's numbers, taken before OpenVINO's, because two runtimes at once need the memory of both."""
        found = Session(model, "cpu").run({name: feeds[name] for name in self.input_names})
        copies = {name: value.copy() for name, value in found.items()}  # the arrays share the session's memory
        found.clear()
        give_back_freed_memory()
        return copies

    def _check(self, found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
        """Compare a run with ONNX Runtime's."""
        for name, right in expected.items():
            distance = difference(found[name], right)
            if not distance <= _TOLERANCE[self._precision]:
                raise ProviderError(
                    f"OpenVINO's numbers for {name!r} are not ONNX Runtime's (relative difference {distance:.2g}): "
                    "they would be wrong; use provider='cpu'"
                )


def _wait_for(requests: Sequence[Any]) -> None:
    """Wait until none runs any more; raise what the first that failed raised."""
    errors = []
    for request in requests:
        try:
            request.wait()
        except Exception as error:  # OpenVINO's are RuntimeErrors
            errors.append(error)
    if errors:
        raise errors[0]


def difference(mine: Array, right: Array) -> float:
    """‖y − y'‖ / ‖y'‖ over the finite elements; infinity where others, or integers, are not the same."""
    if right.dtype.kind != "f":
        return 0.0 if np.array_equal(mine, right) else float("inf")
    finite = np.isfinite(right)
    if mine.shape != right.shape or not np.array_equal(np.isfinite(mine), finite):
        return float("inf")
    a, b = mine[finite].astype(np.float64), right[finite].astype(np.float64)
    return float(np.linalg.norm(a - b) / (np.linalg.norm(b) or 1.0))


def import_openvino() -> ModuleType:
    """OpenVINO, or an error naming the extra that brings it."""
    try:
        import openvino
    except ImportError as error:
        raise MissingDependencyError("running a model in OpenVINO needs it: pip install 'onnx-ig[openvino]'") from error
    return openvino


def _translated(error: Exception, doing: str) -> Exception:
    if isinstance(error, OnnxIgError):
        return error
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY_SIGNS):
        return OutOfMemoryError(f"out of memory while trying to {doing}: {text[:400]}")
    return ModelError(f"OpenVINO could not {doing}: {text[:400]}")
