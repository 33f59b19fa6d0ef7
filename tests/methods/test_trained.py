"""Integrated Gradients of the trained models agree with Captum: to 1e-4 of the largest attribution, delta likewise."""

import json
from pathlib import Path

import captum.attr
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_breast_cancer, load_digits

import onnx_ig
from models.digits_cnn.model import digits_cnn
from models.tabular_mlp.model import tabular_mlp

MODELS = Path(__file__).parents[2] / "models"
METHODS = ("gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid")


def digits() -> tuple[torch.nn.Module, torch.Tensor]:
    images = load_digits().images[:20, None] / 16
    return digits_cnn(), torch.from_numpy(images.astype(np.float32))


def tabular() -> tuple[torch.nn.Module, torch.Tensor]:
    return tabular_mlp(), torch.from_numpy(load_breast_cancer().data[:20].astype(np.float32))


@pytest.mark.parametrize("source", ["module", "onnx"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("name", "make"), [("digits_cnn", digits), ("tabular_mlp", tabular)])
def test_fifty_steps_agree_with_captum(name: str, make: object, method: str, source: str) -> None:
    module, x = make()  # type: ignore[operator]
    module.load_state_dict(load_file(MODELS / name / f"{name}.safetensors"))
    module.eval()
    target = module(x).argmax(1)
    baseline = x.mean(0, keepdim=True)
    keywords = {"n_steps": 50, "method": method, "return_convergence_delta": True}
    expected, expected_delta = captum.attr.IntegratedGradients(module).attribute(x, baseline, target, **keywords)
    forward = module if source == "module" else MODELS / name / f"{name}.onnx"
    got, delta = onnx_ig.IntegratedGradients(forward, provider="cpu").attribute(x, baseline, target, **keywords)
    assert float((got - expected).abs().max()) < 1e-4 * float(expected.abs().max())
    with torch.no_grad():
        change = (module(x) - module(baseline))[range(len(x)), target].abs()
    assert bool(((delta - expected_delta).abs() < 1e-4 * change.clamp(min=1)).all())


def test_the_names_of_the_tabular_model_fit_it() -> None:
    names = json.loads((MODELS / "tabular_mlp" / "names.json").read_text())
    assert len(names["features"]) == onnx_ig.load(MODELS / "tabular_mlp" / "tabular_mlp.onnx").inputs[0].shape[1]
