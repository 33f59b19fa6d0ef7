"""``auto`` on a CPU: the faster of ONNX Runtime and OpenVINO, where both are installed.

The one idea: OpenVINO is asked shape by shape. The first Run of some shapes is ONNX Runtime's; where those that are to
come take long enough for another compilation to be repaid, OpenVINO does it too, and goes on from that very Run if its
numbers are the same and it is the faster one. This machine remembers by how much, so that the same work is done by the
same runtime again, to the same bits.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnx_ir as ir

from onnx_ig.common.types import Array
from onnx_ig.errors import ModelError, OnnxIgError, OutOfMemoryError, ProviderError
from onnx_ig.runtime.fixed_shapes import FixedShapesSession
from onnx_ig.runtime.openvino_session import KEPT, OpenVinoSession, Signature, difference
from onnx_ig.runtime.serialised import ModelLike, as_ir_model
from onnx_ig.runtime.session import import_onnxruntime

WORTH = 1.0  # seconds of the processor that the Runs of a call take; below, nobody asks whether others are faster
CALLS = 10  # with the same shapes, by which compilation should be repaid
_FASTER = 0.9  # the share of the time that it must take, because measurements differ
_CLOSE = 1e-3  # largest ‖y − y'‖ / ‖y'‖: nobody asked for OpenVINO's numbers by name
# What OpenVINO did right once tells nothing of other data where these decide what is computed; and a quantised value
# that is rounded the other way is another model.
_DECIDED_BY_DATA = frozenset(("If", "Loop", "NonZero", "Unique", "Compress", "NonMaxSuppression"))
_FLOAT64 = ir.DataType.DOUBLE  # OpenVINO is told to compute in float32
_QUANTISED = frozenset(("QuantizeLinear", "DynamicQuantizeLinear"))


class FastestSession(FixedShapesSession):
    """A model in ONNX Runtime, and for shapes whose Runs are long in OpenVINO; on a GPU always in ONNX Runtime."""

    def __init__(self, model: ModelLike) -> None:
        self._other: OpenVinoSession | None = None
        self._settled: dict[Signature, bool] = {}  # whether OpenVINO runs these shapes
        super().__init__(model, "auto")
        self._memory: _Memory | None = None  # None: there is nothing to choose
        self._expected = threading.local()  # how many Runs of the same shapes are to come
        self._trial = threading.Lock()
        if self.device is not None or self.widened or _versions() is None:
            return
        graph = as_ir_model(model).graph
        nodes = list(ir.traversal.RecursiveGraphIterator(graph))
        operators = [node.op_type for node in nodes]
        tensors = itertools.chain(graph.inputs, graph.initializers.values(), *(node.outputs for node in nodes))
        if (_DECIDED_BY_DATA | _QUANTISED).isdisjoint(operators) and not any(x.dtype == _FLOAT64 for x in tensors):
            self._memory = _Memory(_what_tells(graph, operators))

    @property
    def provider(self) -> str:
        """Of those in use the one that runs what takes long."""
        other = self._other
        return other.provider if other is not None and any(self._settled.values()) else super().provider

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """See :meth:`onnx_ig.runtime.session.Session.run`."""
        memory = self._memory
        if memory is None:
            return super().run(feeds, outputs)
        shapes = tuple((name, feeds[name].shape) for name in sorted(feeds))
        runs, self._expected.runs = getattr(self._expected, "runs", 1), 1
        if shapes not in self._settled:
            return self._first(shapes, runs, feeds, outputs, memory)
        other = self._other if self._settled[shapes] else None
        if other is not None:
            try:
                return other.run(feeds, outputs)
            except (ModelError, OutOfMemoryError, ProviderError):  # not for these data
                self._settled[shapes] = False
        return super().run(feeds, outputs)

    def expect(self, runs: int) -> None:
        """See :meth:`onnx_ig.runtime.session.Session.expect`."""
        self._expected.runs = runs

    def _first(
        self, shapes: Signature, runs: int, feeds: Mapping[str, Array], outputs: Sequence[str] | None, memory: _Memory
    ) -> dict[str, Array]:
        """The first of some ``runs`` of these shapes, which settles who does the others."""
        began = time.process_time()
        right = super().run(feeds, outputs)
        call = (time.process_time() - began) * runs
        if not self._trial.acquire(blocking=False):  # another thread settles something
            return right
        try:
            taken, self._settled[shapes] = sum(self._settled.values()), False
            if taken == KEPT or not memory.worth(call):
                return right
            try:
                began = time.process_time()
                if self._other is None:
                    self._other = OpenVinoSession(self._model, checked=False)
                other = self._other
                found = other.run(feeds, outputs)
                opening = time.process_time() - began
                same = all(difference(found[name], value) <= _CLOSE for name, value in right.items())
            except OnnxIgError:  # it does not take the model, or cannot even be imported
                same = False
            if not same:
                if not taken:  # nor is it asked again
                    self._memory = self._other = None
                return right
            if not memory.known:
                ours, others = (
                    seconds(lambda: super(FastestSession, self).run(feeds)),
                    seconds(lambda: other.run(feeds)),
                )
                memory.keep(others / ours, opening)
                if not memory.worth(call):
                    self._other = None
                    return right
            self._settled[shapes] = True
            return found
        finally:
            self._trial.release()


def seconds(run: Callable[[], object]) -> float:
    """Of the processor, which other programs do not take longer, of the quicker of two calls."""
    taken = []
    for _ in range(2):
        began = time.process_time()
        run()
        taken.append(time.process_time() - began)
    return min(taken)


def _what_tells(graph: ir.Graph, operators: Sequence[str]) -> str:
    """What decides which runtime is the faster one, as a digest: the work, the runtimes and the machine."""
    weights = [None if x.shape is None else str(x.shape) for x in graph.initializers.values()]
    known = (operators, weights, _versions(), os.cpu_count())
    return hashlib.sha256(repr(known).encode()).hexdigest()


@functools.cache
def _versions() -> tuple[str, ...] | None:
    """Of what computes; None where OpenVINO is not installed, or not as a package that tells its version."""
    try:
        return version("onnx-ig"), version("openvino"), str(import_onnxruntime().__version__)
    except PackageNotFoundError:
        return None


class _Memory:
    """By how much one of them is faster for some work on this machine: a small file in the user's cache folder.

    Attributes:
        known: it was measured.
    """

    def __init__(self, work: str) -> None:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self._file = Path(cache) / "onnx-ig" / "fastest" / f"{work}.json"
        self.known = True
        try:
            found = json.loads(self._file.read_text("utf-8"))
            self._share, self._opening = float(found["share"]), float(found["opening"])
        except (OSError, ValueError, KeyError, TypeError):
            self.known = False

    def worth(self, call: float) -> bool:
        """Whether OpenVINO had better run what takes ONNX Runtime ``call`` seconds each time."""
        if not self.known:
            return call >= WORTH
        return self._share < _FASTER and call * (1 - self._share) * CALLS >= self._opening

    def keep(self, share: float, opening: float) -> None:
        """Remember that it takes ``share`` of ONNX Runtime's time, after ``opening`` seconds for compilation.

        Where nothing can be written, for as long as the model is open.
        """
        self.known, self._share, self._opening = True, share, opening
        if not self._file.is_absolute():  # nobody's home
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            beside = self._file.with_suffix(f".{os.getpid()}.new")
            beside.write_text(json.dumps({"share": share, "opening": opening}), "utf-8")
            os.replace(beside, self._file)
        except OSError:
            return
