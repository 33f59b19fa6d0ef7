"""What a model's file says of its inputs and outputs, for runtimes that keep less of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from onnx_ig.common.types import Array

Dims = Sequence[int | str]


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs by name, in order: their element types and sizes (a name, or "", where a size is open)."""

    inputs: dict[str, tuple[np.dtype[np.generic], Dims]]
    outputs: dict[str, tuple[np.dtype[np.generic], Dims]]

    def restored(self, name: str, value: Array) -> Array:
        """An output as the file declares it: its integer type, where the runtime has another one, and its axes, where
        these are known and the runtime added or dropped axes of one.

        Nothing else is touched: values that do not fit stay as they are, for the comparison to find.
        """
        dtype, dims = self.outputs[name]
        whole = value.dtype.kind in "iub" or (value.dtype.kind == "f" and bool((value == np.floor(value)).all()))
        if dtype.kind in "iub" and whole:
            value = value.astype(dtype)
        sizes = [d for d in dims if isinstance(d, int)]
        same = [d for d in value.shape if d != 1] == [d for d in sizes if d != 1]
        return value.reshape(sizes) if len(sizes) == len(dims) and same else value


def signature(path: Path) -> Signature:
    """Of the model in the file."""
    graph = onnx.load(path, load_external_data=False).graph
    initialised = {x.name for x in graph.initializer}
    return Signature(
        {x.name: _of(x) for x in graph.input if x.name not in initialised}, {y.name: _of(y) for y in graph.output}
    )


def _of(value: onnx.ValueInfoProto) -> tuple[np.dtype[np.generic], Dims]:
    tensor = value.type.tensor_type
    dims = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim]
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)), dims
