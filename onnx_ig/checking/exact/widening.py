"""A model in float64: differences of its outputs then tell its derivative to many digits."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import onnx

FLOAT, DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
_HALVES = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


def as_float64(model: onnx.ModelProto, *, halves: bool = False) -> onnx.ModelProto:
    """The model with every float32 tensor, declaration and Cast target in float64; with ``halves`` also float16 and
    bfloat16 ones."""
    model = copy.deepcopy(model)
    opset = next((entry.version for entry in model.opset_import if entry.domain == ""), 0)
    for node in model.graph.node:  # its function body computes in float32 unless told otherwise
        if (
            node.op_type == "GroupNormalization"
            and opset >= 21
            and not any(a.name == "stash_type" for a in node.attribute)
        ):
            node.attribute.append(onnx.helper.make_attribute("stash_type", FLOAT))
    _widen_graph(model.graph, (FLOAT, *_HALVES) if halves else (FLOAT,))
    return model


def _widen_graph(graph: onnx.GraphProto, narrow: tuple[int, ...]) -> None:
    # Resize's scales are float32 by the standard, whatever it resizes (Upsample had them second)
    places = {"Resize": slice(2, 3), "Upsample": slice(1, 2)}
    scales = {name for node in graph.node if node.op_type in places for name in node.input[places[node.op_type]]}
    for tensor in graph.initializer:
        if tensor.name not in scales:
            _widen_tensor(tensor, narrow)
    for info in (*graph.input, *graph.output, *graph.value_info):
        if info.name not in scales:
            _widen_type(info.type, narrow)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                if node.op_type != "Constant" or node.output[0] not in scales:
                    _widen_tensor(attribute.t, narrow)
            elif attribute.type == onnx.AttributeProto.GRAPH:
                _widen_graph(attribute.g, narrow)
            elif attribute.name in ("to", "dtype", "stash_type", "softmax_precision") and attribute.i in narrow:
                attribute.i = DOUBLE
            elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                values = np.array(attribute.floats if attribute.name == "value_floats" else attribute.f, np.float64)
                attribute.CopyFrom(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(values)))
        if node.op_type == "ConstantOfShape" and not node.attribute:
            node.attribute.append(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(np.zeros(1))))
        if node.op_type == "SequenceEmpty" and not node.attribute:  # one of float32
            node.attribute.append(onnx.helper.make_attribute("dtype", DOUBLE))


def _widen_type(type_proto: onnx.TypeProto, narrow: tuple[int, ...]) -> None:
    kind = type_proto.WhichOneof("value")
    if kind == "tensor_type" and type_proto.tensor_type.elem_type in narrow:
        type_proto.tensor_type.elem_type = DOUBLE
    elif kind == "sequence_type":
        _widen_type(type_proto.sequence_type.elem_type, narrow)
    elif kind == "optional_type":
        _widen_type(type_proto.optional_type.elem_type, narrow)


def _widen_tensor(tensor: onnx.TensorProto, narrow: tuple[int, ...]) -> None:
    if tensor.data_type in narrow:
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float64), name))


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The graph's nodes and those of its subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from all_nodes(attribute.g)
