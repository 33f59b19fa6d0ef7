"""A data frame with what pandas' and polars' have in common."""

from __future__ import annotations

from typing import Any

import numpy as np


class Frame:
    """As much of a data frame as is asked for: columns with names, and an index."""

    def __init__(self, values: dict[str, Any], index: Any = None) -> None:
        self._values, self.index, self.columns = values, index, list(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def to_numpy(self) -> np.ndarray:
        return np.stack([np.asarray(value, object) for value in self._values.values()], 1)
