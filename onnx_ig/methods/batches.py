"""``attribute`` for many batches, for every method."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from onnx_ig.common.pipeline import overlapped
from onnx_ig.errors import UsageError


class Batches:
    """A method that has ``attribute``."""

    def attribute(self, *args: Any, **kwargs: Any) -> Any:
        """See the methods."""
        raise NotImplementedError

    def attribute_each(self, calls: Iterable[Mapping[str, Any]], **common: Any) -> Iterator[tuple[Any, Any]]:
        """Call ``attribute`` for many batches; while the caller uses one result, the next are read and computed.

        Args:
            calls: for each call, arguments of ``attribute`` by name, ``inputs`` among them; for instance a generator
                that reads files. It is read in a thread of its own, a few items ahead.
            common: arguments that all calls share.

        Yields:
            Each of ``calls``, and what ``attribute`` returns for it, in order.

        Raises:
            UsageError: an item is not a mapping with ``inputs``. What ``calls`` and ``attribute`` raise.
        """

        def result(call: Mapping[str, Any]) -> Any:
            if not isinstance(call, Mapping) or "inputs" not in call:
                raise UsageError(
                    "each item must hold attribute's arguments by name, such as {'inputs': x, 'target': 3}"
                )
            return self.attribute(**{**common, **call})

        return overlapped(calls, result)
