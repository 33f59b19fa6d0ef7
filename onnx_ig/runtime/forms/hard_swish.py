"""HardSwish's derivative in operators that take the convolutions' blocked layout, in ONNX Runtime on a CPU.

|x| < 3 and constants take the usual layout. With [x² < 9] by HardSigmoid, and a convolution of kernel 1 for the factor,
all of it stays in the blocked one (MobileNetV3's gradient -10 %).

Replaced for pictures [N, C, H, W] of a known number of channels; others stay.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_ig.runtime.in_place import inferred_shapes

# max(0, min(1, slope · (9 − y))) is [y < 9] for every float32 y: 9 and its neighbours are 1e-6 apart.
_SLOPE_AT_NINE = 2.0**21


class HardSwishInAnyLayoutPass(ir.passes.InPlacePass):
    """Write HardSwish's derivative h + [|x| < 3] · (h − ½) of pictures as h + [x² < 9] · x / 6."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        found = any(node.op_type == "HardSwish" for node in model.graph)
        return ir.passes.PassResult(model, found and _rewrite(model) > 0)


def _rewrite(model: ir.Model) -> int:
    from onnxscript.rewriter import pattern  # takes a quarter of a second to import

    shapes = inferred_shapes(model)

    def derivative(op: Any, x: ir.Value, h: ir.Value) -> ir.Value:
        inside = op.Cast(op.Less(op.Abs(x), 3.0), to=ir.DataType.FLOAT)
        return op.Add(h, op.Mul(inside, op.Sub(h, 0.5)))

    def blocked(op: Any, x: ir.Value, h: ir.Value) -> ir.Value:
        inside = op.HardSigmoid(op.Mul(x, x), alpha=-_SLOPE_AT_NINE, beta=9 * _SLOPE_AT_NINE)
        channels = shapes[str(x.name)][1]
        assert isinstance(channels, int)  # see of_pictures
        sixth = np.full((channels, 1, 1, 1), 1 / 6, np.float32)
        return op.Add(op.Conv(op.Mul(inside, x), op.Constant(value=ir.tensor(sixth)), group=channels), h)

    def of_pictures(_: Any, x: ir.Value, **__: Any) -> bool:
        shape = shapes.get(str(x.name))
        return shape is not None and len(shape) == 4 and isinstance(shape[1], int)

    return pattern.RewriteRuleSet([pattern.RewriteRule(derivative, blocked, of_pictures)]).apply_to_model(model)
