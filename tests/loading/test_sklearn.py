"""scikit-learn pipelines as skl2onnx converts them: same values, gradients by finite differences, trees refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC

import onnx_ig
from onnx_ig.errors import NotDifferentiableError
from onnx_ig.runtime.session import Session
from tests.judging.judge import Case, judge

skl2onnx = pytest.importorskip("skl2onnx", reason="the converter of scikit-learn models (extra 'test')")

X, THREE = make_classification(120, 6, n_informative=4, n_classes=3, random_state=0)
X = X.astype(np.float32)
TWO, NAMES = (THREE > 0).astype(int), np.array(["a", "b", "c"])[THREE]
REAL = X[:, 0] * 2 + np.sin(X[:, 1])


def _mlp(kind: Any, activation: str) -> Any:
    return kind(hidden_layer_sizes=(8,), activation=activation, max_iter=50, random_state=0)


MODELS: dict[str, tuple[Any, np.ndarray]] = {
    "scaler and MLP classifier": (make_pipeline(StandardScaler(), _mlp(MLPClassifier, "tanh")), THREE),
    "scaler and MLP regressor": (make_pipeline(MinMaxScaler(), _mlp(MLPRegressor, "logistic")), REAL),
    "logistic regression, two classes": (LogisticRegression(), TWO),
    "logistic regression, three classes": (make_pipeline(StandardScaler(), LogisticRegression()), THREE),
    "logistic regression, named classes": (LogisticRegression(), NAMES),
    "stochastic gradient descent": (make_pipeline(StandardScaler(), SGDClassifier("log_loss", random_state=0)), THREE),
    "linear SVM, two classes": (LinearSVC(), TWO),
    "linear SVM, three classes": (LinearSVC(), THREE),
    "linear SVM regression": (LinearSVR(), REAL),
    "SVM, two classes": (SVC(), TWO),
    "SVM, three classes": (SVC(), THREE),
    "SVM, linear kernel": (SVC(kernel="linear"), THREE),
    "SVM, polynomial kernel": (SVC(kernel="poly", coef0=1.0), TWO),
    "SVM, sigmoid kernel": (SVC(kernel="sigmoid", gamma=0.1), TWO),
    "ν-SVM": (NuSVC(), THREE),
    "SVM regression": (SVR(), REAL),
    "SVM regression, linear kernel": (make_pipeline(StandardScaler(), SVR(kernel="linear")), REAL),
    "normaliser, L2": (make_pipeline(Normalizer(), LinearRegression()), REAL),
    "normaliser, L1": (make_pipeline(Normalizer(norm="l1"), Ridge()), REAL),
    "normaliser, maximum": (make_pipeline(Normalizer(norm="max"), Ridge()), REAL),
    "powers, NaN in the branch not taken": (make_pipeline(PowerTransformer(), LinearRegression()), REAL),
    "imputer": (make_pipeline(SimpleImputer(), StandardScaler(), LinearRegression()), REAL),
    "polynomial features": (make_pipeline(RobustScaler(), PolynomialFeatures(2), Ridge()), REAL),
}


def _converted(name: str) -> onnx.ModelProto:
    model, labels = MODELS[name]
    return skl2onnx.to_onnx(model.fit(X, labels), X[:1])


@pytest.mark.parametrize("name", MODELS)
def test_value_and_gradient(name: str) -> None:
    proto, points = _converted(name), X[:4].copy()
    standard = onnx_ig.load(proto)
    floats = [str(y.name) for y in standard.outputs if str(y.dtype) == "FLOAT"]
    gradient = onnx_ig.differentiate(proto, outputs=floats)
    assert {node.domain for node in gradient.graph.node} == {""}
    own = Session(proto, "cpu", threads=1).run({"X": points})
    mine = Session(_forward(gradient, own), "cpu", threads=1).run({"X": points})
    for output, value in own.items():
        if isinstance(value, list):  # maps from labels to scores
            value = np.array([list(scores.values()) for scores in value])
        if value.dtype.kind == "f":
            np.testing.assert_allclose(mine[output], value, rtol=1e-5, atol=1e-5)
        else:
            assert (mine[output] == value).all()
    verdict = judge(Case(name, _forward(gradient, floats), {"X": points}), seed=1)
    assert verdict.outcome == "right", verdict.detail


def _forward(gradient: onnx.ModelProto, outputs: Any) -> onnx.ModelProto:
    """The standard forward model inside a gradient model."""
    return onnx.utils.Extractor(gradient).extract_model(["X"], list(outputs))


def test_missing_numbers_are_filled_in_and_get_no_gradient() -> None:
    points = X[:3].copy()
    points[1, 2] = np.nan
    proto = _converted("imputer")
    values = Session(onnx_ig.differentiate(proto), "cpu").run(
        {"X": points, "cotangent_variable": np.ones((3, 1), np.float32)}
    )
    assert np.isfinite(values["variable"]).all()
    assert values["grad_X"][1, 2] == 0
    assert (values["grad_X"][0] != 0).all()


@pytest.mark.parametrize(
    ("model", "labels"), [(RandomForestClassifier(3), TWO), (GradientBoostingRegressor(n_estimators=3), REAL)]
)
def test_trees_are_refused_with_what_to_use_instead(model: Any, labels: np.ndarray) -> None:
    proto = skl2onnx.to_onnx(model.fit(X, labels), X[:1])
    with pytest.raises(NotDifferentiableError, match=r"TreeEnsemble\w+ .*piecewise constant.*TreeSHAP"):
        onnx_ig.differentiate(proto)


def test_probabilities_of_two_classes() -> None:
    """Platt's sigmoid; ONNX Runtime iterates towards it."""
    proto = _svm_with_probabilities(TWO)
    own = Session(proto, "cpu").run({"X": X[:8]})["output_probability"]
    (output,) = (str(y.name) for y in onnx_ig.load(proto).outputs if str(y.dtype) == "FLOAT")
    gradient = onnx_ig.differentiate(proto, outputs=[output])
    mine = Session(_forward(gradient, [output]), "cpu").run({"X": X[:8]})[output]
    np.testing.assert_allclose(mine, [list(scores.values()) for scores in own], atol=2e-3)
    assert judge(Case("platt", _forward(gradient, [output]), {"X": X[:4]})).outcome == "right"


