"""The table by which torch's dynamo exporter translates operators, built once for a process.

The one idea: torch builds the same table anew in every export, reading the source of 500 functions, which takes longer
than all the rest of a small model's export.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

from onnx_ig.errors import OnnxIgWarning
from onnx_ig.pytorch.quiet import in_exports

_tables: dict[Any, Any] = {}


def _built_once(**options: Any) -> Any:
    """The table for an opset; torchvision's operators are in it only if they were there when it was built."""
    key = (*sorted(options.items()), "torchvision" in sys.modules)
    if key not in _tables:
        _tables[key] = _build(**options)
    return _tables[key]


try:
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    _build = in_exports(ONNXRegistry, "from_torchlib", _built_once)
except (ImportError, AttributeError) as error:  # it is not public, and another torch may have it elsewhere
    warnings.warn(
        f"this version of torch keeps its table of ONNX operators elsewhere ({error}), so every export builds it anew "
        "and takes seconds longer",
        OnnxIgWarning,
        stacklevel=1,
    )
