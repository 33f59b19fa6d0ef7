"""The table by which torch's dynamo exporter translates operators, built once for a process, and fast.

The one idea: torch builds the same table anew in every export, and onnxscript reads the source of 500 functions to tell
it the domain of each, which it never asks for. That takes longer than all the rest of a small model's export.
"""

from __future__ import annotations

import sys
import types
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


def _translations() -> list[types.SimpleNamespace]:
    """onnxscript's functions for torch's operators, each with its operator's name; none is read."""
    from onnxscript.function_libs.torch_lib import ops  # noqa: F401  (it fills the registry)

    return [
        types.SimpleNamespace(qualified_name=name, function=function, is_complex=is_complex)
        for name, known in default_registry.items()
        if not name.startswith("internal::")  # parts of others
        for is_complex, functions in ((False, known.overloads), (True, known.complex))
        for function in functions
    ]


try:
    from onnxscript.function_libs.torch_lib.registration import default_registry
    from torch.onnx._internal.exporter import _registration

    in_exports(_registration.onnxscript_apis, "get_torchlib_ops", _translations)
    _build = in_exports(_registration.ONNXRegistry, "from_torchlib", _built_once)
except (ImportError, AttributeError) as error:  # they are not public, and another torch may have them elsewhere
    warnings.warn(
        f"this version of torch keeps its table of ONNX operators elsewhere ({error}), so every export builds it anew "
        "and takes seconds longer",
        OnnxIgWarning,
        stacklevel=1,
    )
