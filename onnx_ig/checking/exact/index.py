"""Operators that pick and place elements, in float64, where onnx's reference evaluator refuses a form."""

from __future__ import annotations

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_pad import Pad_18 as StandardPad


class GatherElements(OpRun):
    """y[p] = x[p with its coordinate along ``axis`` replaced by indices[p]]; onnx's wants x's size elsewhere."""

    def _run(self, x: np.ndarray, indices: np.ndarray, axis: int = 0) -> tuple[np.ndarray]:
        places: list[np.ndarray] = list(np.indices(indices.shape))
        places[axis] = indices
        return (np.asarray(x[tuple(places)]),)


class Pad(StandardPad):
    """onnx's evaluator after the elements that negative pads take away are cut off."""

    def _run(
        self,
        x: np.ndarray,
        pads: np.ndarray,
        value: np.ndarray | None = None,
        axes: np.ndarray | None = None,
        mode: str = "constant",
    ) -> tuple[np.ndarray]:
        over = range(x.ndim) if axes is None else [int(a) for a in axes]
        cut = [slice(None)] * x.ndim
        for i, a in enumerate(over):
            before, after = min(int(pads[i]), 0), min(int(pads[i + len(over)]), 0)
            cut[a] = slice(-before, x.shape[a] + after)
        if mode == "constant":
            x, pads = x[tuple(cut)], np.maximum(pads, 0)
        return super()._run(x, pads, value, axes, mode=mode)


class Mean(OpRun):
    """The mean of tensors that broadcast with one another; onnx's writes into a copy of the first."""

    def _run(self, *inputs: np.ndarray) -> tuple[np.ndarray]:
        return (np.asarray(sum(inputs[1:], inputs[0]) / np.asarray(len(inputs), inputs[0].dtype)),)


class Softsign(OpRun):
    """x / (1 + |x|), of a single number too."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (np.asarray(x / (1 + np.abs(x))),)


KERNELS: list[type[OpRun]] = [GatherElements, Pad, Mean, Softsign]
