"""PyTorch models as forward functions.

Exported on first call, cached until an argument's kind or a parameter changes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from onnx_ig.arguments import as_tuple, to_array
from onnx_ig.errors import InputError
from onnx_ig.model import Model, load
from onnx_ig.pytorch.source import find_modules
from onnx_ig.sources import Bound


class TorchForward:
    """An nn.Module or a callable on tensors."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self._cache: dict[tuple[Any, ...], Model] = {}

    def bind(self, inputs: Any, additional_forward_args: Any) -> Bound:
        """Export for this signature unless that was done before; tensors become the model's inputs in order."""
        values, extra = as_tuple(inputs), as_tuple(additional_forward_args)
        if not values:
            raise InputError("inputs is empty: give a tensor or a tuple of tensors")
        tensors = tuple(_as_tensor(value) for value in values)
        additional = tuple(a.detach() if isinstance(a, Tensor) else a for a in extra)
        key = self._key(tensors, additional)
        if key not in self._cache:
            self._cache = {k: m for k, m in self._cache.items() if k[0] == key[0]}  # older parameters are gone for good
            self._cache[key] = load(self._function, example_inputs=tensors, additional_forward_args=additional)
        model = self._cache[key]
        fed = [*tensors, *(a for a in additional if isinstance(a, Tensor))]
        arrays = {str(x.name): to_array(value) for x, value in zip(model.inputs, fed, strict=True)}
        names = list(arrays)
        return Bound(
            model,
            (*key, id(model)),
            {name: arrays[name] for name in names[: len(tensors)]},
            {name: arrays[name] for name in names[len(tensors) :]},
            False,
        )

    def _key(self, tensors: tuple[Tensor, ...], additional: tuple[Any, ...]) -> tuple[Any, ...]:
        parameters: list[tuple[int, int]] = []
        for _, module in find_modules(self._function):
            state = (*module.parameters(), *module.buffers()) if isinstance(module, nn.Module) else ()
            parameters += [(id(p), p._version) for p in state]
            parameters += [(id(m), 1) for m in module.modules() if getattr(m, "training", False)]  # judged at export
        examples = tensors[0].shape[0] if tensors[0].dim() else 1
        signature = tuple(_signature(a, examples) for a in (*tensors, *additional))
        return (tuple(parameters), signature)


def _signature(value: Any, examples: int) -> Any:
    """What an export depends on: type and trailing shape of a tensor, the value of anything else."""
    if isinstance(value, Tensor):
        per_example = value.dim() > 0 and value.shape[0] == examples and (examples > 1 or value.dim() > 1)
        return (value.dtype, tuple(value.shape[1:]) if per_example else tuple(value.shape), per_example)
    return (type(value), repr(value))


def _as_tensor(value: Any) -> Tensor:
    return value.detach() if isinstance(value, Tensor) else torch.as_tensor(value)


def like(result: Any, given: Any) -> Any:
    """``result`` (an array) as what ``given`` is: a tensor on its device and of its type, or an array."""
    if isinstance(given, Tensor):
        import ml_dtypes

        if result.dtype == ml_dtypes.bfloat16:
            result = result.astype("float32")
        return torch.from_numpy(result.copy()).to(
            device=given.device, dtype=given.dtype if given.is_floating_point() else None
        )
    return result
