"""A plugin of pytest that puts our classes in the place of Captum's, for `python -m tools.captum_tests`.

It imports nothing of our tests: where it is loaded, the package "tests" is Captum's.
"""

from __future__ import annotations

import sys

import captum.attr

import onnx_ig

HOMES = {"IntegratedGradients": "integrated_gradients", "InputXGradient": "input_x_gradient"}  # modules of Captum


def pytest_configure() -> None:
    """Put our classes where the tests import Captum's from; in each of pytest's processes."""
    for name, home in HOMES.items():
        ours = getattr(onnx_ig, name)
        setattr(captum.attr, name, ours)
        setattr(sys.modules[f"captum.attr._core.{home}"], name, ours)
