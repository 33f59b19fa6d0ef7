"""Pooling nodes whose ceil_mode onnx's shape inference reads wrongly, in terms that it reads rightly.

The one idea: a window that would start beyond the input is left out, which inference forgets before opset 22; where the
sizes are known, end padding says which windows there are, and ceil_mode is not needed.

Seen in: onnx 1.23.2, for models of opset 21 and before. Report: onnx/onnx#5711, mended by onnx/onnx#5741 for the newest
opset alone.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.graph.node_edit import set_attributes

_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})


class SettleCeilModePass(ir.passes.InPlacePass):
    """Rewrite pooling nodes with such a window, in bodies too; those whose sizes are unknown stay."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        changed = False
        for node in ir.traversal.RecursiveGraphIterator(model.graph):
            if node.domain == "" and node.op_type in _POOLS and node.attributes.get_int("ceil_mode", 0) != 0:
                pads = _whole_windows(node)
                if pads is not None:
                    set_attributes(node, ceil_mode=0, pads=pads)
                    changed = True
        return ir.passes.PassResult(model, changed)


def _whole_windows(node: ir.Node) -> list[int] | None:
    """The pads with which the node needs no ceil_mode; None if inference reads it rightly, or pads cannot say it."""
    x, attributes = node.inputs[0], node.attributes
    kernel = attributes.get_ints("kernel_shape", [])
    n = len(kernel)
    if x is None or x.shape is None or len(x.shape) != n + 2 or attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return None
    strides, dilations = attributes.get_ints("strides", [1] * n), attributes.get_ints("dilations", [1] * n)
    pads = list(attributes.get_ints("pads", [0] * (2 * n)))
    overcounted = partial = False
    for i in range(n):
        length = x.shape[i + 2]
        if not isinstance(length, int):
            return None
        reach = (kernel[i] - 1) * dilations[i] + 1
        steps, rest = divmod(length + pads[i] + pads[n + i] - reach, strides[i])
        if not rest:
            continue
        if (steps + 1) * strides[i] >= length + pads[i]:
            overcounted = True
        else:
            partial = True
            pads[n + i] += strides[i] - rest
            if pads[n + i] >= kernel[i]:
                return None
    counts_padding = node.op_type == "AveragePool" and attributes.get_int("count_include_pad", 0) != 0
    return pads if overcounted and not (partial and counts_padding) else None
