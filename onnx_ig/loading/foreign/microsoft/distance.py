"""Rewriting of ONNX Runtime's matrix of distances (domain com.microsoft): nearest neighbours, Gaussian processes."""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_str, given, refuse
from onnx_ig.loading.foreign.table import MICROSOFT, foreign


@foreign("CDist", domain=MICROSOFT)
def cdist(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """y[m, k] = ‖a[m] − b[k]‖, or its square.

    From the differences: |a|² + |b|² − 2 a·b, as the kernel has it, loses the digits of small distances.
    """
    metric = attr_str(node, "metric", "sqeuclidean")
    if metric not in ("euclidean", "sqeuclidean"):
        raise refuse(node, f"its metric is {metric!r}", "Use euclidean or sqeuclidean")
    difference = op.Sub(op.Unsqueeze(given(node, 0), [1]), op.Unsqueeze(given(node, 1), [0]))
    norm = op.ReduceL2 if metric == "euclidean" else op.ReduceSumSquare
    return [norm(difference, [-1], keepdims=0)]
