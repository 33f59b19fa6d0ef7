"""Dispatch modes that follow a function into the branches of torch.cond and the body of torch.while_loop.

The one idea: torch compiles these when they are called outside an export, which no mode of ours can follow, and which
leaves torch unable to call them again. While a mode watches a thread they are run there as plain Python.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode


class _Watched(threading.local):
    """How many modes watch this thread."""

    depth = 0


_WATCHED = _Watched()


def _plain_where_watched(compiled: Callable[..., Any]) -> Callable[..., Any]:
    def called(function: Callable[..., Any], args: Any, kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {})) if _WATCHED.depth else compiled(function, args, kwargs)

    return called


try:
    import torch._higher_order_ops.utils as higher_order

    higher_order._hop_compile_and_call = _plain_where_watched(higher_order._hop_compile_and_call)
except (ImportError, AttributeError):  # it is not public: another torch compiles them, and refuses to be watched itself
    pass


class Watching(TorchDispatchMode):
    """A mode that sees every operator, and those inside torch.cond and torch.while_loop in place of these."""

    supports_higher_order_operators = True

    def __enter__(self) -> Any:
        _WATCHED.depth += 1
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        _WATCHED.depth -= 1
        super().__exit__(*exception)

    def operator(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What an operator returns: here what it is."""
        return function(*args, **kwargs)

    def decided(self, condition: Tensor) -> bool:
        """The value of a condition by which torch.cond or torch.while_loop decides."""
        return bool(condition)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not isinstance(function, HigherOrderOperator):
            return self.operator(function, args, kwargs)
        if function.name() == "cond":
            condition, yes, no, operands = args
            chosen = yes if self._holds(condition) else no
            with self:
                return chosen(*operands)
        if function.name() == "while_loop":
            condition, body, carried, further = args
            while self._holds(self._followed(condition, carried, further)):
                carried = self._followed(body, carried, further)
            return carried
        return function(*args, **kwargs)

    def _followed(self, function: Callable[..., Any], carried: Any, further: Any) -> Any:
        with self:
            return function(*carried, *further)

    def _holds(self, condition: Any) -> bool:
        return self.decided(condition) if isinstance(condition, Tensor) else bool(condition)
