"""The forms of a model that the judge works on.

In float64, and with its shapes declared, symbolic or unknown.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import onnx

FLOAT, DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE


def as_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every float32 tensor, declaration and Cast target in float64."""
    model = copy.deepcopy(model)
    opset = next((entry.version for entry in model.opset_import if entry.domain == ""), 0)
    for node in model.graph.node:  # its function body computes in float32 unless told otherwise
        if (
            node.op_type == "GroupNormalization"
            and opset >= 21
            and not any(a.name == "stash_type" for a in node.attribute)
        ):
            node.attribute.append(onnx.helper.make_attribute("stash_type", FLOAT))
    _widen_graph(model.graph)
    return model


def _widen_graph(graph: onnx.GraphProto) -> None:
    # Resize's scales are float32 by the standard, whatever it resizes (Upsample had them second)
    places = {"Resize": slice(2, 3), "Upsample": slice(1, 2)}
    scales = {name for node in graph.node if node.op_type in places for name in node.input[places[node.op_type]]}
    for tensor in graph.initializer:
        if tensor.name not in scales:
            _widen_tensor(tensor)
    for info in (*graph.input, *graph.output, *graph.value_info):
        if info.name not in scales:
            _widen_type(info.type)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                if node.op_type != "Constant" or node.output[0] not in scales:
                    _widen_tensor(attribute.t)
            elif attribute.type == onnx.AttributeProto.GRAPH:
                _widen_graph(attribute.g)
            elif attribute.name in ("to", "dtype", "stash_type", "softmax_precision") and attribute.i == FLOAT:
                attribute.i = DOUBLE
            elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                values = np.array(attribute.floats if attribute.name == "value_floats" else attribute.f, np.float64)
                attribute.CopyFrom(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(values)))
        if node.op_type == "ConstantOfShape" and not node.attribute:
            node.attribute.append(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(np.zeros(1))))
        if node.op_type == "EyeLike" and not any(a.name == "dtype" for a in node.attribute):
            continue


def _widen_type(type_proto: onnx.TypeProto) -> None:
    kind = type_proto.WhichOneof("value")
    if kind == "tensor_type" and type_proto.tensor_type.elem_type == FLOAT:
        type_proto.tensor_type.elem_type = DOUBLE
    elif kind == "sequence_type":
        _widen_type(type_proto.sequence_type.elem_type)
    elif kind == "optional_type":
        _widen_type(type_proto.optional_type.elem_type)


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == FLOAT:
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float64), name))


def declared(model: onnx.ModelProto, shapes: str) -> onnx.ModelProto:
    """``model``, changed in place: its shapes as declared (``static``), symbols (``symbolic``) or none (``none``)."""
    if shapes == "static":
        return model
    del model.graph.value_info[:]
    for info in (*model.graph.input, *model.graph.output):
        tensor_type = info.type.tensor_type
        if info.type.WhichOneof("value") != "tensor_type":
            continue
        if shapes == "none":
            tensor_type.ClearField("shape")
        else:
            for axis, dim in enumerate(tensor_type.shape.dim):
                dim.dim_param = f"{info.name}_{axis}"
    return model


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The graph's nodes and those of its subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from all_nodes(attribute.g)
