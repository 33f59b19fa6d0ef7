"""Into which Runs a request is cut, and what each of them is fed.

The one idea: examples × points form a grid, and a piece of it is as large as memory allows: what a row takes is counted
from the graph, and what did not fit once is not tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_ig.attribution import Plan, contract
from onnx_ig.common.types import Array
from onnx_ig.engine.forward import ForwardModel
from onnx_ig.engine.grid import Grid
from onnx_ig.engine.memory import BytesPerRow, bytes_at_once, rows_per_run
from onnx_ig.engine.request import Request
from onnx_ig.errors import InputError, ModelError
from onnx_ig.runtime.providers import AnySession

PREFIX = "onnx_ig."  # of the names that attribution adds: none of the model's own can be in the way


class Pieces:
    """The pieces of requests to one attribution model.

    Args:
        built: the attribution model, opened in ``session``; ``forward``: the model alone.
    """

    def __init__(
        self,
        plan: Plan,
        built: ir.Model,
        described: contract.Contract,
        session: AnySession,
        forward: ForwardModel,
    ) -> None:
        self._plan, self._contract, self._session, self._forward = plan, described, session, forward
        self._rows: int | None = None  # that fitted, after more did not
        self._bytes = BytesPerRow(built)
        weights = (value.const_value for value in built.graph.initializers.values())
        self._weight_bytes = sum(weight.nbytes for weight in weights if weight is not None)
        self._last: tuple[tuple[Any, ...], int] = ((), 0)  # shapes that came last, and the bytes of a row

    def each(
        self,
        request: Request,
        points: int,
        internal_batch_size: int | None,
        feeds: Callable[[slice, slice, int], Mapping[str, Any]],
        runner: AnySession | ForwardModel,
        take: Callable[[slice, slice, Any], None],
    ) -> None:
        """Give ``take`` what ``runner`` makes of the ``feeds`` of each piece of the grid."""
        rows = self._rows_per_run(request, points, internal_batch_size)
        at_once = max(1, min(runner.at_once, rows // (self._plan.layout.n or 1)))
        if at_once > 1 and rows * self._row_bytes(request) < self._weight_bytes:
            at_once = 1  # each would have to read the weights for itself
        grid = self.grid(request)
        with self.blaming_the_data(request):
            halved = grid.evaluate(
                feeds, runner.run_each, take, rows=rows, points=points, at_once=at_once, expect=runner.expect
            )
        if halved:
            self._rows = max(1, rows // 2)

    def feeds(self, request: Request, rows: slice) -> dict[str, Array]:
        """What a Run is fed for the examples ``rows``, but for the path."""
        grid = self.grid(request)
        feeds = {n: grid.rows_of(v, rows) for n, v in (*request.inputs.items(), *request.per_example.items())}
        feeds.update(request.shared)
        target = request.target
        targets = (
            {PREFIX + contract.TARGET: target} if target is not None else self._contract.first_targets(request.examples)
        )
        feeds.update({name: grid.rows_of(value, rows) for name, value in targets.items()})
        for_all = self.for_all(request)
        for name, value in request.baselines.items():
            key = PREFIX + contract.BASELINE + name
            if value.shape[:1] == (1,) and key not in for_all:
                value = np.broadcast_to(value, request.inputs[name].shape)
            feeds[key] = value if key in for_all else grid.rows_of(value, rows)
        return {
            n: np.ascontiguousarray(v)
            for n, v in feeds.items()
            if n in self._session.input_names or n in request.inputs
        }

    def for_all(self, request: Request) -> set[str]:
        """The feeds of which one value serves every example."""
        if not self._plan.layout.batched:
            return set(request.shared)
        one_row = [n for n, x in request.baselines.items() if x.shape[:1] == (1,) != request.inputs[n].shape[:1]]
        return {*request.shared, *(PREFIX + contract.BASELINE + name for name in one_row)}

    def few_rows(self, request: Request) -> dict[str, Array]:
        """What the model is fed for as few examples as it takes."""
        rows = request.examples if self._plan.layout.whole else self._plan.layout.n or 1
        return self.feeds(request, slice(0, rows))

    def grid(self, request: Request) -> Grid:
        """Its examples × any points."""
        return Grid(self._plan.layout, request.examples)

    @contextmanager
    def blaming_the_data(self, request: Request) -> Iterator[None]:
        """Say it of the data if what failed is no more than what the model itself makes of them.

        Raises:
            InputError: the model does not run on the arrays of ``request``.
        """
        try:
            yield
        except ModelError as error:
            try:
                self._forward(self.few_rows(request))
            except ModelError as cause:
                arrays = {**request.inputs, **request.per_example, **request.shared}
                shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in arrays.items())
                raise InputError(f"the model itself does not run on these arrays ({shapes}): {cause}") from error
            raise

    def _rows_per_run(self, request: Request, points: int, at_most: int | None) -> int:
        """As many as fit in memory, or ``at_most``."""
        if not self._plan.layout.batched:
            if self._plan.layout.whole:
                return self.grid(request).rows_together(at_most)
            return 1 if self._plan.layout.apart else at_most or 1
        wanted = request.examples * points
        if wanted == 1:
            return 1
        most = bytes_at_once(self._session)
        row_bytes = self._row_bytes(request, enough=most // wanted)
        rows = rows_per_run(row_bytes, self._session, at_most, most)
        return rows if self._rows is None else min(rows, self._rows)

    def _row_bytes(self, request: Request, enough: int = 0) -> int:
        """The bytes that one row's tensors take at once, or a bound of them that is not above ``enough``."""
        arrays = (request.inputs, request.per_example, request.shared)
        rank = -1 if request.target is None else request.target.ndim
        key = (rank, request.examples, len(request.baselines), *(v.shape for part in arrays for v in part.values()))
        known, held = self._last
        if key != known or held > enough:
            held = self._counted_row_bytes(request, enough)
            self._last = (key, held)
        return held

    def _counted_row_bytes(self, request: Request, enough: int) -> int:
        rows = request.examples if self._plan.layout.whole else self._plan.layout.n or 1
        first = {**request.inputs, **request.per_example}
        shapes = {n: v.shape if self._plan.layout.kind == "none" else (rows, *v.shape[1:]) for n, v in first.items()}
        shapes |= {n: v.shape for n, v in request.shared.items()}
        shapes |= {PREFIX + contract.BASELINE + n: shapes[n] for n in request.baselines}
        target = request.target
        targets = self._contract.first_targets(rows) if target is None else {PREFIX + contract.TARGET: target}
        shapes |= {n: (rows, *v.shape[1:]) for n, v in targets.items()}
        shapes.update({PREFIX + contract.PATH_NODES: (1,), PREFIX + contract.PATH_WEIGHTS: (1,)})
        shapes[PREFIX + contract.PATH_PARTS] = (self._plan.path_parts, 2)
        return self._bytes.per_row(shapes, enough)
