"""Read classifiers' maps from labels to scores (ZipMap) as the scores themselves, before the model is taken in.

The one idea: maps are no tensors, and the graph representation has no place for them; under the same output name stands
the tensor [examples, classes] that they are made of.
"""

from __future__ import annotations

import onnx

NOTE = "scores by class; the model hands them out as maps from labels to scores (ZipMap)"


def without_maps(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with each ZipMap replaced by an Identity; itself, untouched, if it has none."""
    if not any(_is_zip_map(node) for node in model.graph.node):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    classes = {}
    for node in result.graph.node:
        if _is_zip_map(node):
            labels = (list(a.strings) or list(a.ints) for a in node.attribute if a.name.startswith("classlabels"))
            classes[node.output[0]] = len(next((found for found in labels if found), []))
            node.op_type, node.domain = "Identity", ""
            del node.attribute[:]
    for info in (*result.graph.output, *result.graph.value_info):
        if info.name in classes:
            shape = ["N", classes[info.name] or None]
            info.CopyFrom(onnx.helper.make_tensor_value_info(info.name, onnx.TensorProto.FLOAT, shape, NOTE))
    return result


def _is_zip_map(node: onnx.NodeProto) -> bool:
    return node.op_type == "ZipMap" and node.domain == "ai.onnx.ml"
