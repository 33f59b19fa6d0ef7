"""What was found in the forms of other libraries: pandas' table and shap's object, for their plots and statistics.

The one idea: nothing is summed or dropped on the way; what the other library has no place for is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.errors import InputError, MissingDependencyError
from onnx_ig.report.columns import columns_of
from onnx_ig.report.record import AttributionReport

if TYPE_CHECKING:
    import pandas
    import shap

_COLUMNS = ("example", "tensor", "feature", "index", "value", "attribution")


def to_pandas(report: AttributionReport) -> pandas.DataFrame:
    """A row for each attribution: ``example``, ``tensor``, ``feature``, ``index``, ``value``, ``attribution``.

    ``index`` is the place in the tensor without the axis of examples, as a tuple; ``feature`` the name of axis 1 there,
    or the tensor's name and the index. ``value`` is the input's, NaN where a tensor inside the graph is attributed.

    Raises:
        MissingDependencyError: without pandas.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingDependencyError("a data frame needs pandas: pip install pandas") from error
    parts = [
        pandas.DataFrame(
            dict(zip(("example", "tensor", "feature", "index", "value", "attribution"), part, strict=True))
        )
        for part in _entries(report)
    ]
    return pandas.concat(parts, ignore_index=True)


def _entries(report: AttributionReport) -> Iterator[tuple[Any, ...]]:
    """The six columns of each tensor."""
    for tensor, array in report.attributions.items():
        rows = report.rows(array)
        places = list(np.ndindex(rows.shape[1:]))
        given = report.values_of(tensor)
        values = np.full(rows.size, np.nan) if given is None else report.rows(given).reshape(-1)
        features = [_feature(report, tensor, example, place) for example in range(len(rows)) for place in places]
        examples = np.repeat(np.arange(len(rows)), len(places))
        yield examples, [tensor] * rows.size, features, places * len(rows), values, rows.reshape(-1)


def _feature(report: AttributionReport, tensor: str, example: int, place: tuple[int, ...]) -> str:
    names = report.names_of(tensor, example)
    if names is None or not place:
        return f"{tensor}{list(place)}" if place else tensor
    return names[place[0]] + (str(list(place[1:])) if len(place) > 1 else "")


def to_shap(report: AttributionReport) -> shap.Explanation:
    """``shap.Explanation``: values and data [N, F] of tables, else [N, ...] of the only tensor; base values F(x').

    shap's plots read base value + Σ values = F(x): with a baseline that is the completeness of the path, so that the
    convergence delta is what they leave out. Without one (input × gradient) there is no base value.

    Raises:
        InputError: several tensors that are no table together; MissingDependencyError: without shap.
    """
    try:
        import shap
    except ImportError as error:
        raise MissingDependencyError("shap's form needs shap: pip install shap") from error
    tables = columns_of(report)
    names: list[str] | None = None
    data: Array | None
    if len(tables) == 1 and (tables[0].name is None or len(report.attributions) == 1):
        (table,) = tables
        values, names = table.attributions, list(table.names)
        known = [column for column in table.values if column is not None]
        data = np.stack(known, 1) if len(known) == len(names) else None
    elif len(report.attributions) == 1:
        ((tensor, array),) = report.attributions.items()
        values = report.rows(array)
        fed = report.values_of(tensor)
        data = None if fed is None else report.rows(fed)
    else:
        raise InputError(
            f"shap's form holds one table or one tensor, and {', '.join(report.attributions)} were attributed: take "
            "them one by one from to_pandas() or .attributions"
        )
    return shap.Explanation(values, base_values=report.baseline_score, data=data, feature_names=names)
