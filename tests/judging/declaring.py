"""A model with its shapes declared, symbolic or unknown: the forms that the judge works on."""

from __future__ import annotations

import onnx


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
