"""Resize in float64: the matrix that ONNX Runtime's float32 kernel applies, applied in float64.

The one idea: resizing is affine in its first input, so its values on unit vectors say everything; ONNX Runtime has the
operator in float32 only, and onnx's reference evaluator lacks several of its forms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx.reference.ops.op_resize import Resize as Standard

from onnx_ig.runtime.session import Session


class Resize(Standard):
    """y = y(0) + M x with the columns of M from unit vectors.

    Onnx's own where a region is interpolated: its bounds have derivatives, of which float32 would leave nothing.
    """

    def _run(self, x: np.ndarray, *others: np.ndarray | None, **attributes: Any) -> tuple[np.ndarray]:
        if others and others[0] is not None and others[0].dtype == np.float64 and attributes["mode"] != "nearest":
            return (super()._run(x, *others, **attributes)[0],)
        node = self.onnx_node
        constants = [
            onnx.numpy_helper.from_array(v.astype(np.float32) if v.dtype == np.float64 else v, name)
            for name, v in zip(list(node.input)[1:], others, strict=False)
            if v is not None and name
        ]
        graph = onnx.helper.make_graph(
            [node],
            "resize",
            [onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, x.shape)],
            [onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)],
            constants,
        )
        opsets = [onnx.helper.make_opsetid("", self.run_params["opsets"][""])]
        session = Session(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), "cpu", threads=1)

        def float32(values: np.ndarray) -> np.ndarray:
            y = session.run({node.input[0]: values.reshape(x.shape).astype(np.float32)})[node.output[0]]
            return np.asarray(y, np.float64)

        offset = float32(np.zeros(x.size))
        columns = np.stack([(float32(unit) - offset).ravel() for unit in np.eye(x.size)], axis=1)
        return ((offset.ravel() + columns @ x.ravel()).reshape(offset.shape).astype(x.dtype),)


class Upsample(Resize):
    """The same operator as older opsets call it."""


KERNELS: list[Any] = [Resize, Upsample]
