"""The model without its gradient: F(x), the predicted class, and the output's shape."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from onnx_ig.autodiff.float64.rewriting import SpellOutFloat64Pass
from onnx_ig.common.types import Array
from onnx_ig.loading.model import Model, tensors_of
from onnx_ig.runtime.providers import AnySession, open_session
from onnx_ig.runtime.session import ProviderSpec


class ForwardModel:
    """The part of a model that computes one output, opened on first use.

    ``one_row``: the output is a single example without a batch axis; results then get an axis 0 of one.
    """

    at_once = 1

    def __init__(self, model: Model, output: str, one_row: bool, provider: ProviderSpec) -> None:
        self._model, self._output, self._one_row, self._provider = model, output, one_row, provider
        self._session: AnySession | None = None
        self._opening = threading.Lock()

    def __call__(self, feeds: Mapping[str, Array]) -> Array:
        """The output for ``feeds`` (those the output depends on are taken), [N, ...]."""
        session = self.open()
        needed = {name: value for name, value in feeds.items() if name in session.input_names}
        output = session.run(needed)[self._output]
        return output[np.newaxis] if self._one_row else output

    def open(self) -> AnySession:
        """Open it, which the first call does otherwise."""
        with self._opening:
            if self._session is None:
                self._session = open_session(_only(self._model, self._output), self._provider)
            return self._session

    def expect(self, runs: int) -> None:
        """See :meth:`onnx_ig.runtime.session.Session.expect`."""
        self.open().expect(runs)

    def run_each(self, several: Sequence[Mapping[str, Array]]) -> list[Array]:
        """The outputs for several feeds."""
        return [self(feeds) for feeds in several]


def select(output: Array, target: Array | None) -> Array:
    """The target's element of each row of ``output`` [N, ...]: [N]; ``target`` is int64 [N], [N, rank − 1] or None."""
    rows = output.reshape(len(output), -1)
    if target is None:
        return rows[:, 0]
    flat = target if target.ndim == 1 else np.ravel_multi_index(tuple(target.T), output.shape[1:])
    return np.asarray(rows[np.arange(len(rows)), flat])


def _only(model: Model, output: str) -> ir.Model:
    """The model with ``output`` as its only output and nothing that it does not need."""
    forward = model.clone_ir()
    graph = forward.graph
    value = next(v for v in tensors_of(graph) if v.name == output)
    graph.outputs.clear()
    graph.outputs.append(value)
    forward = passes.RemoveUnusedNodesPass()(forward).model
    for x in list(forward.graph.inputs):
        if not x.uses() and x is not value:
            forward.graph.inputs.remove(x)
    SpellOutFloat64Pass()(forward)
    forward.ir_version = max(8, min(forward.ir_version, 10))
    return forward
