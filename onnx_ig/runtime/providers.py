"""Open a model where the caller asks: in ONNX Runtime, or in OpenVINO."""

from __future__ import annotations

from typing import TypeAlias

from onnx_ig.runtime.fastest import FastestSession
from onnx_ig.runtime.fixed_shapes import FixedShapesSession
from onnx_ig.runtime.openvino_session import PRECISIONS, OpenVinoSession
from onnx_ig.runtime.serialised import ModelLike
from onnx_ig.runtime.session import ProviderSpec, Session

AnySession: TypeAlias = Session | OpenVinoSession


def open_session(model: ModelLike, provider: ProviderSpec = "auto") -> AnySession:
    """``model`` opened by ``provider``: one of :class:`Session`'s, ``openvino`` or ``openvino-bf16``.

    ``auto``: in CUDA if it opens, else in the faster of ONNX Runtime and OpenVINO (:mod:`onnx_ig.runtime.fastest`).
    """
    if provider == "auto":
        return FastestSession(model)
    if isinstance(provider, str) and provider in PRECISIONS:
        return OpenVinoSession(model, provider)
    return FixedShapesSession(model, provider)
