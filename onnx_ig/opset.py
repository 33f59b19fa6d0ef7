"""Bring a model to the working opset: 18, unless it needs something newer."""

from __future__ import annotations

import logging

import onnx
import onnx_ir as ir
from onnxscript.version_converter import ConvertVersionPass

from onnx_ig.errors import ModelError

WORKING_OPSET = 18

# Operators whose meaning, not only whose types, changed after opset 18.
_CHANGED_AFTER_18 = frozenset({"GridSample", "DFT", "GroupNormalization", "TopK", "Scan"})


def to_working_opset(model: ir.Model) -> ir.Model:
    """``model`` with its default domain at opset 18, or at its own newer opset where it uses what 18 lacks.

    Raises:
        ModelError: an operator of an older opset cannot be converted.
    """
    opset = model.graph.opset_imports.get("", WORKING_OPSET)
    if opset > WORKING_OPSET:
        if all(_means_the_same(node, opset) for node in ir.traversal.RecursiveGraphIterator(model.graph)):
            _declare(model, WORKING_OPSET)
        return model
    if opset < WORKING_OPSET:
        logger = logging.getLogger("onnxscript.version_converter")
        level = logger.level
        logger.setLevel(
            logging.CRITICAL
        )  # it announces its choice of converter at every call; failure is checked below
        try:
            model = ConvertVersionPass(WORKING_OPSET, fallback=True)(model).model
        finally:
            logger.setLevel(level)
        if model.graph.opset_imports.get("") != WORKING_OPSET:
            raise ModelError(f"the model's opset {opset} could not be converted to {WORKING_OPSET}")
    return model


def _declare(model: ir.Model, opset: int) -> None:
    model.graph.opset_imports[""] = opset
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain == "":
            node.version = None
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                attribute.as_graph().opset_imports[""] = opset
    model.ir_version = min(model.ir_version, 8)


def _means_the_same(node: ir.Node, opset: int) -> bool:
    """Whether the node, written for ``opset``, is valid and means the same at opset 18."""
    if node.domain not in ("", "ai.onnx"):
        return True
    if not onnx.defs.has(node.op_type, opset, ""):
        return False
    if not onnx.defs.has(node.op_type, WORKING_OPSET, ""):
        return False
    old, new = (onnx.defs.get_schema(node.op_type, version, "") for version in (WORKING_OPSET, opset))
    if old.since_version == new.since_version:
        return True
    if node.op_type in _CHANGED_AFTER_18 or len(node.inputs) > old.max_input or len(node.outputs) > old.max_output:
        return False
    if any(name not in old.attributes for name in node.attributes):
        return False
    allowed = {c.type_param_str: c.allowed_type_strs for c in old.type_constraints}
    for i, x in enumerate(node.inputs):
        formal = old.inputs[min(i, len(old.inputs) - 1)]
        if x is not None and x.dtype is not None and formal.type_str in allowed:
            if f"tensor({x.dtype.name.lower()})" not in allowed[formal.type_str]:
                return False
    return True
