"""What to write instead of what neither of torch's exporters can export.

The one idea: the model runs once more, and the operators that it calls tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from onnx_ig.pytorch.check import run_torch
from onnx_ig.pytorch.watching import Watching

_INSTEAD = {
    "_pack_padded_sequence": "packed sequences: run the layer on the padded ones, and gather its steps at lengths - 1 "
    "or mask what is behind them",
    "_fft_r2c": "Fourier transforms: multiply by the matrices of cosines and sines instead",
    "_fft_c2r": "Fourier transforms: multiply by the matrices of cosines and sines instead",
}


def advice_for(forward: Callable[..., Tensor], tensors: Sequence[Tensor]) -> str:
    """One line for each kind of operator known to stand in the way; empty if there is none."""
    with _Called() as called:
        try:
            run_torch(forward, tensors)
        except Exception:  # the user's own code; why it fails is told elsewhere
            return ""
    found = dict.fromkeys(_INSTEAD[name] for name in called.names if name in _INSTEAD)
    return "".join(f"\nIt has {line}" for line in found)


class _Called(Watching):
    """Notes the names of the operators called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, None] = {}

    def operator(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.names[function.overloadpacket.__name__] = None
        return function(*args, **kwargs)
