"""Operators through which no gradient is given, each with its reason; the families' own files name the rest."""

from __future__ import annotations

from onnx_ig.autodiff.registry import refused

refused(
    "Adagrad",
    "Adam",
    "Gradient",
    "Momentum",
    domain="ai.onnx.preview.training",
    reason="it is a step of training, not of a trained model",
    advice="Export the model for inference",
)