def test_probabilities_of_three_classes_are_refused() -> None:
    with pytest.raises(NotDifferentiableError, match="raw_scores"):
        onnx_ig.differentiate(_svm_with_probabilities(THREE))


def _svm_with_probabilities(labels: np.ndarray) -> onnx.ModelProto:
    return skl2onnx.to_onnx(SVC(probability=True, random_state=0).fit(X, labels), X[:1])


def test_features_put_together() -> None:
    """FeatureVectorizer and ArrayFeatureExtractor, which pipelines with several inputs use."""
    text = """<ir_version: 8, opset_import: ["" : 18, "ai.onnx.ml" : 1]>
        f (float[N, 2] a, int64[N, 3] b) => (float[N, 2] y) <int64[2] i = {3, 0}> {
            v = ai.onnx.ml.FeatureVectorizer <inputdimensions = [2, 3]> (a, b)
            s = Sin (v)
            y = ai.onnx.ml.ArrayFeatureExtractor (s, i)
        }"""
    model = onnx.parser.parse_model(text)
    feeds = {"a": X[:4, :2], "b": np.arange(12).reshape(4, 3)}
    values = Session(onnx_ig.differentiate(model), "cpu").run({**feeds, "cotangent_y": np.ones((4, 2), np.float32)})
    np.testing.assert_allclose(
        values["y"], np.stack([np.sin(feeds["b"][:, 1]), np.sin(feeds["a"][:, 0])], 1), rtol=1e-5
    )
    expected = np.stack([np.cos(feeds["a"][:, 0]), np.zeros(4)], 1)
    np.testing.assert_allclose(values["grad_a"], expected, rtol=1e-5)
