"""The gradient of a model as a model: what is loaded, differentiated and given back as a message."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir

from onnx_ig.autodiff.gradient import gradient_model
from onnx_ig.errors import warn
from onnx_ig.loading.interface import put_defaults_back
from onnx_ig.loading.model import Source, load, refuse_attribution_model


def differentiate(
    model: Source, wrt: Sequence[str] | None = None, outputs: Sequence[str] | None = None
) -> onnx.ModelProto:
    """The model with its vector–Jacobian product added in standard operators.

    For cotangents ``u_y`` of the outputs y, the result computes ``grad_t = Σ_y u_yᵀ · ∂y/∂t`` for each tensor t.

    Args:
        model: a path, serialised bytes, ModelProto, onnx_ir model or :class:`Model`.
        wrt: names of float inputs or of float tensors inside the graph; default: all float inputs
            without a default value that reach an output.
        outputs: names of float outputs, or of float tensors inside the graph; default: all float outputs.

    Returns:
        Inputs: the model's own with their defaults, then ``cotangent_<output>`` of each output's shape.
        Outputs: the model's own, then ``grad_<tensor>`` of each tensor's shape. The metadata property
        ``onnx_ig.straight_through`` counts, by operator, the quantising nodes whose derivative is that of their float
        equivalent. A message holds less than
        2 GB: of a larger model the weights stay in the files beside it, named relative to its folder, with a warning.
        Save the result in that folder, or use :func:`onnx_ig.export`, which writes a file of its own.

    Raises:
        NoGradientPathError: none of ``wrt`` reaches any of ``outputs`` through differentiable operators.
        NotDifferentiableError: a node on the path has no rule; the message names it.
        InputError: an unknown or non-float name.
        UsageError: an attribution model, which holds its gradient already.

    >>> import numpy as np, onnx.parser, onnx_ig
    >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
    ...     square (float[n, 2] x) => (float[n, 2] y) { y = Mul(x, x) }''')
    >>> gradient = onnx_ig.differentiate(model, wrt=["x"])
    >>> [x.name for x in gradient.graph.input], [y.name for y in gradient.graph.output]
    (['x', 'cotangent_y'], ['y', 'grad_x'])
    """
    result = _gradient(model, wrt, outputs)
    tensors = [value.const_value for value in result.graph.initializers.values()]
    outside = [tensor for tensor in tensors if isinstance(tensor, ir.ExternalTensor)]
    if outside:
        files = ", ".join(sorted({str(tensor.location) for tensor in outside}))
        warn(f"too large for a message: weights stay in {files}; save the result in {outside[0].base_dir}, beside them")
    return ir.to_proto(result)


def exact_gradient(
    model: Source, wrt: Sequence[str] | None = None, outputs: Sequence[str] | None = None
) -> onnx.ModelProto:
    """What :func:`differentiate` gives, for an evaluator that has every operator in float64.

    Of a model in float64 it has the operators that it has of one in float32: what is judged in float64 is what runs.
    """
    return ir.to_proto(_gradient(model, wrt, outputs, spell_out=False))


def _gradient(
    model: Source, wrt: Sequence[str] | None, outputs: Sequence[str] | None, *, spell_out: bool = True
) -> ir.Model:
    loaded = load(model)
    refuse_attribution_model(loaded)
    result = gradient_model(loaded.ir_model, wrt, outputs, without=loaded.defaults, spell_out=spell_out)
    put_defaults_back(result.graph, loaded.defaults)
    return result
