"""Rewriting of ONNX Runtime's LSTM on quantised weights (domain com.microsoft) into a Scan of the standard's operators.

The one idea: the kernel rounds the whole input at once, and the state h anew at each step; so the latter is rounded
inside the Scan, and the gradient is the straight-through one there too (:mod:`onnx_ig.autodiff.straight_through`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.rules.loops import directions as parts
from onnx_ig.autodiff.rules.loops.directions import Direction, Walked
from onnx_ig.autodiff.rules.loops.recurrent import LSTM_ACTIVATIONS, walked_lstm
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, attr_str, given
from onnx_ig.loading.foreign.table import MICROSOFT, foreign

_SCALES = 8  # the input from which the scales and zero points of W and R come


@dataclass(frozen=True)
class _Weight:
    """Quantised weights of one direction: [K, 4·H], with one scale and zero point in all or for each column."""

    numbers: ir.Value
    scale: ir.Value
    zero: ir.Value

    def product(self, op: OpBuilder, x: ir.Value) -> ir.Value:
        """x[..., K] @ weight, x rounded to 8 bits by the range of its numbers."""
        q, scale, zero = op.DynamicQuantizeLinear(x, _outputs=3)
        product = op.MatMulInteger(q, self.numbers, zero, self.zero)
        y: ir.Value = op.Mul(op.Cast(product, to=ir.DataType.FLOAT), op.Mul(scale, self.scale))
        return y


@foreign("DynamicQuantizeLSTM", domain=MICROSOFT)
def dynamic_quantize_lstm(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """LSTM with the products x W and h₋ R of numbers rounded to 8 bits; W [D, I, 4·H], R [D, H, 4·H]."""
    directions = 2 if attr_str(node, "direction", "forward") == "bidirectional" else 1
    remaining = iter([[_weight(op, node, index, d) for index in (1, 2)] for d in range(directions)])
    coupled = attr_int(node, "input_forget", 0) != 0

    def walk(op: OpBuilder, d: Direction) -> Walked:
        w, r = next(remaining)
        from_x = w.product(op, d.x)
        for bias in d.biases or ():
            from_x = op.Add(from_x, bias)
        return walked_lstm(op, d, coupled, from_x, lambda body, h, now: body.Add(r.product(body, h), now))[0]

    turned = [op.Transpose(given(node, index), perm=[0, 2, 1]) for index in (1, 2)]  # as LSTM has them, for their shape
    inputs = [given(node, 0), *turned, *node.inputs[3:_SCALES]]
    standard = ir.Node("", "LSTM", inputs, list(node.attributes.values()), num_outputs=len(node.outputs))
    for y, old in zip(standard.outputs, node.outputs, strict=True):
        y.name = old.name
    made = parts.lowered(op, standard, LSTM_ACTIVATIONS, walk)
    for index in range(len(inputs)):  # it is in no graph, and reads nothing
        standard.replace_input_with(index, None)
    return made


def _weight(op: OpBuilder, node: ir.Node, index: int, direction: int) -> _Weight:
    """The weight at an input, 1 or 2, with its scale and zero point."""
    place, scale = op.constant(np.array(direction, np.int64)), _SCALES + 2 * (index - 1)
    numbers, unit, zero = (op.Gather(given(node, i), place, axis=0) for i in (index, scale, scale + 1))
    return _Weight(numbers, unit, zero)
