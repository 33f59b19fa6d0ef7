"""Tables (pandas' and polars' DataFrames) as arrays by column name, and attributions in the form of a table again.

The one idea: a table is told by what it offers, so that no library of tables is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnx_ig.common.types import Array


def is_table(value: Any) -> bool:
    """Whether ``value`` has columns with names."""
    return all(hasattr(value, name) for name in ("columns", "to_numpy", "__getitem__"))


def columns_of(table: Any) -> dict[str, Array]:
    """Each column [N] by its name."""
    return {str(name): np.asarray(table[name]) for name in table.columns}


def like_table(attributions: Mapping[str, Array], table: Any) -> Any:
    """A table of the kind of ``table``, with its index and the floating types of its columns.

    ``attributions``: of some of its columns, by name ([N, 1] each), or of all of them together ([N, columns]).
    """
    columns = {str(name): name for name in table.columns}
    if set(attributions) <= set(columns):
        values = {columns[name]: value.reshape(-1) for name, value in attributions.items()}
    else:
        (whole,) = attributions.values()
        values = dict(zip(table.columns, whole.T, strict=True))
    for name, value in values.items():
        given = np.asarray(table[name]).dtype
        values[name] = value.astype(given) if given.kind == "f" else value
    return type(table)(values, **({"index": table.index} if hasattr(table, "index") else {}))
