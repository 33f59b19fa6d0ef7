"""Values as callers hand them over, one or several, tensors or lists, as arrays."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from onnx_ig.common.suggestions import nearest
from onnx_ig.common.types import Array
from onnx_ig.errors import InputError


def as_tuple(value: Any) -> tuple[Any, ...]:
    """``value`` as a tuple; None is the empty one."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def holds_several(inputs: Any) -> bool:
    """Whether ``inputs`` are several, not one: a tuple, or a list of tensors or arrays (of numbers it is one)."""
    return isinstance(inputs, tuple) or (
        isinstance(inputs, list) and any(is_torch(v) or isinstance(v, np.ndarray) for v in inputs)
    )


def inputs_as_tuple(inputs: Any) -> tuple[Any, ...]:
    """``inputs`` as a tuple; None is the empty one."""
    return tuple(inputs) if holds_several(inputs) else as_tuple(inputs)


def names_as_tuple(names: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several as a tuple."""
    return (names,) if isinstance(names, str) else tuple(names)


def as_list(value: Any) -> list[Any]:
    """One value, or those of a tuple or list, at any depth."""
    return [inner for v in value for inner in as_list(v)] if isinstance(value, (tuple, list)) else [value]


def is_torch(value: Any) -> bool:
    """Whether ``value`` is a torch tensor (torch itself is not imported)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def to_array(value: Any) -> Array:
    """A numpy array of the tensor or array; torch tensors are detached and brought to the CPU."""
    if not is_torch(value):
        return np.asarray(value)
    value = value.detach().cpu()
    if str(value.dtype) == "torch.bfloat16":  # numpy has no bfloat16 of its own; ml_dtypes does
        import torch

        return np.asarray(value.contiguous().view(torch.int16).numpy()).view(ml_dtypes.bfloat16)
    return np.asarray(value.numpy())


def named_arrays(values: Any, names: Sequence[str], what: str) -> dict[str, Array]:
    """Arrays by input name: of a dict, or of one value or a tuple for the first of ``names``.

    Raises:
        InputError: an unknown name, or more values than names; ``what`` says which argument it was.
    """
    if isinstance(values, Mapping):
        unknown = [name for name in values if name not in names]
        if unknown:
            close = nearest(unknown[0], names)
            raise InputError(
                f"the model has no input {unknown[0]!r}{close} left to feed; its inputs are {', '.join(names)}"
            )
        return {name: to_array(value) for name, value in values.items()}
    given = inputs_as_tuple(values)
    if len(given) > len(names):
        raise InputError(
            f"{len(given)} values in {what} for the {len(names)} inputs {', '.join(names) or '(none left)'}"
        )
    return {name: to_array(value) for name, value in zip(names, given, strict=False)}
