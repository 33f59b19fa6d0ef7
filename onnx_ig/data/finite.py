"""Arrays in files without the rows that hold what is no number, where such rows are to be left out.

The one idea: arrays of one file that have as many rows lose the same ones, so that they stay those of one example.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.data.table import Rows
from onnx_ig.data.table_file import said_of_left_out
from onnx_ig.data.window import Window
from onnx_ig.errors import InputError
from onnx_ig.graph.declared import kind_of


def finite_rows(
    arrays: Sequence[Array], path: Path, window: Window | None
) -> tuple[list[Array], Rows | None, list[str]]:
    """The ``arrays`` of a file, or of its rows in the ``window``, without those in which one has NaN or infinity.

    Arrays with fewer rows than the largest are shared by all rows, and stay as they are.

    Returns:
        The arrays, which of the rows they hold (None where no array has rows), and what is to be said of it.

    Raises:
        InputError: no row of the file is left.
    """
    count = max((len(array) for array in arrays if array.ndim), default=0)
    if not count:
        return list(arrays), None, []
    bad = np.zeros(count, bool)
    for array in arrays:
        if array.ndim and len(array) == count and kind_of(array.dtype) == "f":
            bad |= ~np.isfinite(array).reshape(count, -1).all(axis=1)
    if window is None and bad.all():
        raise InputError(f"{path}: every row holds NaN or infinity")
    first = 0 if window is None else window.rows.start
    rows = Rows(path, count, np.flatnonzero(~bad), None, first, named=True)
    notes = [said_of_left_out(path, np.flatnonzero(bad).tolist(), count)] if window is None and bad.any() else []
    return [array[~bad] if array.ndim and len(array) == count else array for array in arrays], rows, notes
