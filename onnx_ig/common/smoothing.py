"""A Gaussian filter along axes of an array."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from onnx_ig.common.types import Array


def smoothed(values: Array, axes: Iterable[int], deviation: float) -> Array:
    """``values`` in float64, each the mean of its neighbours along ``axes``, weighted by exp(−d² / 2σ²).

    ``deviation``: σ, in steps along an axis. Beyond the edges nothing is counted: a constant stays what it is.
    """
    values = values.astype(np.float64)
    for axis in axes:
        places = np.arange(values.shape[axis])
        weights = np.exp(-((places[:, None] - places) ** 2) / (2 * deviation**2))
        weights /= weights.sum(axis=1, keepdims=True)
        values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis)), 0, axis)
    return values
