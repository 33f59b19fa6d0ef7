"""Types that modules of every package share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union

import numpy as np

if TYPE_CHECKING:
    import torch

Array: TypeAlias = np.ndarray[Any, Any]
Numbers: TypeAlias = Union[Array, "torch.Tensor"]  # of the kind of the inputs
Progress: TypeAlias = Callable[[int, int], None]  # called with what is done, and all that there is

Algorithm: TypeAlias = Literal["integrated-gradients", "input-x-gradient", "grad-cam", "hirescam"]
SumOver: TypeAlias = Literal["channels", "embedding"]
Form: TypeAlias = Literal["complete", "step"]
Rule: TypeAlias = Literal["gausslegendre", "riemann_left", "riemann_middle", "riemann_right", "riemann_trapezoid"]
Provider: TypeAlias = Literal["auto", "cpu", "cuda", "cuda-tf32", "tensorrt", "openvino", "openvino-bf16"]
