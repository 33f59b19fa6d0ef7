"""PyTorch models as forward functions.

Exported on the first call, and again whenever the function is found to be another one than was exported.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onnx_ig.common.arrays import as_tuple, inputs_as_tuple, to_array
from onnx_ig.errors import InputError
from onnx_ig.methods.arguments import require_examples
from onnx_ig.methods.bound import Bound
from onnx_ig.methods.pytorch.exports import Call, Exports
from onnx_ig.methods.pytorch.guard import TorchGuard
from onnx_ig.methods.pytorch.tensors import as_on_path, as_tensors
from onnx_ig.pytorch.export import NotReproducedError


class TorchForward:
    """An nn.Module or a callable on tensors. Threads may share one; pickled or copied, it exports again.

    Args:
        output: which of the function's results.
        batch_axis: 0: the examples lie on axis 0; None: all rows are one example.
        along_path: the function is evaluated between inputs.
    """

    output = None  # the exported model has no other

    def __init__(
        self, function: Any, output: str | int | None = None, batch_axis: int | None = 0, *, along_path: bool = False
    ) -> None:
        self._function, self._picked, self._along_path = function, output, along_path
        self._one_example = batch_axis is None
        self._exports = Exports.of(function)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_exports"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._exports = Exports.of(self._function)

    def bind(self, inputs: Any, additional_forward_args: Any) -> Bound:
        """Export for this signature unless that was done before; tensors become the model's inputs in order."""
        values, extra = inputs_as_tuple(inputs), as_tuple(additional_forward_args)
        if not values:
            raise InputError("inputs is empty: give a tensor or a tuple of tensors")
        tensors = as_tensors(values, self._function)
        require_examples({f"{i}": tensor.shape for i, tensor in enumerate(tensors)})
        additional = tuple(a.detach() if isinstance(a, Tensor) else a for a in extra)
        if self._along_path:
            tensors = as_on_path(tensors, additional, self._function)
        call = Call(self._function, tensors, additional, self._picked, one_example=self._one_example)
        try:
            call, export, result = self._exports.find_or_make(call)
        except NotReproducedError:
            call.require_rows_apart()
            raise
        call.require_row_each(result)
        names = [str(x.name) for x in export.model.inputs]
        arrays = dict(zip(names, map(to_array, call.fed), strict=True))
        return Bound(
            export.model,
            (id(export.model),),
            {name: arrays[name] for name in names[: len(tensors)]},
            {name: arrays[name] for name in names[len(tensors) :]},
            False,
            TorchGuard(call, result, export, self._exports),
            export.engines,
        )


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
