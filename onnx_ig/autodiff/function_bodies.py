"""The standard's function bodies: an operator written in others, for one node at one opset, with our repairs."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from onnx_ig.autodiff.body_repairs import own_body, repaired

PREVIEW = "ai.onnx.preview"  # the standard's operators on trial, all of one version and with function bodies


def has_body(node: ir.Node, opset: int) -> bool:
    """Whether the standard defines the node's operator by a function, be it for inputs of known shapes only."""
    if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type, opset):
        return False
    schema = onnx.defs.get_schema(node.op_type, opset)
    return bool(schema.has_function or schema.has_context_dependent_function)


def function_body(node: ir.Node, opset: int) -> onnx.FunctionProto | None:
    """The function body for this node at this opset, the standard's or ours; None if the operator has none."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    opset = 1 if domain == PREVIEW else opset
    if domain not in ("", PREVIEW) or not onnx.defs.has(node.op_type, opset, domain):
        return None
    if node.op_type == "AffineGrid":
        return own_body(node)
    schema = onnx.defs.get_schema(node.op_type, opset, domain)
    if schema.has_context_dependent_function:
        versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
        if not versions:
            return None
        body = schema.get_context_dependent_function_with_opset_version(
            max(versions),
            ir.to_proto(node).SerializeToString(),
            [_type_proto(x).SerializeToString() for x in node.inputs],
        )
    elif schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= opset]
        if not versions:
            return None
        body = schema.get_function_with_opset_version(max(versions))
    else:
        return None
    proto = onnx.FunctionProto.FromString(body if isinstance(body, bytes) else body.SerializeToString())
    if not proto.node:  # the standard builds this body for known shapes only
        return None
    for name in list(proto.attribute):  # bodies leave the defaults to the schema
        declared = schema.attributes.get(name)
        if declared is not None and declared.type == onnx.defs.OpSchema.AttrType.GRAPH:
            proto.attribute.remove(name)  # the body was made for this node, with the graph worked in
            continue
        if declared is not None and declared.default_value.name and name not in node.attributes:
            proto.attribute.remove(name)
            proto.attribute_proto.append(declared.default_value)
    del proto.output[len(node.outputs) :]
    made = {*proto.input, *(name for inner in proto.node for name in inner.output)}
    for name in proto.output:
        if name not in made:  # bodies leave out the optional outputs that the node leaves out, but still list them
            proto.node.append(onnx.helper.make_node("Constant", [], [name], value_float=0.0))
    return repaired(node.op_type, proto)


def _type_proto(x: ir.Value | None) -> onnx.TypeProto:
    proto = onnx.TypeProto()
    if x is not None and x.dtype is not None:
        proto.tensor_type.elem_type = int(x.dtype)
        if x.shape is not None:
            for d in x.shape:
                dim = proto.tensor_type.shape.dim.add()
                if isinstance(d, int):
                    dim.dim_value = d
    return proto
