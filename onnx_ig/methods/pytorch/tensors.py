"""Arrays, lists and tables as tensors for a torch function; tensors without their gradient's history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onnx_ig.common.tables import is_table
from onnx_ig.errors import InputError
from onnx_ig.pytorch.source import call_once, find_modules


def as_tensors(values: Sequence[Any], function: Callable[..., Any]) -> tuple[Tensor, ...]:
    """``values`` as tensors.

    Arrays in float64, numpy's own type, become what all parameters of ``function`` are; tensors keep their type.

    Raises:
        InputError: a value that holds something else than numbers.
    """
    return tuple(v.detach() if isinstance(v, Tensor) else _tensor_of(v, function) for v in values)


def as_on_path(
    tensors: tuple[Tensor, ...], additional: Sequence[Any], function: Callable[..., Any]
) -> tuple[Tensor, ...]:
    """``tensors`` as they are between two points: whole numbers in floats, as Captum's path has them.

    Those that ``function`` does not take in floats (indices of an embedding) are left, and refused where a gradient
    is asked of them.
    """
    moved = tuple(t.to(torch.get_default_dtype()) if _is_whole(t) else t for t in tensors)
    if not any(_is_whole(t) for t in tensors):
        return tensors
    try:
        call_once(function, (*moved, *additional))
    except InputError:
        return tensors
    return moved


def _is_whole(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def _tensor_of(value: Any, function: Callable[..., Any]) -> Tensor:
    given = value.to_numpy() if is_table(value) else value
    try:
        if isinstance(given, np.ndarray):  # a table with columns of several types is an array of objects
            given = np.array(given, np.float64 if given.dtype == object else None)
        tensor = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"an input is a {type(value).__name__} that is no tensor: {error}") from error
    if tensor.dtype != torch.float64:
        return tensor
    kinds = {p.dtype for _, module in find_modules(function) for p in module.parameters() if p.is_floating_point()}
    return tensor.to(kinds.pop()) if len(kinds) == 1 else tensor
