"""Results in the form in which the caller gave the inputs: tensors or arrays, their shapes, types and devices."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnx_ig.common import arrays
from onnx_ig.common.tables import is_table, like_table
from onnx_ig.common.types import Array
from onnx_ig.methods import arguments


def like(result: Array, given: Any) -> Any:
    """``result`` as a tensor on the device of ``given``, with its type if that is floating; arrays stay arrays."""
    if not arrays.is_torch(given):
        return result
    from onnx_ig.methods.pytorch.forward import like as like_tensor

    return like_tensor(result, given)


def like_input(attribution: Array, given: Any) -> Any:
    """``attribution`` in the shape, kind and floating type of the input ``given``."""
    return like(arguments.in_form_of(attribution, given), given)


def first(inputs: Any) -> Any:
    """The first of the inputs in any of their forms."""
    return next(iter(inputs.values())) if isinstance(inputs, Mapping) else arrays.inputs_as_tuple(inputs)[0]


def delta_type(inputs: Mapping[str, Array]) -> np.dtype[Any]:
    """The type of a convergence delta: float64 for float64 inputs, else float32."""
    wide = next(iter(inputs.values())).dtype == np.float64
    return np.dtype(np.float64 if wide else np.float32)


def described(method: Any, forward_func: Any, **options: Any) -> str:
    """A method in one short line: its source by name, and the options that are set."""
    name = getattr(forward_func, "__name__", None) or type(forward_func).__name__
    source = repr(str(forward_func)) if isinstance(forward_func, (str, os.PathLike)) else name
    chosen = [f"{key}={value!r}" for key, value in options.items() if value not in (None, "auto")]
    return f"{type(method).__name__}({', '.join([source, *chosen])})"


def in_form_of_inputs(attributions: Mapping[str, Array], inputs: Any, names: Sequence[str], by_name: bool) -> Any:
    """Attributions of the inputs ``names`` as the caller gave the inputs: one, a tuple, a list, a dict or a table."""
    if is_table(inputs):
        return like_table(attributions, inputs)
    if by_name:
        return {name: like_input(attributions[name], inputs[name]) for name in names}
    given = arrays.inputs_as_tuple(inputs)
    values = tuple(like_input(attributions[n], v) for n, v in zip(names, given, strict=True))
    if not arrays.holds_several(inputs):
        return values[0]
    return list(values) if isinstance(inputs, list) else values
