"""Bring a model's own functions to its opset, where they are written for another one, before the model is taken in."""

from __future__ import annotations

import onnx
import onnx.inliner

from onnx_ig.errors import ModelError

_DEFAULT = ("", "ai.onnx")


def at_one_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with its functions inlined if one is of another opset; else itself, untouched.

    Raises:
        ModelError: onnx's converter cannot bring a function to the model's opset.
    """
    opset = _opset(model.opset_import)
    other = [f for f in model.functions if _opset(f.opset_import) not in (opset, None)]
    if opset is None or not other:
        return model
    try:
        return onnx.inliner.inline_local_functions(model, convert_version=True)
    except RuntimeError as error:
        raise ModelError(
            f"function {other[0].domain}::{other[0].name} is of opset {_opset(other[0].opset_import)} in a model of "
            f"opset {opset}, and cannot be converted ({str(error).strip().splitlines()[-1]}): bring both to one opset"
        ) from error


def _opset(imports: object) -> int | None:
    return next((entry.version for entry in imports if entry.domain in _DEFAULT), None)  # type: ignore[attr-defined]
