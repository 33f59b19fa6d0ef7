"""The output of the model in a file that leaves the target open: its range, and the predicted class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_ig.attribution.contract import Contract
from onnx_ig.common.types import Array
from onnx_ig.engine.grid import Grid
from onnx_ig.engine.request import Request
from onnx_ig.errors import UsageError
from onnx_ig.loading.model import Model, tensors_of
from onnx_ig.methods.arguments import UNKNOWN_RANGE
from onnx_ig.runtime.providers import open_session
from onnx_ig.runtime.session import ProviderSpec


class FileOutput:
    """The output that an attribution model selects from, by the part of the file that is the source model's own.

    Args:
        grid: the examples; ``feeds``: what the source model is fed for a slice of them.

    Attributes:
        range_unknown: the file does not tell the output's range, so any index passes and F is NaN where it is outside.
    """

    def __init__(
        self,
        model: Model,
        contract: Contract,
        provider: ProviderSpec,
        grid: Grid,
        feeds: Callable[[slice], dict[str, Array]],
        internal_batch_size: int | None,
    ) -> None:
        self._model, self._contract, self._provider, self._grid, self._feeds = model, contract, provider, grid, feeds
        self._rows = grid.rows_at_one_point(internal_batch_size)
        self._output = next((v for v in tensors_of(model.ir_model.graph) if v.name == contract.output), None)
        self.range_unknown = bool(contract.named("target")) and self._output is None

    @property
    def batched(self) -> bool:
        """Whether the output has an axis of examples before the dimensions of one."""
        return self._contract.layout != "none"

    def output_dims(self, request: Request) -> list[int]:
        """The output's dimensions for one example: declared, or as it comes out."""
        (name,) = self._contract.named("target")
        shape = next(x.shape for x in self._model.inputs if x.name == name)
        own = [] if shape is None else list(shape)[1 if self._contract.targets == 1 else 2 :]
        rank = int(own[0]) if own else 1  # type: ignore[arg-type]
        if self._output is None:
            return [UNKNOWN_RANGE] * rank
        declared = [] if self._output.shape is None else list(self._output.shape)[-rank:]
        if declared and all(isinstance(d, int) for d in declared):
            return [int(d) for d in declared]  # type: ignore[arg-type]
        return list(self._at_x().shape[-rank:])

    def predicted(self, request: Request) -> Array:
        """The arg-max class of each example, int64 [N].

        Raises:
            UsageError: the file does not compute the output by itself.
        """
        return np.argmax(self._at_x(), axis=-1).reshape(-1)

    def outputs(self, request: Request) -> Array:
        """The output for each example, [N, ...].

        Raises:
            UsageError: as :meth:`predicted`.
        """
        found = self._at_x()
        return found if self.batched else found[None]

    def _at_x(self) -> Array:
        contract = self._contract
        if self._output is None:
            raise UsageError(f"this attribution model does not compute {contract.output!r} by itself: give target=")
        own = [entry.name for entry in contract.inputs if entry.role in ("attributed", "per_example", "shared")]
        graph = ir.convenience.extract(self._model.ir_model.graph, own, [contract.output])
        session = open_session(ir.Model(graph, ir_version=self._model.ir_model.ir_version), self._provider)
        outputs: dict[str, Array] = {}

        def feeds(rows: slice, *_: Any) -> dict[str, Array]:
            return {name: value for name, value in self._feeds(rows).items() if name in session.input_names}

        def take(rows: slice, points: slice, result: Mapping[str, Array]) -> None:
            self._grid.put(outputs, contract.output, result[contract.output], rows)

        self._grid.evaluate(feeds, lambda several: [session.run(fed) for fed in several], take, rows=self._rows)
        return outputs[contract.output]
