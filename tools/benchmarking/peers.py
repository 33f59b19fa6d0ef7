"""The peers: Captum on a torch module, and on the module that onnx2torch makes of an ONNX file."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import nn

from tests.helpers.packages import from_pypi
from tools.benchmarking.subjects import Tensors

ONNX2TORCH = "onnx2torch==1.5.15"
_OPSET = 14  # the newest that it takes whole: of opset 18's ReduceMean, say, it knows nothing


def captum_of(module: nn.Module) -> Any:
    """Captum's Integrated Gradients of a module."""
    import captum.attr

    return captum.attr.IntegratedGradients(module)


def converted(module: nn.Module | None, file: Path, tensors: Tensors) -> nn.Module:
    """The torch module that onnx2torch makes of ``file``, or, where there is ``module``, of its export at opset 14.

    Raises:
        subprocess.CalledProcessError: onnx2torch cannot be fetched from PyPI.
        Exception: of any kind, from the exporter or from onnx2torch, which refuses the model.
    """
    if module is not None:
        file = file.with_name("opset14.onnx")
        names = [f"input_{i}" for i in range(len(tensors))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the older exporter is deprecated
            torch.onnx.export(
                module,
                tensors,
                file,
                dynamo=False,
                opset_version=_OPSET,
                input_names=names,
                dynamic_axes={name: {0: "batch"} for name in names},
            )
    module = _onnx2torch().convert(file)
    assert isinstance(module, nn.Module)
    return module.eval()


def _onnx2torch() -> ModuleType:
    """The library, with a stand-in for torchvision where that is not installed.

    It imports torchvision for NonMaxSuppression and RoiAlign alone, which no model here has; torchvision's wheels on
    PyPI are built against CUDA's torch and do not import beside the CPU's.
    """
    path = str(from_pypi(ONNX2TORCH))
    if path not in sys.path:
        sys.path.append(path)
    stand_in: dict[str, Any] = {}
    if importlib.util.find_spec("torchvision") is None:
        stand_in = {"torchvision": SimpleNamespace(), "torchvision.ops": SimpleNamespace(roi_align=None)}
    sys.modules.update(stand_in)
    try:
        return importlib.import_module("onnx2torch")
    finally:
        for name in stand_in:  # or transformers would take it for the real one
            del sys.modules[name]
