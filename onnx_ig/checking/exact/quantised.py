"""DequantizeLinear at opsets before 19, where onnx's reference evaluator has none."""

from __future__ import annotations

from typing import Any

from onnx.reference.ops.op_dequantize_linear import DequantizeLinear_25


class DequantizeLinear(DequantizeLinear_25):
    """The newest form, which knows all the older ones."""

    def _run(self, *args: Any, axis: int = 1, block_size: int = 0, output_dtype: int | None = None) -> Any:
        return super()._run(*args, axis=axis, block_size=block_size, output_dtype=output_dtype)


KERNELS = [DequantizeLinear]
