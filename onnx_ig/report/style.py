"""How attributions of pictures are shown, where a reader may choose: smoothing, signs, where the scale ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from onnx_ig.common.smoothing import smoothed
from onnx_ig.common.types import Array
from onnx_ig.errors import UsageError

Sign: TypeAlias = Literal["both", "positive", "negative", "absolute"]
_SHARP = 64  # up to this many pixels a side every pixel can be told from the next
_PART = 100  # beyond, the deviation is this part of the longer side


@dataclass(frozen=True)
class Style:
    """What drawings show of the attributions; the numbers in files are not changed.

    Attributes:
        smooth: the standard deviation of a Gaussian filter, in the model's pixels; 0 for none, None for a hundredth of
            the longer side beyond 64 pixels.
        sign: ``both``, ``positive`` or ``negative`` alone, or ``absolute``: the magnitude.
        clip: the percentile of |attribution| at which the scale of colours ends.

    Raises:
        UsageError: a negative ``smooth``, an unknown ``sign``, a ``clip`` that is not in (0, 100].
    """

    smooth: float | None = None
    sign: Sign = "both"
    clip: float = 99.0

    def __post_init__(self) -> None:
        if self.smooth is not None and not self.smooth >= 0:
            raise UsageError(f"smooth {self.smooth} is not a number of pixels from 0")
        if self.sign not in get_args(Sign):
            raise UsageError(f"sign {self.sign!r} is none of {', '.join(get_args(Sign))}")
        if not 0 < self.clip <= 100:
            raise UsageError(f"clip {self.clip} is no percentile above 0 up to 100")

    def deviation(self, height: int, width: int) -> float:
        """σ for a picture of that size; 0 where it stays sharp."""
        side = max(height, width)
        return (side / _PART if side > _SHARP else 0.0) if self.smooth is None else self.smooth

    def shown(self, attribution: Array) -> Array:
        """The map [H, W] that is drawn."""
        low = -np.inf if self.sign in ("both", "negative") else 0.0
        high = np.inf if self.sign in ("both", "positive") else 0.0
        chosen = np.abs(attribution) if self.sign == "absolute" else np.clip(attribution, low, high)
        deviation = self.deviation(*attribution.shape)
        return smoothed(chosen, (0, 1), deviation) if deviation else np.asarray(chosen)

    def legend(self, height: int, width: int) -> str:
        """The sentence below a drawing."""
        meaning = {
            "both": "red raises the target's score, blue lowers it",
            "positive": "red raises the target's score; what lowers it is not shown",
            "negative": "blue lowers the target's score; what raises it is not shown",
            "absolute": "the redder, the more it moves the target's score, up or down",
        }[self.sign]
        end = "maximum" if self.clip == 100 else f"{self.clip:g}th percentile"
        deviation = self.deviation(height, width)
        smoothing = f"; smoothed over {deviation:.2g} pixels" if deviation else ""
        return f"{meaning}; the scale ends at the {end}{smoothing}"
