"""Reverse-mode differentiation of ONNX graphs in standard operators."""

from onnx_ig.autodiff.gradient import differentiate, gradient_model

__all__ = ["differentiate", "gradient_model"]
