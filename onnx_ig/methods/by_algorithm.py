"""The method that computes an algorithm, by the algorithm's name in files and on the command line."""

from __future__ import annotations

from collections.abc import Mapping

from onnx_ig.common.types import Algorithm
from onnx_ig.methods.gradients import GradCam, HiResCam, InputXGradient
from onnx_ig.methods.integrated_gradients import IntegratedGradients

_METHODS: Mapping[Algorithm, type[IntegratedGradients | InputXGradient]] = {
    "integrated-gradients": IntegratedGradients,
    "input-x-gradient": InputXGradient,
    "grad-cam": GradCam,
    "hirescam": HiResCam,
}


def method_for(algorithm: Algorithm) -> type[IntegratedGradients | InputXGradient]:
    """The class of the method."""
    return _METHODS[algorithm]
