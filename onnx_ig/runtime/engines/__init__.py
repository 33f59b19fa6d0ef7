"""ONNX runtimes by name, each behind the same two steps: open a model file, run it on arrays.

The one idea: everything that differs between runtimes stays in one file each, so that a check of a model is written
once and asked of all of them.
"""

from __future__ import annotations

from onnx_ig.errors import UsageError
from onnx_ig.runtime.engines import browser, evaluator, intel, javascript, microsoft
from onnx_ig.runtime.engines.base import Engine, Opened, Timed
from onnx_ig.suggestions import nearest

ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (microsoft.ENGINE, evaluator.ENGINE, intel.ENGINE, javascript.ENGINE, browser.ENGINE)
}


def engine_named(name: str) -> Engine:
    """The runtime called ``name``.

    Raises:
        UsageError: there is none.
    """
    if name not in ENGINES:
        raise UsageError(f"unknown runtime {name!r}{nearest(name, ENGINES)}: choose {', '.join(ENGINES)}")
    return ENGINES[name]


__all__ = ["ENGINES", "Engine", "Opened", "Timed", "engine_named"]
