"""SmoothGrad, VarGrad and averaged baselines at layers of ONNX models, against Captum's answers averaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import captum.attr
import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

import onnx_ig
from onnx_ig.common.types import Array
from onnx_ig.engine.averaged import NoiseKind
from onnx_ig.errors import InputError, UsageError
from tests.helpers.convolutions import TARGET, X, pictures

CLOSE = 2e-5  # of the largest value, and of the square that a variance is the difference of

# our method and Captum's, at the same layer
METHODS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "grad-cam": (lambda m: onnx_ig.LayerGradCam(m, "act"), lambda n: captum.attr.LayerGradCam(n, n.act)),
    "product": (
        lambda m: onnx_ig.LayerGradientXActivation(m, "act"),
        lambda n: captum.attr.LayerGradientXActivation(n, n.act),
    ),
    "integral": (
        lambda m: onnx_ig.LayerIntegratedGradients(m, "act"),
        lambda n: captum.attr.LayerIntegratedGradients(n, n.act),
    ),
}


@pytest.mark.parametrize("kind", ["smoothgrad", "smoothgrad_sq", "vargrad"])
@pytest.mark.parametrize("method", METHODS)
def test_noise_at_the_inputs_moves_the_layer(method: str, kind: NoiseKind) -> None:
    module, model = pictures()
    ours, theirs = METHODS[method][0](model), METHODS[method][1](module)
    noise, x = onnx_ig.Noise(3, 0.1, kind, seed=1), X.numpy()
    each = [theirs.attribute(torch.from_numpy(one["x"]), target=TARGET).double() for one in noise.drawn({"x": x})]
    mean, square = torch.stack(each).mean(0), torch.stack(each).square().mean(0)
    expected = {"smoothgrad": mean, "smoothgrad_sq": square, "vargrad": square - mean**2}[kind].detach().numpy()
    found = ours.attribute(x, target=TARGET, noise=noise)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < CLOSE * float((mean.abs() if kind == "smoothgrad" else square).max())
    assert np.allclose(ours.explain(x, target=TARGET, noise=noise).attributions, found, rtol=1e-3, atol=1e-7)


def test_baselines_are_averaged_over() -> None:
    module, model = pictures()
    method, theirs = METHODS["integral"]
    each = [theirs(module).attribute(X, X[k : k + 1].expand_as(X), target=TARGET) for k in range(2)]
    expected: Tensor = torch.stack(each).mean(0).detach()
    given: Any = {"target": TARGET, "average_baselines": True}
    found, delta = method(model).attribute(X.numpy(), X[:2].numpy(), **given, return_convergence_delta=True)
    assert np.abs(found - expected.numpy()).max() < CLOSE * float(expected.abs().max())
    start = module(X[:2])[:, TARGET].mean(0)
    change = (module(X)[range(3), TARGET] - start).detach().numpy()
    assert np.allclose(found.reshape(3, -1).sum(1) - change, delta, atol=1e-5)
    explained = method(model).explain(X.numpy(), X[:2].numpy(), **given)
    assert np.allclose(explained.attributions, found, atol=1e-6)
    assert np.allclose(explained.baseline_scores, start.detach(), atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"noise": onnx_ig.Noise(2)}, "NoiseTunnel"),
        ({"average_baselines": True, "baselines": X[:2]}, "mean of one call"),
    ],
)
def test_modules_refuse_them_and_say_what_to_do(asked: dict[str, Any], words: str) -> None:
    module, _ = pictures()
    with pytest.raises(UsageError, match=f"computed by torch.*{words}"):
        onnx_ig.LayerIntegratedGradients(module, module.act).attribute(X, target=TARGET, **asked)


def test_ids_have_no_noise_and_average_over_baselines() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18]>
        tokens (int64[n, 3] ids) => (float[n] y) {
            embedded = Gather(table, ids)
            square = Mul(embedded, embedded)
            axes = Constant<value_ints = [1, 2]>()
            y = ReduceSum<keepdims = 0>(square, axes)
        }"""
    )
    table = np.random.default_rng(4).normal(size=(5, 2)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(table, "table"))
    method = onnx_ig.LayerIntegratedGradients(model, "embedded")
    ids, starts = np.array([[1, 4, 2]]), np.array([[0, 0, 0], [3, 3, 3]])
    with pytest.raises(InputError, match=r"no id or text is near another.*average_baselines"):
        method.attribute(ids, noise=onnx_ig.Noise(2))
    found = method.attribute(ids, starts, average_baselines=True)
    # of Σ v² each element gets v² − v'²: (v − v') (v + v')
    expected: Array = np.mean([table[ids] ** 2 - table[start] ** 2 for start in starts], axis=0)
    assert np.allclose(found, expected, atol=1e-5)
