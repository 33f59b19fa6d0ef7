"""Tensors as the JavaScript runtimes take and give them: JSON with the raw numbers in base64 (see answer.mjs)."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.errors import ModelError

# names of onnxruntime-common's tensor types, which are NumPy's
_TYPES = frozenset(
    {"float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "uint16", "bool"}
)  # fmt: skip


def described(feeds: Mapping[str, Array], title: str) -> list[dict[str, Any]]:
    """``feeds`` for a request.

    Raises:
        ModelError: an element type that the runtime ``title`` does not have.
    """
    for name, value in feeds.items():
        if value.dtype.name not in _TYPES:
            raise ModelError(f"{title} takes no tensors of type {value.dtype} (input {name!r})")
    return [
        {
            "name": name,
            "type": value.dtype.name,
            "dims": value.shape,
            "data": base64.b64encode(value.tobytes()).decode(),
        }
        for name, value in feeds.items()
    ]


def arrays(outputs: Iterable[Mapping[str, Any]]) -> dict[str, Array]:
    """The arrays of an answer by name."""
    return {y["name"]: np.frombuffer(base64.b64decode(y["data"]), y["type"]).reshape(y["dims"]) for y in outputs}
