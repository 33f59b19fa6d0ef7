"""GridSample in float64: onnx's reference evaluator rounds its coordinates to float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx.reference.ops.op_grid_sample import GridSample as _Reference


class GridSample(_Reference):
    """The reference evaluator's own with its coordinates kept in float64, and opset 16's names of the modes."""

    def _gs_denormalize_coordinates(self, n: Sequence[float], dims: Sequence[int], align_corners: bool) -> np.ndarray:
        pairs = zip(n, dims, strict=True)
        return np.array([self._gs_denormalize(n=v, length=d, align_corners=align_corners) for v, d in pairs])

    def _run(
        self, x: np.ndarray, grid: np.ndarray, mode: str = "linear", padding_mode: str = "zeros", align_corners: int = 0
    ) -> Any:
        mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
        self.align_corners = align_corners
        return super()._run(x, grid, mode=mode, padding_mode=padding_mode, align_corners=align_corners)


KERNELS: list[Any] = [GridSample]
