"""The rows of several tables, arrays and texts as one list of examples.

The one idea: a row that one file leaves out is left out of every file that goes by the same rows; what has one row, or
is declared with a size of its own, is shared by all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnx_ig.data import InputSpec, InputValue, Rows
from onnx_ig.data.table_file import rows_named
from onnx_ig.errors import InputError


def in_step(
    specs: Sequence[InputSpec],
    data: Mapping[str, InputValue],
    starts: Mapping[str, InputValue],
) -> tuple[dict[str, InputValue], dict[str, InputValue]]:
    """``data`` and ``starts``, baselines that were read from files, without the rows that any of them leaves out.

    Raises:
        InputError: a file that leaves rows out, and another of another number of rows, which may be other examples.
    """
    by_input = [*data.items(), *starts.items()]
    lacking = {name: value.rows for name, value in by_input if value.rows is not None and value.rows.left_out.any()}
    if not lacking:
        return dict(data), dict(starts)
    sized = {spec.name for spec in specs if spec.shape and isinstance(spec.shape[0], int)}
    first = next(iter(lacking.values()))
    taken = np.arange(first.count)
    for _, value in by_input:
        if value.rows is not None and value.rows.count == first.count:
            taken = taken[np.isin(taken, value.rows.taken)]

    def own(name: str, value: InputValue) -> InputValue:
        if name in sized and not lacking.keys() & sized:
            return value
        rows = value.rows
        if rows is not None and rows.count != first.count and (rows.count > 1 or rows.left_out.any()):
            raise InputError(
                f"{first.file}: rows without a value were left out ({rows_named(first.left_out, first.first)}) of "
                f"{first.count}, and {rows.file} has {rows.count}, so which are the same examples is not known; fill "
                "the values in, or put all inputs into one table"
            )
        count = rows.count if rows is not None else len(value.value) if value.value.ndim else 0
        return value.of_rows(taken) if count == first.count else value

    return {n: own(n, v) for n, v in data.items()}, {n: own(n, v) for n, v in starts.items()}


def rows_of(data: Mapping[str, InputValue], examples: int) -> Rows | None:
    """The rows that the ``examples`` are, of the table that has their targets if one has; None without such a file."""
    files = [value.rows for value in data.values() if value.rows is not None and len(value.rows.taken) == examples]
    return next((rows for rows in files if rows.target is not None), files[0] if files else None)
