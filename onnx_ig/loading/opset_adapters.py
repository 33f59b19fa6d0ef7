"""Older forms of the operators that changed between opsets 7 and 18, each rewritten to its form at 18.

The one idea: a table, operator → function. What is not in it has the same form at 18 as at every older opset: its older
attributes and inputs are the first ones of the newer form, new attributes default to the old meaning.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from onnx_ig.errors import ModelError
from onnx_ig.graph.node_edit import (
    constant_value,
    floats,
    insert_after,
    insert_before,
    int_attribute,
    integers,
    required_input,
    scalar_like,
    set_attributes,
    set_inputs,
    take_attribute,
)

Adapter = Callable[[ir.Node, int], None]

REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


def adapt(node: ir.Node, opset: int) -> None:
    """Rewrite ``node``, written for ``opset``, to the form of opset 18; nodes may be put around it.

    Raises:
        ModelError: opset 18 cannot express it.
    """
    adapter = ADAPTERS.get(node.op_type)
    if adapter is not None and node.domain == "":
        adapter(node, opset)


def _attributes_to_inputs(*names: str, before: int) -> Adapter:
    """The named attributes (integers) become the inputs after the first, in this order."""

    def adapter(node: ir.Node, opset: int) -> None:
        if opset < before:
            values = [take_attribute(node, name) for name in names]
            set_inputs(node, [node.inputs[0], *(integers(node, v) for v in values)])

    return adapter


def _softmax(node: ir.Node, opset: int) -> None:
    """Before opset 13 the axes from ``axis`` on were taken together: softmax over a matrix of that many columns."""
    if opset >= 13:
        return
    x, axis = required_input(node, 0), int_attribute(node, "axis", 1)
    if x.shape is not None:
        axis = axis + len(x.shape) if axis < 0 else axis
        if all(d == 1 for d in x.shape.dims[axis + 1 :]):
            set_attributes(node, axis=axis)
            return
    shape = insert_before(node, "Shape", [x])
    matrix = insert_before(node, "Flatten", [x], axis=axis)
    set_attributes(node, axis=-1)
    node.replace_input_with(0, matrix)
    insert_after(node, lambda y: ir.node("Reshape", [y, shape]))


def _clip(node: ir.Node, opset: int) -> None:
    if opset < 11:
        bounds = [take_attribute(node, name) for name in ("min", "max")]
        set_inputs(node, [node.inputs[0], *(None if v is None else scalar_like(node, float(v)) for v in bounds)])


def _pad(node: ir.Node, opset: int) -> None:
    if opset < 11:
        pads, value = take_attribute(node, "pads"), take_attribute(node, "value")
        set_inputs(
            node, [node.inputs[0], integers(node, pads), scalar_like(node, float(value)) if value is not None else None]
        )


def _split(node: ir.Node, opset: int) -> None:
    if opset < 13:
        _attributes_to_inputs("split", before=13)(node, opset)
    if opset < 18 and len(node.inputs) < 2:
        set_attributes(node, num_outputs=len(node.outputs))


def _dropout(node: ir.Node, opset: int) -> None:
    """Out of training nothing is dropped; the mask was defined for training only before opset 12."""
    if opset < 12:
        if any(_is_used(y) for y in node.outputs[1:]):
            raise _refusal(node, "its mask (output 2) is used: before opset 12 it exists in training only")
        node.resize_outputs(1)
        take_attribute(node, "ratio")


def _batch_normalization(node: ir.Node, opset: int) -> None:
    """Before opset 14 up to four more outputs, of training; before 9 ``spatial=0``: a statistic for each element."""
    if opset >= 14:
        return
    if any(_is_used(y) for y in node.outputs[1:]):
        raise _refusal(node, "its statistics (outputs 2 to 5) are used: they exist in training only")
    node.resize_outputs(1)
    if take_attribute(node, "spatial") in (None, 1):
        return
    x, scale, bias, mean, variance = (required_input(node, i) for i in range(5))
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    deviation = insert_before(node, "Sqrt", [insert_before(node, "Add", [variance, scalar_like(node, epsilon)])])
    normal = insert_before(node, "Div", [insert_before(node, "Sub", [x, mean]), deviation])
    node.attributes.clear()
    node.op_type = "Add"
    set_inputs(node, [insert_before(node, "Mul", [normal, scale]), bias])


def _upsample(node: ir.Node, opset: int) -> None:
    """Upsample is Resize with asymmetric coordinates."""
    scales = take_attribute(node, "scales") if opset < 9 else None
    second = floats(node, scales) if scales is not None else required_input(node, 1)
    _to_resize(node, second)


def _resize(node: ir.Node, opset: int) -> None:
    if opset < 11:
        _to_resize(node, required_input(node, 1))
    for i, x in enumerate(node.inputs):  # an empty tensor stands for an input left out
        if i > 0 and x is not None and constant_value(x) is not None and constant_value(x).size == 0:  # type: ignore[union-attr]
            node.replace_input_with(i, None)
    if opset < 13 and node.attributes.get_string("coordinate_transformation_mode", "") == "tf_half_pixel_for_nn":
        if (
            node.attributes.get_string("mode", "nearest") != "nearest"
            or node.attributes.get_string("nearest_mode", "round_prefer_floor") != "floor"
        ):
            raise _refusal(node, "coordinate_transformation_mode tf_half_pixel_for_nn is known with nearest_mode floor")
        # ⌊(i + ½)/s⌋ = ⌊((i + ½)/s − ½) + ½⌋
        set_attributes(node, coordinate_transformation_mode="half_pixel", nearest_mode="round_prefer_ceil")


def _to_resize(node: ir.Node, scales: ir.Value) -> None:
    """Before opset 11: i/s, rounded down when enlarging, up when reducing (as ONNX Runtime reads the unstated)."""
    known = constant_value(scales)
    rounding = "floor"
    if node.attributes.get_string("mode", "nearest") == "nearest" and known is not None:
        inexact = [s for s in known.ravel().astype(float) if s < 1 and not (1 / s).is_integer()]
        if inexact and any(s > 1 and not float(s).is_integer() for s in known.ravel()):
            raise _refusal(node, f"scales {known.tolist()} round up on one axis and down on another")
        rounding = "ceil" if inexact else "floor"
    mode = "nearest" if node.attributes.get_string("mode", "nearest") == "nearest" else "linear"
    node.op_type = "Resize"
    node.attributes.clear()
    set_attributes(node, mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode=rounding)
    set_inputs(node, [node.inputs[0], None, scales])


def _top_k(node: ir.Node, opset: int) -> None:
    if opset < 10:
        _attributes_to_inputs("k", before=10)(node, opset)


def _slice(node: ir.Node, opset: int) -> None:
    if opset < 10:
        starts, ends, axes = (take_attribute(node, name) for name in ("starts", "ends", "axes"))
        set_inputs(node, [node.inputs[0], *(integers(node, v) for v in (starts, ends, axes))])


def _roi_align(node: ir.Node, opset: int) -> None:
    if opset < 16:
        set_attributes(node, coordinate_transformation_mode="output_half_pixel")


def _scatter(node: ir.Node, opset: int) -> None:
    node.op_type = "ScatterElements"


def _scan(node: ir.Node, opset: int) -> None:
    """Scan 8 went over a batch of sequences: an outer Scan over the batch, an inner one over the sequence."""
    if opset >= 9:
        return
    if node.inputs[0] is not None:
        raise _refusal(node, "sequence_lens is not supported")
    values = [required_input(node, i) for i in range(1, len(node.inputs))]
    count = int_attribute(node, "num_scan_inputs", len(values))
    directions = node.attributes.get_ints("directions", [0] * count)
    body = node.attributes["body"].as_graph()
    inner_inputs = [
        ir.Value(name=f"{v.name}_example", type=v.type, shape=None if v.shape is None else ir.Shape(v.shape.dims[1:]))
        for v in values
    ]
    inner = ir.node(
        "Scan",
        inner_inputs,
        {"num_scan_inputs": count, "scan_input_directions": directions},
        num_outputs=len(node.outputs),
    )
    inner.attributes["body"] = ir.AttrGraph("body", body)
    for i, y in enumerate(inner.outputs):
        y.name, y.type = f"{node.outputs[i].name}_example", node.outputs[i].type or body.outputs[i].type
    graph = ir.Graph(
        inner_inputs, inner.outputs, nodes=[inner], opset_imports=dict(body.opset_imports), name=f"{body.name}_batch"
    )
    node.attributes.clear()
    node.attributes["body"] = ir.AttrGraph("body", graph)
    set_attributes(node, num_scan_inputs=len(values))
    set_inputs(node, values)


ADAPTERS: dict[str, Adapter] = {
    "BatchNormalization": _batch_normalization,
    "Clip": _clip,
    "Dropout": _dropout,
    "Hardmax": _softmax,
    "LogSoftmax": _softmax,
    "Pad": _pad,
    "Resize": _resize,
    "RoiAlign": _roi_align,
    "Scan": _scan,
    "Scatter": _scatter,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _attributes_to_inputs("axes", before=13),
    "TopK": _top_k,
    "Unsqueeze": _attributes_to_inputs("axes", before=13),
    "Upsample": _upsample,
    **{f"Reduce{name}": _attributes_to_inputs("axes", before=13 if name == "Sum" else 18) for name in REDUCTIONS},
}


def _refusal(node: ir.Node, reason: str) -> ModelError:
    return ModelError(f"{node.op_type} (node {node.name!r}) cannot be brought to opset 18: {reason}")


def _is_used(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()
