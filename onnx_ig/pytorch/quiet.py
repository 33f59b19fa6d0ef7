"""One export at a time, and in silence, while the rest of the program goes on as it was.

The one idea: torch's exporters change torch's own state and speak through what the whole program shares, so they run
under one lock, and what they say is dropped by filters that look at the thread it comes from.
"""

from __future__ import annotations

import builtins
import contextlib
import logging
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.export._trace
import torch.fx.graph_module
import torch.onnx.utils

# While it is held, torch may keep placeholders where a module's parameters were: nothing else may call the module then.
EXPORT_LOCK = threading.RLock()
_TALKATIVE = ("torch", "transformers", "onnxscript", "onnx_ir")


class _Silence(threading.local):
    """Whether this thread is exporting; as a filter of warnings and of log records, one that acts there alone."""

    depth = 0

    def match(self, text: str) -> bool:
        """A warning is looked up as if this were the pattern of its message."""
        return self.depth > 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a log record is kept."""
        return not self.depth or record.name.partition(".")[0] not in _TALKATIVE


_SILENCE = _Silence()
_CHANGED: list[tuple[Any, str, Any]] = []  # owner, name, what is there while something is exported
_IGNORED: Any = ("ignore", _SILENCE, Warning, None, 0)


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """Hold the lock; drop what this thread logs and warns and torch prints; no fused attention, which ONNX has not."""
    with EXPORT_LOCK:
        _install()
        fast_attention = torch.backends.mha.get_fastpath_enabled()
        _SILENCE.depth += 1
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            with _changed():
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_attention)
            _SILENCE.depth -= 1


def _install() -> None:
    """Put the filters where they act; they stay, and let through whatever no export says."""
    filters: Any = warnings.filters  # in place: catch_warnings would take the other threads' filters away
    if not filters or filters[0] is not _IGNORED:
        filters.insert(0, _IGNORED)
    names = [name for name in list(logging.root.manager.loggerDict) if name.partition(".")[0] in _TALKATIVE]
    handlers = [handler for logger in [logging.root, *map(logging.getLogger, names)] for handler in logger.handlers]
    for handler in [*handlers, *([logging.lastResort] if logging.lastResort else [])]:
        handler.addFilter(_SILENCE)


def in_exports(owner: Any, name: str, instead: Callable[..., Any]) -> Callable[..., Any]:
    """Have a function of one of torch's modules or classes be ``instead`` in exports; the one elsewhere is returned."""
    elsewhere: Callable[..., Any] = getattr(owner, name, None) or getattr(builtins, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        return (instead if _SILENCE.depth else elsewhere)(*args, **kwargs)

    bound = isinstance(owner, type) and not isinstance(vars(owner)[name], types.FunctionType)
    _CHANGED.append((owner, name, staticmethod(call) if bound else call))
    return elsewhere


@contextlib.contextmanager
def _changed() -> Iterator[None]:
    """Put the functions of :func:`in_exports` where torch looks for them; torch.jit could not compile them."""
    before = [(owner, name, vars(owner).get(name)) for owner, name, _ in _CHANGED]
    try:
        for owner, name, call in _CHANGED:
            setattr(owner, name, call)
        yield
    finally:
        for owner, name, value in before:
            if value is None:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


@contextlib.contextmanager
def _without_torchscripts_log(*_: Any, **__: Any) -> Iterator[None]:
    """torch's own version of this switches the log on where it means to restore it, for this process, for good."""
    was_on = torch._C._jit_is_onnx_log_enabled()
    torch._C._jit_set_onnx_log_enabled(False)
    try:
        yield
    finally:
        torch._C._jit_set_onnx_log_enabled(was_on)


# What torch prints whatever it is asked: graphs that it could not follow; TorchScript, past Python's streams.
in_exports(torch.export._trace, "print", lambda *_, **__: None)
in_exports(torch.fx.graph_module, "print", lambda *_, **__: None)
in_exports(sys.modules[torch.onnx.utils.export.__module__], "setup_onnx_logging", _without_torchscripts_log)
