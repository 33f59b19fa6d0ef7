"""From what a user hands to a method to a loaded model with named inputs.

ONNX sources here, PyTorch's in methods/pytorch/forward.py.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from onnx_ig.attribution.batch_axis import examples_first
from onnx_ig.attribution.training import require_evaluation
from onnx_ig.common.arrays import named_arrays
from onnx_ig.common.tables import columns_of, is_table
from onnx_ig.common.types import Array
from onnx_ig.errors import InputError, UsageError
from onnx_ig.graph.declared import cast_to_declared, spec_of
from onnx_ig.graph.reading import is_float
from onnx_ig.loading.model import Model, load_with_output, refuse_attribution_model
from onnx_ig.loading.packed import PackedModel, packed
from onnx_ig.methods.arguments import require_examples
from onnx_ig.methods.bound import Bound, Forward


class OnnxForward:
    """An ONNX model called positionally (declared order) or by input name."""

    def __init__(self, source: Any, batch_axis: int | None = 0, output: str | int | None = None) -> None:
        model, self.output = load_with_output(source, output)
        self._model = examples_first(model, batch_axis)
        refuse_attribution_model(self._model)

    def bind(self, inputs: Any, additional_forward_args: Any) -> Bound:
        """``inputs`` are the first graph inputs in declared order, ``additional_forward_args`` the following ones; or
        dicts; or tables, whose columns are inputs by name, or together the first input.

        Of a table only the float inputs are attributed. Arrays are cast as
        :func:`onnx_ig.graph.declared.cast_to_declared` says, and a vector is taken for the column [N, 1] that an input
        wants.

        Raises:
            InputError: an input left unfed or fed twice, an unknown name, a wrong shape or type.
        """
        declared = {str(x.name): x for x in self._model.inputs}
        attributed = named_arrays(by_column(inputs, declared), list(declared), "inputs")
        extra: dict[str, Array] = {}
        if is_table(inputs):
            floats = {name: value for name, value in attributed.items() if is_float(declared[name])} or attributed
            extra = {name: value for name, value in attributed.items() if name not in floats}
            attributed = floats
        rest = [name for name in declared if name not in attributed and name not in extra]
        extra |= named_arrays(by_column(additional_forward_args, rest), rest, "additional_forward_args")
        extra = {n: v for n, v in self._model.defaults.items() if n not in attributed} | extra
        unfed = [name for name in declared if name not in attributed and name not in extra]
        if unfed:
            raise InputError(
                f"the model's input {unfed[0]!r} ({_described(declared[unfed[0]])}) is not fed: pass it in inputs "
                "to attribute "
                "it, else in additional_forward_args"
            )
        attributed, extra = (
            {name: fitted(value, declared[name]) for name, value in values.items()} for values in (attributed, extra)
        )
        require_examples({name: value.shape for name, value in attributed.items()})
        require_evaluation(self._model, extra)
        _require_fixed_length(extra, attributed, declared)
        ranks = tuple((name, value.ndim) for name, value in (*attributed.items(), *extra.items()))
        return Bound(self._model, (tuple(attributed), ranks), attributed, extra, isinstance(inputs, Mapping))


def forward_of(
    forward_func: Any, batch_axis: int | None = 0, output: str | int | None = None, *, along_path: bool = False
) -> Forward:
    """The source behind ``forward_func``: anything :func:`onnx_ig.load` takes, an nn.Module, or a callable on tensors.

    ``along_path``: it is evaluated between inputs, where whole numbers are floats to a torch function.
    """
    if is_onnx(forward_func):
        return OnnxForward(forward_func, batch_axis, output)
    if callable(forward_func):
        if batch_axis:
            raise UsageError(f"batch_axis={batch_axis} goes with ONNX models: let the module transpose its inputs")
        from onnx_ig.methods.pytorch.forward import TorchForward  # torch is needed from here on, and only here

        return TorchForward(forward_func, output, batch_axis, along_path=along_path)
    raise UsageError(
        f"cannot attribute a {type(forward_func).__name__}: give an ONNX model, an nn.Module or a callable on tensors"
    )


def is_onnx(forward_func: Any) -> bool:
    """Whether ``forward_func`` is read by :func:`onnx_ig.load` without being called."""
    return isinstance(forward_func, (Model, ir.Model, onnx.ModelProto, bytes, os.PathLike, str))


def picklable(forward_func: Any) -> Any:
    """``forward_func`` in a form that pickle and copy take; :func:`unpickled` is the way back."""
    return packed(forward_func) if isinstance(forward_func, ir.Model) else forward_func


def unpickled(form: Any) -> Any:
    """What :func:`picklable` was given."""
    return form.unpacked() if isinstance(form, PackedModel) else form


def by_column(values: Any, names: Collection[str]) -> Any:
    """A table as the arrays of its columns, or as one of all together, if they have none of the inputs' ``names``.

    Raises:
        InputError: some of the columns are inputs and some are not.
    """
    if not is_table(values):
        return values
    columns = columns_of(values)
    strange = [name for name in columns if name not in names]
    if strange and len(strange) < len(columns):
        raise InputError(
            f"the table's column {strange[0]!r} is no input left to feed; its inputs are {', '.join(names)}: leave "
            "the column out"
        )
    return values.to_numpy() if strange else columns


def fitted(value: Array, declared: ir.Value) -> Array:
    """``value`` in the declared type, and as a column where it is a vector and a column is declared."""
    if declared.dtype is not None:
        value = cast_to_declared(value, spec_of(declared), "the given values")
    if declared.shape is None:
        return value
    if value.ndim == 1 and len(declared.shape) == 2 and declared.shape[1] == 1:
        value = value[:, np.newaxis]
    fits = value.ndim == len(declared.shape) and all(
        not isinstance(d, int) or size == d or axis == 0
        for axis, (size, d) in enumerate(zip(value.shape, declared.shape, strict=True))
    )
    if not fits:
        raise InputError(
            f"input {declared.name!r} has shape {list(value.shape)}, the model needs {_described(declared)}"
        )
    return value


def _require_fixed_length(
    extra: Mapping[str, Array], attributed: Collection[str], declared: Mapping[str, ir.Value]
) -> None:
    """Refuse additional inputs longer or shorter than declared, unless a fixed number of examples is on their axis 0.

    Of such a model any number of examples is evaluated, so many at a time.

    Raises:
        InputError: one has another length.
    """
    lengths = {name: x.shape[0] if x.shape else None for name, x in declared.items()}
    batches = {lengths[name] for name in attributed}
    for name, value in extra.items():
        length = lengths[name]
        if isinstance(length, int) and len(value) != length and length not in batches:
            raise InputError(
                f"input {name!r} has shape {list(value.shape)}, the model needs {_described(declared[name])}, which "
                "all examples of a call share: for another value for each, call once per example"
            )


def _described(value: ir.Value) -> str:
    shape = "any shape" if value.shape is None else "[" + ", ".join(str(d) for d in value.shape) + "]"
    return f"{value.dtype.name.lower() if value.dtype is not None else 'unknown type'} {shape}"
