"""A session that opens a model again for fixed shapes once these keep coming.

The one idea: with every dimension known ONNX Runtime folds the arithmetic on shapes away. On a CPU it then finds that
tensors have equal shapes, which it wants to know before it leaves them in the blocked layout of its convolutions
(without convolutions nothing is gained there); on a GPU, which waits for that arithmetic, no node is left to the CPU.
Opening takes as long as a Run or two, so it is done for shapes that have been seen often, and each time that others
come after all it takes longer to be done again. Threads may run it at once: opening waits until no Run is under way,
and Runs wait until the model is open for their shapes.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import onnx_ir as ir

from onnx_ig.common.types import Array
from onnx_ig.errors import ModelError
from onnx_ig.runtime.serialised import ModelLike
from onnx_ig.runtime.session import ProviderSpec, Session

_OFTEN = 12  # Runs of the same shapes
OFTEN_ON_DEVICE = 2  # a call whose path takes several Runs has them of one shape
_CONVOLUTIONS = frozenset(("Conv", "ConvTranspose", "QLinearConv"))
_LONGER = 4  # times as many after each disappointment


class FixedShapesSession(Session):
    """:class:`Session`, for models whose unknown dimensions have names."""

    def __init__(self, model: ModelLike, provider: ProviderSpec = "auto", *, threads: int | None = None) -> None:
        super().__init__(model, provider, threads=threads)
        opened = self._now_open().session
        self._named = {x.name: list(x.shape) for x in (*opened.get_inputs(), *opened.get_overridable_initializers())}
        self._last: dict[str, int] = {}  # the named dimensions of the last Run
        self._times, self._often = 0, _OFTEN if self.device is None else OFTEN_ON_DEVICE
        self._gains = (
            self.device is not None
            or not isinstance(model, ir.Model)
            or any(node.op_type in _CONVOLUTIONS for node in ir.traversal.RecursiveGraphIterator(model.graph))
        )
        self.fixed: dict[str, int] | None = {}  # those that the model is open for; None: it could not be opened
        self._entrance = threading.Lock()  # of Runs, one after the other
        self._under_way, self._ended = 0, threading.Condition()

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """See :meth:`Session.run`."""
        if not self._gains:
            return super().run(feeds, outputs)
        with self._open_for(self._dimensions(feeds)):
            return super().run(feeds, outputs)

    @contextmanager
    def _open_for(self, dimensions: dict[str, int]) -> Iterator[None]:
        """Keep the model open for a Run of these dimensions."""
        with self._entrance:
            self._prepare(dimensions)
            with self._ended:
                self._under_way += 1
        try:
            yield
        finally:
            with self._ended:
                self._under_way -= 1
                self._ended.notify_all()

    def _prepare(self, dimensions: dict[str, int]) -> None:
        self._times = self._times + 1 if dimensions == self._last else 1
        self._last = dimensions
        wanted = dimensions if self._times > self._often or dimensions == self.fixed else {}
        if wanted != self.fixed:
            with self._ended:
                self._ended.wait_for(lambda: not self._under_way)
            self._often *= _LONGER if self.fixed else 1
            self.fixed = None
            try:
                self.open(wanted)
            except ModelError:
                if not wanted:
                    raise
                self._often, wanted = sys.maxsize, {}  # a branch that is not taken may not fit these very dimensions
                self.open(wanted)
            self.fixed = wanted

    def _dimensions(self, feeds: Mapping[str, Array]) -> dict[str, int]:
        """The sizes of the named dimensions; none where one name has two sizes, which broadcasting allows."""
        sizes: dict[str, int] = {}
        for name, value in feeds.items():
            shape = value.shape if isinstance(value, np.ndarray) else value.shape()  # uploaded: a method
            for dimension, size in zip(self._named[name], shape, strict=False):  # of unknown rank: no names
                if isinstance(dimension, str) and sizes.setdefault(dimension, size) != size:
                    return {}
        return sizes
