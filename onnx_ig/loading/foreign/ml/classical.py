"""Rewritings of the classical models of domain ai.onnx.ml, as converters of scikit-learn write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.registry import refused, zero_vjp
from onnx_ig.graph.builder import OpBuilder, rank_of
from onnx_ig.graph.node import attr_int, attr_str, given, refuse
from onnx_ig.loading.foreign.table import ML, foreign

zero_vjp("Binarizer", domain=ML, reason="a step function")
zero_vjp("LabelEncoder", domain=ML, reason="a table look-up is a step function of its keys")
zero_vjp("OneHotEncoder", domain=ML, reason="it compares with a list of categories: a step function")
refused(
    "TreeEnsemble",
    "TreeEnsembleRegressor",
    "TreeEnsembleClassifier",
    domain=ML,
    reason="a tree ensemble is piecewise constant, so its gradient is zero everywhere it exists",
    advice="Use a method for trees, such as TreeSHAP, or attribute a differentiable model",
)
zero_vjp("CategoryMapper", "DictVectorizer", "CastMap", domain=ML, reason="its input is text, a map or integers")


@foreign("Scaler", domain=ML)
def scaler(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """y = (x − offset) · scale, each one number or one per column."""
    x = _floats(op, given(node, 0))
    offset, scale = _list(node, "offset", [0.0]), _list(node, "scale", [1.0])
    return [op.Mul(op.Sub(x, _row(op, offset)), _row(op, scale))]


@foreign("Normalizer", domain=ML)
def normalizer(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Each row divided by its largest number (MAX), Σ|x| (L1) or √Σx² (L2); a row whose divisor is 0 stays."""
    x, kind = _floats(op, given(node, 0)), attr_str(node, "norm", "MAX")
    if kind == "MAX":
        size = op.ReduceMax(x, [-1], keepdims=1)
    else:
        size = op.ReduceSum(op.Abs(x) if kind == "L1" else op.Mul(x, x), [-1], keepdims=1)
    divisor = op.Where(op.Equal(size, 0.0), 1.0, size)
    return [op.Div(x, op.Sqrt(divisor) if kind == "L2" else divisor)]


@foreign("Imputer", domain=ML)
def imputer(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """y = the column's value where x is missing (NaN, or ``replaced_value``), x elsewhere."""
    if "imputed_value_floats" not in node.attributes:
        raise refuse(node, "it fills in integers", "Attribute at a float tensor after it (--at)")
    x = given(node, 0)
    missing = node.attributes["replaced_value_float"].as_float() if "replaced_value_float" in node.attributes else 0.0
    hole = op.IsNaN(x) if np.isnan(missing) else op.Equal(x, missing)
    return [op.Where(hole, _row(op, _list(node, "imputed_value_floats", [])), x)]


@foreign("LinearRegressor", domain=ML)
def linear_regressor(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """Y = post(X @ Wᵀ + b)."""
    return [_post(op, node, _linear(op, node, attr_int(node, "targets", 1)))]


@foreign("LinearClassifier", domain=ML)
def linear_classifier(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """Scores post(X @ Wᵀ + b), and the label of the largest; one row of W for two labels: the score of the second."""
    labels = class_labels(op, node)
    rows = len(_list(node, "intercepts", [])) or (len(labels) if labels.shape is None else int(labels.shape[0]))  # type: ignore[arg-type]
    scores = _linear(op, node, rows)
    if rows == 1:
        return [label(op, labels, op.Greater(scores, 0.0)), second_class(op, node, scores)]
    return [op.Gather(labels, op.ArgMax(scores, axis=1, keepdims=0)), _post(op, node, scores)]


@foreign("FeatureVectorizer", domain=ML)
def feature_vectorizer(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """The inputs side by side, each flattened to [N, its columns]."""
    columns = _integers(node, "inputdimensions")
    parts = []
    for i, x in enumerate(node.inputs):
        assert x is not None
        flat = op.Reshape(x, [-1, columns[i]]) if columns else op.Flatten(x, axis=1)
        parts.append(_floats(op, flat))
    return [op.Concat(*parts, axis=1)]


@foreign("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(op: OpBuilder, node: ir.Node) -> list[ir.Value]:
    """The columns of x at the indices y, along the last axis; a vector is taken for one row."""
    x, places = given(node, 0), op.Reshape(given(node, 1), [-1])
    return [op.Gather(op.Unsqueeze(x, [0]) if rank_of(x) == 1 else x, places, axis=-1)]


def class_labels(op: OpBuilder, node: ir.Node) -> ir.Value:
    """The labels as a constant [classes] of integers or text."""
    for name in ("classlabels_strings", "classlabels_ints", "classlabels_int64s"):
        if name not in node.attributes:
            continue
        attribute = node.attributes[name]
        if attribute.type == ir.AttributeType.STRINGS:
            text = [s.encode() for s in attribute.as_strings()]
            return op.constant(ir.StringTensor(text, shape=ir.Shape([len(text)])))
        return op.constant(np.array(attribute.as_ints(), np.int64))
    raise refuse(node, "it has no class labels", "Set classlabels_ints or classlabels_strings")


def label(op: OpBuilder, labels: ir.Value, second: ir.Value) -> ir.Value:
    """The label of each row: the second where ``second`` [N, 1] is true."""
    return op.Gather(labels, op.Cast(op.Reshape(second, [-1]), to=ir.DataType.INT64))


def second_class(op: OpBuilder, node: ir.Node, score: ir.Value) -> ir.Value:
    """Scores [N, 2] from the second class's [N, 1]: (1 − p, p) with p = σ(s) for LOGISTIC, (−s, s) for plain scores."""
    kind = attr_str(node, "post_transform", "NONE")
    if kind == "LOGISTIC":
        return op.Concat(op.Sigmoid(op.Neg(score)), op.Sigmoid(score), axis=1)
    return _post(op, node, op.Concat(op.Neg(score), score, axis=1))


def _linear(op: OpBuilder, node: ir.Node, rows: int) -> ir.Value:
    weights = np.array(_list(node, "coefficients", []), np.float32).reshape(rows, -1)
    bias = _list(node, "intercepts", [])
    y = op.MatMul(_floats(op, given(node, 0)), op.constant(np.ascontiguousarray(weights.T)))
    return op.Add(y, _row(op, bias)) if bias else y


def _post(op: OpBuilder, node: ir.Node, y: ir.Value) -> ir.Value:
    """``post_transform`` of scores [N, classes]."""
    kind = attr_str(node, "post_transform", "NONE")
    if kind == "NONE":
        return y
    if kind == "SOFTMAX":
        return op.Softmax(y, axis=-1)
    if kind == "LOGISTIC":
        return op.Sigmoid(y)
    raise refuse(node, f"its post_transform is {kind}", "Use NONE, SOFTMAX or LOGISTIC")


def _floats(op: OpBuilder, x: ir.Value) -> ir.Value:
    """``x`` as float32, the type of every result of this domain."""
    return x if x.dtype == ir.DataType.FLOAT else op.Cast(x, to=ir.DataType.FLOAT)


def _row(op: OpBuilder, numbers: Sequence[float]) -> ir.Value:
    return op.constant(np.array(numbers, np.float32))


def _list(node: ir.Node, name: str, default: list[float]) -> list[float]:
    return list(node.attributes[name].as_floats()) if name in node.attributes else default


def _integers(node: ir.Node, name: str) -> list[int]:
    return list(node.attributes[name].as_ints()) if name in node.attributes else []
