"""The rows of several tables and arrays as one list of examples.

The one idea: where rows without a value were left out of a table, whatever goes by its rows must lack the same ones;
what has one row, or is declared with a size of its own, is shared by all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnx_ig.data import InputSpec, InputValue, Rows
from onnx_ig.data.table_file import rows_named
from onnx_ig.errors import InputError


def rows_of(
    specs: Sequence[InputSpec],
    attributed: Mapping[str, InputValue],
    others: Mapping[str, InputValue],
    starts: Mapping[str, InputValue],
) -> Rows | None:
    """The rows that the examples are, of the table that has their targets if one has; None without a table.

    Args:
        starts: baselines that were read from files.

    Raises:
        InputError: other rows were left out of one file than of another that goes by the same rows.
    """
    sized = {spec.name for spec in specs if spec.shape and isinstance(spec.shape[0], int)}
    data = {**attributed, **others}
    for name, value in data.items():
        if value.rows is None or not value.rows.left_out.any():
            continue
        for other, beside in data.items():
            if (name in sized or other not in sized) and _has_other_rows(beside, value.rows):
                raise _out_of_step(value.rows, f"input {other!r}")
        if name in starts and _has_other_rows(starts[name], value.rows):
            raise _out_of_step(value.rows, f"the baseline of {name!r}")
    for name, start in starts.items():
        if start.rows is not None and start.rows.left_out.any() and not _same(data[name].rows, start.rows):
            raise _out_of_step(start.rows, f"input {name!r}")
    examples = next((len(value.value) for value in attributed.values() if value.value.ndim), 0)
    tables = [value.rows for value in data.values() if value.rows is not None and len(value.rows.taken) == examples]
    return next((rows for rows in tables if rows.target is not None), tables[0] if tables else None)


def _has_other_rows(value: InputValue, rows: Rows) -> bool:
    """Whether some of these belong to rows that were left out."""
    if value.rows is not None:
        return value.rows.count > 1 and not _same(value.rows, rows)
    return value.value.ndim > 0 and len(value.value) == rows.count > 1


def _same(some: Rows | None, others: Rows) -> bool:
    return some is not None and some.count == others.count and np.array_equal(some.taken, others.taken)


def _out_of_step(rows: Rows, what: str) -> InputError:
    return InputError(
        f"{rows.file}: rows without a value were left out ({rows_named(rows.left_out)}), and {what} does not lack the "
        "same ones; fill the values in, or put all inputs into one table"
    )
