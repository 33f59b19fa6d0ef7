"""Rewritings of support vector machines (domain ai.onnx.ml): kernels against support vectors, then weighted sums."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int, attr_str, given, refuse
from onnx_ig.loading.foreign.ml.classical import _floats, _integers, _list, _post, class_labels, label
from onnx_ig.loading.foreign.table import ML, foreign


@foreign("SVMRegressor", domain=ML)
def svm_regressor(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """y = Σᵢ αᵢ K(x, sᵢ) + ρ over the support vectors sᵢ; without any, y = x · α + ρ."""
    if attr_int(node, "one_class", 0):
        raise refuse(node, "a one-class machine answers with +1 or −1", "Attribute the score it thresholds (--output)")
    count = attr_int(node, "n_supports", 0)
    x, alpha = _floats(op, given(node, 0)), np.array(_list(node, "coefficients", []), np.float32)
    kernel = _kernel(op, node, x, count) if count else x
    y = op.Add(op.MatMul(kernel, op.constant(alpha.reshape(-1, 1))), _list(node, "rho", [0.0])[0])
    return [_post(op, node, y)]


@foreign("SVMClassifier", domain=ML)
def svm_classifier(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """One score for each pair of classes i < j:  Σ αᵢⱼ K(x, s) over the support vectors of i and j, + ρᵢⱼ.

    The label is the class with most votes, the first of equals. Two classes: (−score, score), or with Platt's A and B
    p = σ(−(A · score + B)) of the first class and 1 − p, to which ONNX Runtime's own iteration comes within 1e-3.
    """
    x, labels = _floats(op, given(node, 0)), class_labels(op, node)
    assert labels.shape is not None
    classes, sizes = int(labels.shape[0]), _integers(node, "vectors_per_class")  # type: ignore[arg-type]
    if not sizes:
        return _linear(op, node, x, labels, classes)
    scores = _pairs(op, node, x, classes, sizes)
    if "prob_a" in node.attributes and _list(node, "prob_a", []):
        return _probabilities(op, node, labels, scores, classes)
    winner = _votes(op, scores, classes)
    if classes == 2:
        kind = attr_str(node, "post_transform", "NONE")
        if kind != "NONE":
            raise refuse(node, f"its post_transform is {kind}", "Use NONE")
        return [op.Gather(labels, winner), op.Concat(op.Neg(scores), scores, axis=1)]
    return [op.Gather(labels, winner), _post(op, node, scores)]


def _linear(
    op: OpBuilder, node: ir.Node, x: ir.Value, labels: ir.Value, classes: int
) -> list[ir.Value | None]:  # fmt: skip
    """No support vectors: one row of weights per class."""
    weights = np.array(_list(node, "coefficients", []), np.float32).reshape(classes, -1)
    scores = op.Add(op.MatMul(x, op.constant(np.ascontiguousarray(weights.T))), _list(node, "rho", [0.0])[0])
    return [op.Gather(labels, op.ArgMax(scores, axis=1, keepdims=0)), _post(op, node, scores)]


def _pairs(op: OpBuilder, node: ir.Node, x: ir.Value, classes: int, sizes: list[int]) -> ir.Value:
    """Scores of the pairs (0,1), (0,2), ..., (1,2), ...: [N, classes · (classes − 1) / 2]."""
    count, starts = sum(sizes), np.concatenate([[0], np.cumsum(sizes)])
    alpha = np.array(_list(node, "coefficients", []), np.float32).reshape(classes - 1, count)
    pairs = list(combinations(range(classes), 2))
    mixing = np.zeros((count, len(pairs)), np.float32)
    for column, (i, j) in enumerate(pairs):
        of_i, of_j = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
        mixing[of_i, column], mixing[of_j, column] = alpha[j - 1, of_i], alpha[i, of_j]
    rho = np.array(_list(node, "rho", []), np.float32)
    return op.Add(op.MatMul(_kernel(op, node, x, count), op.constant(mixing)), op.constant(rho))


def _votes(op: OpBuilder, scores: ir.Value, classes: int) -> ir.Value:
    """The class that wins most pairs, the first of equals: int64 [N]."""
    pairs = list(combinations(range(classes), 2))
    first, second = (np.zeros((len(pairs), classes), np.float32) for _ in range(2))
    for row, (i, j) in enumerate(pairs):
        first[row, i], second[row, j] = 1, 1
    won = op.Cast(op.Greater(scores, 0.0), to=ir.DataType.FLOAT)
    votes = op.Add(op.MatMul(won, op.constant(first - second)), op.constant(second.sum(axis=0)))
    return op.ArgMax(votes, axis=1, keepdims=0)


def _probabilities(
    op: OpBuilder, node: ir.Node, labels: ir.Value, scores: ir.Value, classes: int
) -> list[ir.Value | None]:  # fmt: skip
    if classes != 2:
        raise refuse(
            node,
            "probabilities of more than two classes are found by an iteration, without a formula",
            "Convert the model with its raw scores (skl2onnx: options={'raw_scores': True})",
        )
    a, b = _list(node, "prob_a", [])[0], _list(node, "prob_b", [])[0]
    logit = op.Add(op.Mul(scores, -a), -b)
    p, q = op.Sigmoid(logit), op.Sigmoid(op.Neg(logit))
    return [label(op, labels, op.Greater(q, p)), op.Concat(p, q, axis=1)]


def _kernel(op: OpBuilder, node: ir.Node, x: ir.Value, count: int) -> ir.Value:
    """K(x, s) of each row of x and each of ``count`` support vectors: [N, count].

    LINEAR x·s, POLY (γ x·s + c)^d, SIGMOID tanh(γ x·s + c), RBF exp(−γ |x − s|²).
    """
    vectors = np.array(_list(node, "support_vectors", []), np.float32).reshape(count, -1)
    kind = attr_str(node, "kernel_type", "LINEAR")
    gamma, constant, degree = [*_list(node, "kernel_params", []), 0.0, 0.0, 0.0][:3]
    product = op.MatMul(x, op.constant(np.ascontiguousarray(vectors.T)))
    if kind == "LINEAR":
        return product
    if kind == "RBF":  # |x|² − 2 x·s + |s|² would lose digits where x is near s
        difference = op.Sub(op.Unsqueeze(x, [1]), op.constant(vectors[None]))
        return op.Exp(op.Mul(op.ReduceSum(op.Mul(difference, difference), [2], keepdims=0), -gamma))
    shifted = op.Add(op.Mul(product, gamma), constant)
    if kind == "POLY":
        return op.Pow(shifted, degree)
    if kind == "SIGMOID":
        return op.Tanh(shifted)
    raise refuse(node, f"its kernel is {kind!r}", "Use LINEAR, POLY, RBF or SIGMOID")
