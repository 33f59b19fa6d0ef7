"""Input×Gradient and Integrated Gradients for deployed ONNX models, in any ONNX runtime."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx_ig.checking.verification import verify
    from onnx_ig.data import Data, PictureOptions, SoundOptions, TableOptions, TextOptions
    from onnx_ig.data import read as read
    from onnx_ig.deployed.attribution_model import AttributionModel
    from onnx_ig.deployed.attribution_model import open as open
    from onnx_ig.differentiation import differentiate
    from onnx_ig.engine.averaged import Noise
    from onnx_ig.errors import OnnxIgError, OnnxIgWarning
    from onnx_ig.exporting.export import export
    from onnx_ig.loading.model import Model, load
    from onnx_ig.methods.explanation import Explanation
    from onnx_ig.methods.grad_cam import LayerGradCam
    from onnx_ig.methods.gradients import InputXGradient, Saliency
    from onnx_ig.methods.integrated_gradients import IntegratedGradients
    from onnx_ig.methods.layers import LayerGradientXActivation, LayerIntegratedGradients

__version__ = "0.1.0"

__all__ = [
    "AttributionModel",
    "Data",
    "Explanation",
    "InputXGradient",
    "IntegratedGradients",
    "LayerGradCam",
    "LayerGradientXActivation",
    "LayerIntegratedGradients",
    "Model",
    "Noise",
    "OnnxIgError",
    "OnnxIgWarning",
    "PictureOptions",
    "Saliency",
    "SoundOptions",
    "TableOptions",
    "TextOptions",
    "__version__",
    "differentiate",
    "export",
    "load",
    "read",
    "verify",
]

# Where each public name lives; imported on first use, because the graph libraries take a second to import.
_HOME = {
    "InputXGradient": "methods.gradients",
    "IntegratedGradients": "methods.integrated_gradients",
    "LayerGradCam": "methods.grad_cam",
    "LayerGradientXActivation": "methods.layers",
    "LayerIntegratedGradients": "methods.layers",
    "AttributionModel": "deployed.attribution_model",
    "Data": "data",
    "Explanation": "methods.explanation",
    "Model": "loading.model",
    "Noise": "engine.averaged",
    "OnnxIgError": "errors",
    "OnnxIgWarning": "errors",
    "PictureOptions": "data",
    "Saliency": "methods.gradients",
    "SoundOptions": "data",
    "TableOptions": "data",
    "TextOptions": "data",
    "differentiate": "differentiation",
    "export": "exporting.export",
    "load": "loading.model",
    "read": "data",
    "open": "deployed.attribution_model",
    "verify": "checking.verification",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "open"])  # which an import of * would put over the builtin
