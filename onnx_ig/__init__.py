"""Input×Gradient and Integrated Gradients for deployed ONNX models, in any ONNX runtime."""

from onnx_ig.autodiff import differentiate
from onnx_ig.errors import OnnxIgError, OnnxIgWarning
from onnx_ig.export import export
from onnx_ig.methods import InputXGradient, IntegratedGradients
from onnx_ig.model import Model, load
from onnx_ig.verify import verify

__version__ = "0.1.0"

__all__ = [
    "InputXGradient",
    "IntegratedGradients",
    "Model",
    "OnnxIgError",
    "OnnxIgWarning",
    "__version__",
    "differentiate",
    "export",
    "load",
    "verify",
]
