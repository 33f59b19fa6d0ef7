"""Which tensors of a model are meant, by name or as the only ones: what is explained, and what is attributed."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnx_ig.autodiff.entrances import by_value, where_instead
from onnx_ig.common.suggestions import nearest
from onnx_ig.errors import InputError, UsageError
from onnx_ig.graph.reading import all_dependents, is_float
from onnx_ig.loading.model import Model, tensor_called


def output_called(model: Model, name: str | None) -> ir.Value:
    """The float tensor ``name``, or the only float output that the inputs decide.

    Raises:
        InputError: there is none, or several.
    """
    if name is not None:
        return float_tensor(model, name)
    floats = [y for y in model.outputs if is_float(y)]
    if len(floats) > 1:  # those that are constants or inputs themselves explain nothing
        computed = all_dependents(list(model.ir_model.graph), model.inputs) - {*model.inputs}
        floats = [y for y in floats if y in computed] or floats
    if len(floats) == 1:
        return floats[0]
    listed = ", ".join(f"{y.name} {y.dtype} {y.shape}" for y in model.outputs)
    raise InputError(f"the model has {len(floats)} float outputs; choose one with output=: {listed}")


def _float_inputs(model: Model) -> list[str]:
    """The only float input, or all of them where they are columns of one table.

    Raises:
        InputError: there is none, or there are several and they are something else.
    """
    floats = [x for x in model.required_inputs if is_float(x)]
    if len(floats) == 1 or (floats and _is_table(model.required_inputs)):
        return [str(x.name) for x in floats]
    listed = ", ".join(f"{x.name} {x.dtype} {x.shape}" for x in model.inputs)
    if not floats:
        graph = model.ir_model.graph
        raise InputError(f"the model has no float input ({listed}): {where_instead(graph, graph.inputs)}")
    raise InputError(f"the model has {len(floats)} float inputs; choose with inputs=: {listed}")


def _is_table(inputs: Sequence[ir.Value]) -> bool:
    """Whether the inputs are columns of one table: [N] or [N, k] each, of one N."""
    shapes = [[] if x.shape is None else [d if isinstance(d, int) else d.value for d in x.shape] for x in inputs]
    rows = {shape[0] for shape in shapes if len(shape) in (1, 2)}
    vectors_of_features = any(len(shape) == 1 and isinstance(shape[0], int) for shape in shapes)
    return all(len(shape) in (1, 2) for shape in shapes) and len(rows) == 1 and not vectors_of_features


def input_called(model: Model, name: str) -> ir.Value:
    """The input ``name``.

    Raises:
        UsageError: there is none.
    """
    for value in model.inputs:
        if value.name == name:
            return value
    known = [str(x.name) for x in model.inputs]
    raise UsageError(f"the model has no input {name!r}{nearest(name, known)}; its inputs are {', '.join(known)}")


def attributable(model: Model, name: str) -> ir.Value:
    """The input ``name``, if it is a float.

    Raises:
        UsageError: there is none; InputError: it is not, and where to attribute instead.
    """
    value = input_called(model, name)
    if value.dtype is not None and not is_float(value):
        raise InputError(
            f"input {name!r} holds {value.dtype.name.lower()}: {where_instead(model.ir_model.graph, [value])}"
        )
    return value


def float_tensor(model: Model, name: str) -> ir.Value:
    """The float tensor ``name``, anywhere in the graph.

    Raises:
        UsageError: there is none; InputError: it is no float.
    """
    value = tensor_called(model, name)
    if not is_float(value):
        raise InputError(f"tensor {name!r} holds {value.dtype}: only float tensors can be attributed")
    return value


def default_inputs(model: Model, at: Sequence[str]) -> list[str]:
    """The inputs that the baseline replaces unless named: what the tensors ``at`` are computed from, or the only float,
    or all floats of a table.

    Raises:
        UsageError, InputError: no such tensor, or several float inputs.
    """
    if not at:
        return _float_inputs(model)
    tensors, nodes = {float_tensor(model, name) for name in at}, by_value(model.ir_model.graph)
    return [str(x.name) for x in model.inputs if tensors & all_dependents(nodes, [x])]
