"""A model without bfloat16, for runtimes that have hardly a kernel for it: the same in float32.

The one idea: float32 holds every bfloat16 number and has its range, so weights and data stay what they are and only the
rounding in between, of 2⁻⁸ relative at each step, is left out.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import ml_dtypes
import numpy as np
import onnx_ir as ir

from onnx_ig.errors import warn
from onnx_ig.runtime.serialised import ModelLike, as_ir_model

NARROW, WIDE = ir.DataType.BFLOAT16, ir.DataType.FLOAT
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_NAME_A_TYPE = ("to", "dtype", "stash_type", "softmax_precision", "output_dtype")  # attributes of nodes


def in_float32(source: ModelLike) -> tuple[ir.Model, frozenset[str]] | None:
    """A copy of the model with float32 in place of bfloat16, inputs and outputs too, and the outputs that held it.

    None where nothing holds it.
    """
    model = as_ir_model(source)
    model = model.clone() if model is source else model
    outputs = frozenset(str(y.name) for y in model.graph.outputs if y.dtype == NARROW)
    return (model, outputs) if _widen(model) else None


def warn_widened(what: str, then: str = "") -> None:
    """Say that ``what`` is computed in another type than it declares, and ``then`` what to know besides."""
    warn(
        f"{what} holds bfloat16, for which ONNX Runtime has hardly any kernels and in Python no arrays: it is computed "
        f"in float32 from the same weights and data, so bfloat16's rounding (2^-8 at each step) is left out{then}"
    )


def _widen(model: ir.Model) -> bool:
    """Whether there was anything to widen."""
    found = False
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None and value.const_value.dtype == NARROW:
                value.const_value, found = _wide(value.const_value), True
        found |= _declare(graph.inputs) | _declare(graph.initializers.values())
        for node in graph:
            found |= _declare(node.outputs)
            for name, attribute in list(node.attributes.items()):
                if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == NARROW:
                    node.attributes[name], found = ir.AttrTensor(name, _wide(attribute.as_tensor())), True
                elif name in _NAME_A_TYPE and attribute.type == ir.AttributeType.INT and attribute.as_int() == NARROW:
                    node.attributes[name], found = ir.AttrInt64(name, WIDE), True
    return found


def _wide(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.Tensor(tensor.numpy().astype(np.float32), name=tensor.name)


def _declare(values: Iterable[ir.Value]) -> bool:
    narrow = [value for value in values if value.dtype == NARROW]
    for value in narrow:
        value.type = copy.deepcopy(value.type)  # clones share it
        value.dtype = WIDE  # of what a sequence or an optional holds, too
    return bool(narrow)
