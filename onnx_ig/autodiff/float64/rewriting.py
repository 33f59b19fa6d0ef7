"""Write nodes of float64 that ONNX Runtime's CPU provider has no kernel for in operators that it has one for.

The one idea: sliding windows are products with columns that Gather picks, and what is neither a sum nor a product has a
series or a formula of Exp and Log; so float64 stays float64, in sessions and files alike. It is done last, when the
gradient is there: a gradient is taken of a convolution, not of what a convolution is written in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from onnx_ig.autodiff.float64 import functions, windows
from onnx_ig.autodiff.lowering import rewrite
from onnx_ig.autodiff.rules.loops.recurrent import gru, lstm, rnn
from onnx_ig.graph.builder import OpBuilder

Formula = Callable[[OpBuilder, ir.Node], Sequence[ir.Value | None]]


def _single(formula: Callable[[OpBuilder, ir.Node], ir.Value]) -> Formula:
    return lambda op, node: [formula(op, node)]


FORMULAS: Mapping[str, Formula] = {
    **{name: _single(formula) for name, formula in {**windows.FORMULAS, **functions.FORMULAS}.items()},
    "RNN": rnn,
    "GRU": gru,
    "LSTM": lstm,
}


_TYPED_AT = {"OneHot": 2}  # the input whose type is in question; else the first


class SpellOutFloat64Pass(ir.passes.InPlacePass):
    """Rewrite each node of float64 that is in :data:`FORMULAS`, bodies included.

    The values do not change but for float64's rounding. A node whose number of axes is unknown stays.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        modified = any(map(_lacks_kernel, ir.traversal.RecursiveGraphIterator(model.graph)))
        if modified:
            _spell_out(OpBuilder(model.graph))
        return ir.passes.PassResult(model, modified)


def _spell_out(op: OpBuilder) -> None:
    refused: set[ir.Node] = set()
    while nodes := [node for node in op.graph if _lacks_kernel(node) and node not in refused]:  # formulas hold others
        refused.update(node for node in nodes if rewrite(op, node, FORMULAS[node.op_type]) is None)
    for node in op.graph:
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                _spell_out(OpBuilder(attribute.as_graph(), parent=op))


def _lacks_kernel(node: ir.Node) -> bool:
    if node.domain != "" or node.op_type not in FORMULAS:
        return False
    x = node.inputs[_TYPED_AT.get(node.op_type, 0)]
    return x is not None and x.dtype == ir.DataType.DOUBLE
