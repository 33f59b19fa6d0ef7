"""The rows of several tables, arrays and texts as one list of examples.

The one idea: a row that one file leaves out is left out of every file that goes by the same rows; what has one row, or
is declared with a size of its own, is shared by all, and baselines of other rows than their input are a background,
which every example is averaged over.
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
        InputError: a file that leaves rows out, and another of another number of rows, which may be other examples; a
            background that has as many rows as examples are left, which would be taken for a baseline of each.
    """
    background = {name: value for name, value in starts.items() if _rows_in(value) != _rows_in(data[name])}
    by_input = [*data.items(), *((name, value) for name, value in starts.items() if name not in background)]
    lacking = {name: value.rows for name, value in by_input if value.rows is not None and value.rows.left_out.any()}
    if not lacking:
        _require_told_apart(background, data)
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
        return value.of_rows(taken) if _rows_in(value) == first.count else value

    left = {name: own(name, value) for name, value in data.items()}
    _require_told_apart(background, left)
    return left, {name: value if name in background else own(name, value) for name, value in starts.items()}


def _rows_in(value: InputValue) -> int:
    """The rows of its file, with those left out."""
    return value.rows.count if value.rows is not None else len(value.value) if value.value.ndim else 0


def _require_told_apart(background: Mapping[str, InputValue], data: Mapping[str, InputValue]) -> None:
    for name, value in background.items():
        rows = len(value.value) if value.value.ndim == data[name].value.ndim > 0 else 0
        if rows > 1 and rows == len(data[name].value):
            raise InputError(
                f"the baselines of {name!r} have {_rows_in(value)} rows and its data {_rows_in(data[name])}, and "
                f"without the rows that are left out {rows} each: whether they are baselines of each example or "
                "averaged over is not known; give baselines of another number of rows, or fill the values in"
            )


def rows_of(data: Mapping[str, InputValue], examples: int) -> Rows | None:
    """The rows that the ``examples`` are, of the table that has their targets if one has; None without such a file."""
    files = [value.rows for value in data.values() if value.rows is not None and len(value.rows.taken) == examples]
    return next((rows for rows in files if rows.target is not None), files[0] if files else None)
