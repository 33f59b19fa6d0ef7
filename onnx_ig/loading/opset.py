"""Bring a model to the working opset: 18, unless it needs something newer.

The one idea: older nodes are rewritten one by one (opset_adapters.py), in subgraphs too; newer ones come
down if they mean the same at 18 or the standard defines them by a function of such: all of them, or none.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from onnx_ig.autodiff.function_bodies import PREVIEW, function_body
from onnx_ig.graph.node_edit import constant_value, set_attributes, set_inputs
from onnx_ig.loading.opset_adapters import adapt
from onnx_ig.loading.shape_facts import onnx_inference

WORKING_OPSET = 18
WORKING_IR_VERSION = 8
_NEWEST_IR_VERSION = 10  # the last that needs nothing newer than ONNX Runtime 1.18

# The new values of attributes that exist at 18, and what to write there instead (None: 18 lacks it).
_NEW_VALUES: dict[tuple[str, str], dict[str, str | None]] = {
    ("GridSample", "mode"): {"linear": "bilinear", "cubic": "bicubic"},
    ("Pad", "mode"): {"wrap": None},
    ("Resize", "coordinate_transformation_mode"): {"half_pixel_symmetric": None},
}
_BODY_DOMAIN = "onnx_ig.body"


def to_working_opset(model: ir.Model) -> ir.Model:
    """``model`` with its default domain at opset 18, or at its own newer opset where it uses what 18 lacks.

    Raises:
        ModelError: an operator of an older opset cannot be converted.
    """
    opset = model.graph.opset_imports.get("", WORKING_OPSET)
    if opset < WORKING_OPSET:
        for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
            adapt(node, opset)
        _declare(model, WORKING_OPSET)
    elif opset > WORKING_OPSET:
        lowered = _brought_down(model.clone(), opset)
        if lowered is not None:
            return lowered
        model.ir_version = max(WORKING_IR_VERSION, min(model.ir_version, _NEWEST_IR_VERSION))
    else:
        for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
            adapt(node, opset)
        model.ir_version = WORKING_IR_VERSION
    return model


def _brought_down(model: ir.Model, opset: int) -> ir.Model | None:
    """The model (changed) at opset 18; None if a node means something that 18 lacks."""
    while True:
        newer = [
            node
            for node in ir.traversal.RecursiveGraphIterator(model.graph)
            if node.domain == PREVIEW or (node.domain == "" and not _means_the_same(node, opset))
        ]
        if not newer:
            break
        for i, node in enumerate(newer):
            function = function_body(node, opset)
            if function is None:
                return None
            _call(model, node, function, f"{node.op_type}_{i}", opset)
        model = passes.InlinePass()(model).model
        model.functions.clear()
        model.graph.opset_imports.pop(_BODY_DOMAIN, None)
        onnx_inference(model)
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        _rename_values(node, opset)
    _declare(model, WORKING_OPSET)
    return model


def _call(model: ir.Model, node: ir.Node, body: onnx.FunctionProto, name: str, opset: int) -> None:
    """Make the node a call of ``body``, as a function of the model."""
    body.domain, body.name = _BODY_DOMAIN, name
    for entry in body.opset_import:
        if entry.domain == "":
            entry.version = opset
    function = ir.from_proto(body)
    model.functions[function.identifier()] = function
    model.graph.opset_imports[_BODY_DOMAIN] = 1
    node.domain, node.op_type = _BODY_DOMAIN, name
    for attribute in [a.name for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]:
        node.attributes.pop(attribute)  # worked into the body already


def _declare(model: ir.Model, opset: int) -> None:
    model.graph.opset_imports[""] = opset
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain == "":
            node.version = None
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                attribute.as_graph().opset_imports[""] = opset
    model.ir_version = WORKING_IR_VERSION


def _means_the_same(node: ir.Node, opset: int) -> bool:
    """Whether the node, written for ``opset``, is valid and means the same at opset 18."""
    if not onnx.defs.has(node.op_type, opset, "") or not onnx.defs.has(node.op_type, WORKING_OPSET, ""):
        return False
    old, new = (onnx.defs.get_schema(node.op_type, version, "") for version in (WORKING_OPSET, opset))
    if old.since_version == new.since_version:
        return True
    if node.op_type == "DFT":
        return _dft_axis(node) is not None
    if len(node.inputs) > old.max_input or len(node.outputs) > old.max_output or not _same_meaning(node, opset):
        return False
    for name, attribute in node.attributes.items():
        if name not in old.attributes and not _is_default(attribute, new.attributes.get(name)):
            return False
        if _NEW_VALUES.get((node.op_type, name), {}).get(str(attribute.value), "") is None:
            return False
    return _types_allowed(node, old)


def _same_meaning(node: ir.Node, opset: int) -> bool:
    """False for the operators whose meaning changed after 18 with their form unchanged."""
    attributes = node.attributes
    match node.op_type:
        case "GroupNormalization":  # at 18 scale and bias were per group
            return opset < 21
        case "GridSample":  # at 18 for pictures only
            x = node.inputs[0]
            return opset < 20 or (x is not None and x.shape is not None and len(x.shape) == 4)
        case "AveragePool":  # at 18 the last, partial window counted padding beyond the border
            return not (attributes.get_int("ceil_mode", 0) and attributes.get_int("count_include_pad", 0))
        case "Resize":  # antialiasing was defined anew at 19
            return not attributes.get_int("antialias", 0)
    return True


def _dft_axis(node: ir.Node) -> int | None:
    """The axis of a DFT written for opset 20 or later, where it is an input; None if it is not a constant."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return -2
    value = constant_value(node.inputs[2])
    return None if value is None else int(value)


def _is_default(attribute: ir.Attr, declared: onnx.defs.OpSchema.Attribute | None) -> bool:
    if declared is None or not declared.default_value.name:
        return False
    default = onnx.helper.get_attribute_value(declared.default_value)
    default = default.decode() if isinstance(default, bytes) else default
    return bool(default == attribute.value)


def _types_allowed(node: ir.Node, schema: onnx.defs.OpSchema) -> bool:
    """Whether the node's tensors, where their type is known, are of types that ``schema`` allows."""
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    for values, formals in ((node.inputs, schema.inputs), (node.outputs, schema.outputs)):
        for i, x in enumerate(values):
            formal = formals[min(i, len(formals) - 1)]
            if x is None or x.dtype is None or formal.type_str not in allowed:
                continue
            if isinstance(x.type, ir.TensorType) and _type_name(x.dtype) not in allowed[formal.type_str]:
                return False
    return True


def _type_name(dtype: ir.DataType) -> str:
    return f"tensor({dtype.name.lower()})"


def _rename_values(node: ir.Node, opset: int) -> None:
    """Write attribute values by their names at 18, and drop newer attributes (they have their default)."""
    if node.domain != "":
        return
    if node.op_type == "DFT" and opset >= 20:
        set_attributes(node, axis=_dft_axis(node) or 0)
        set_inputs(node, node.inputs[:2])
    known = onnx.defs.get_schema(node.op_type, WORKING_OPSET, "").attributes
    for name, attribute in list(node.attributes.items()):
        if name not in known:
            node.attributes.pop(name)
            continue
        renamed = _NEW_VALUES.get((node.op_type, name), {}).get(str(attribute.value))
        if renamed is not None:
            node.attributes[name] = ir.AttrString(name, renamed)
