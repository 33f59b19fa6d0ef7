"""The deployable artefact: an ONNX model that computes attributions."""

from onnx_ig.attribution.build import build
from onnx_ig.attribution.chosen_tensors import default_inputs
from onnx_ig.attribution.contract import Contract
from onnx_ig.attribution.plan import Plan, make_plan

__all__ = ["Contract", "Plan", "build", "default_inputs", "make_plan"]
