"""Two models that compute the same numbers."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.testing import assert_allclose


def agree(
    model: onnx.ModelProto, changed: ir.Model, feeds: dict[str, np.ndarray], rtol: float = 0, atol: float = 0
) -> None:
    """On a CPU ``changed`` gives for ``feeds`` what ``model`` gives."""
    expected, found = (
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
        for m in (model, ir.to_proto(changed))
    )
    for a, b in zip(expected, found, strict=True):
        assert_allclose(b, a, rtol, atol)
