"""The same graph for runtimes that read less of the standard: in files alone, our own sessions need none of it.

The one idea: each edit adds or respells what every runtime understands, and changes no value.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder, is_static, rank_of, static_shape
from onnx_ig.graph.node import attr_str, constant, optional

# what ONNX Runtime's WebGPU fuses with a convolution, whose result has three axes or more
_ACTIVATIONS = frozenset(
    ("Clip", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Tanh")
)
_CONVOLVED = 3


class RespellPass(ir.passes.InPlacePass):
    """In the bodies of the graph too.

    * ``kernel_shape`` on each convolution whose weight's shape is known: the standard lets it be inferred.
    * IsNaN(x) → Not(Equal(x, x)): MNN has no IsNaN.
    * Pads of all axes, and a zero where no value is given: ONNX Runtime's WebGPU refuses some of few axes, MNN those
      without a value.
    * An Identity behind each scan output that its body reads: tract refuses such a body.
    * An Identity behind each constant that is an output: OpenCV does not find it, C code leaves it unwritten.
    * With ``activations_apart``, of two activations in a row behind a convolution the second on one axis more: ONNX
      Runtime's WebGPU (1.30.0) fuses both with the convolution, and computes the second alone.
    """

    def __init__(self, *, activations_apart: bool = True) -> None:
        super().__init__()
        self._activations_apart = activations_apart

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        op = OpBuilder(model.graph)
        constants = [i for i, value in enumerate(model.graph.outputs) if value.is_initializer()]
        for i in constants:
            _make_node_of_constant(op, model.graph, i)
        nodes = [node for node in ir.traversal.RecursiveGraphIterator(model.graph) if node.domain == ""]
        changed = sum(_respell(op, node) for node in nodes) + len(constants)
        if self._activations_apart:
            changed += sum(_keep_apart(op, node) for node in nodes)
        return ir.passes.PassResult(model, changed > 0)


def _respell(op: OpBuilder, node: ir.Node) -> bool:
    if node.op_type in ("Conv", "ConvTranspose"):
        return _name_kernel_shape(node)
    if node.op_type == "IsNaN" and node.inputs[0] is not None and node.inputs[0].dtype != ir.DataType.BFLOAT16:
        return _compare_with_itself(op, node)
    if node.op_type == "Pad":
        return _pad_all_axes(op, node)
    return node.op_type in ("Scan", "Loop") and _part_read_outputs(op, node)


def _name_kernel_shape(node: ir.Node) -> bool:
    weight = node.inputs[1]
    if weight is None or not is_static(weight) or "kernel_shape" in node.attributes:
        return False
    node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", static_shape(weight)[2:])
    return True


def _compare_with_itself(op: OpBuilder, node: ir.Node) -> bool:
    x, y, graph = node.inputs[0], node.outputs[0], node.graph
    assert graph is not None
    equal = ir.Node("", "Equal", [x, x])
    equal.outputs[0].name, equal.outputs[0].type = op.fresh(f"{y.name}_equal"), ir.TensorType(ir.DataType.BOOL)
    equal.outputs[0].shape = None if y.shape is None else y.shape.copy()
    graph.insert_before(node, equal)
    inverse = ir.Node("", "Not", [equal.outputs[0]])
    made = inverse.outputs[0]
    made.name, made.type, made.shape = y.name, y.type, y.shape
    graph.insert_before(node, inverse)
    ir.convenience.replace_all_uses_with(y, made, replace_graph_outputs=True)
    y.name = None
    graph.remove(node, safe=True)
    return True


def _keep_apart(op: OpBuilder, node: ir.Node) -> bool:
    """The second of two activations: of Unsqueeze(x, 0), and squeezed, which no optimiser takes for nothing."""
    x, graph = node.inputs[0] if node.inputs else None, node.graph
    if node.op_type not in _ACTIVATIONS or x is None or len(x.uses()) != 1 or x.is_graph_output():
        return False
    first, rank = x.producer(), rank_of(x)
    if first is None or first.op_type not in _ACTIVATIONS or (rank is not None and rank < _CONVOLVED):
        return False
    assert graph is not None
    y, axis = node.outputs[0], op.constant(np.zeros(1, np.int64))
    before = ir.Node("", "Unsqueeze", [x, axis])
    node.replace_input_with(0, before.outputs[0])
    after = ir.Node("", "Squeeze", [y, axis])
    longer = None if y.shape is None else ir.Shape([1, *y.shape])
    made, name = after.outputs[0], y.name
    before.outputs[0].name, before.outputs[0].type = op.fresh(f"{x.name}_apart"), x.type
    before.outputs[0].shape = None if x.shape is None else ir.Shape([1, *x.shape])
    made.type, made.shape, made.doc_string = y.type, y.shape, y.doc_string
    graph.insert_before(node, before)
    graph.insert_after(node, after)
    ir.convenience.replace_all_uses_with(y, made, replace_graph_outputs=True)
    after.replace_input_with(0, y)
    y.name, y.shape, y.doc_string = op.fresh(f"{name}_apart"), longer, None
    made.name = name
    return True


def _pad_all_axes(op: OpBuilder, node: ir.Node) -> bool:
    x, pads = node.inputs[0], constant(optional(node, 1))
    value, axes = optional(node, 2), optional(node, 3)
    if x is None or x.dtype is None or x.shape is None or pads is None or (axes is None and value is not None):
        return False
    chosen = np.arange(len(pads) // 2) if axes is None else constant(axes)
    if chosen is None:
        return False
    before, after = np.zeros((2, len(x.shape)), np.int64)
    before[chosen], after[chosen] = np.split(pads, 2)
    node.resize_inputs(3)
    node.replace_input_with(1, op.constant(np.concatenate([before, after])))
    if value is None and attr_str(node, "mode", "constant") == "constant":
        node.replace_input_with(2, op.constant(np.zeros([], x.dtype.numpy())))
    return True


def _make_node_of_constant(op: OpBuilder, graph: ir.Graph, index: int) -> None:
    constant = graph.outputs[index]
    copy = ir.Node("", "Identity", [constant])
    made, name = copy.outputs[0], constant.name
    made.type, made.shape, made.doc_string = constant.type, constant.shape, constant.doc_string
    del graph.initializers[str(name)]
    constant.name, made.name = op.fresh(f"{name}_constant"), name
    graph.register_initializer(constant)
    graph.append(copy)
    graph.outputs[index] = made


def _part_read_outputs(op: OpBuilder, node: ir.Node) -> bool:
    body, parted = node.attributes["body"].as_graph(), False
    for i in range(len(body.outputs) - _scan_outputs(node, body), len(body.outputs)):
        value = body.outputs[i]
        if value.uses():
            copy = ir.Node("", "Identity", [value])
            made = copy.outputs[0]
            made.name, made.type = op.fresh(f"{value.name}_out"), value.type
            made.shape = None if value.shape is None else value.shape.copy()
            body.append(copy)
            body.outputs[i], parted = made, True
    return parted


def _scan_outputs(node: ir.Node, body: ir.Graph) -> int:
    """How many outputs of the node are stacked over its steps."""
    if node.op_type == "Loop":
        return len(node.outputs) - (len(node.inputs) - 2)
    scanned = node.attributes["num_scan_inputs"].as_int()
    return len(node.outputs) - (len(body.inputs) - scanned)
