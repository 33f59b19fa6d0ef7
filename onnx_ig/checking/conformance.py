"""Hold a runtime against the expected outputs that lie beside a model, in the layout of ONNX's backend tests.

The one idea: ``test_data_set_<k>/input_<i>.pb`` and ``output_<i>.pb`` say what the numbers should be, whoever computes
them; so a runtime that computes wrong, which none reports itself, is found by running it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import Contract
from onnx_ig.checking.runtimes import runtime_named
from onnx_ig.common.destination import writing
from onnx_ig.common.types import Array
from onnx_ig.errors import InputError, UsageError, VerificationError

TOLERANCE = 1e-4
FOLDER = "test_data_set_"
NOTE = "note.txt"
_MODEL_LINE = "model: "


@dataclass(frozen=True)
class DataSet:
    """One folder: arrays by name, in the order in which the model declares its inputs and outputs."""

    folder: str
    inputs: dict[str, Array]
    outputs: dict[str, Array]


@dataclass(frozen=True)
class Row:
    """The largest difference of one output in one data set, relative to the output's scale; inf where it cannot be
    right: another shape or type, a NaN too many or too few, an integer that differs."""

    data_set: str
    output: str
    max_relative_error: float
    passed: bool


@dataclass(frozen=True)
class ConformanceReport:
    """Every output of every data set; ``runtime`` with its version."""

    runtime: str
    tolerance: float
    rows: list[Row]

    @property
    def passed(self) -> bool:
        """Whether every output is within the tolerance."""
        return all(row.passed for row in self.rows)

    @property
    def worst(self) -> float:
        """The largest error of all."""
        return max(row.max_relative_error for row in self.rows)

    def require(self) -> None:
        """Raise VerificationError unless everything passed."""
        for row in self.rows:
            if not row.passed:
                raise VerificationError(
                    f"{self.runtime} computes {row.output!r} of {row.data_set} with a relative error of "
                    f"{row.max_relative_error:.2e}, tolerance {self.tolerance:.0e}: do not deploy this model in it"
                )


def conform(model: Path, runtime: str = "onnxruntime", tolerance: float = TOLERANCE) -> ConformanceReport:
    """Run the data sets beside ``model`` in ``runtime``.

    Raises:
        UsageError: no data sets beside the model, or another model's.
        MissingDependencyError: the runtime is not installed.
        ModelError: the runtime refuses the model or ends with an error.
    """
    chosen = runtime_named(runtime)
    data_sets = read_data_sets(model)
    version = chosen.version()
    opened = chosen.open(model)
    rows = []
    for data_set in data_sets:
        got = opened.run(data_set.inputs)
        scales = _scales(model, data_set.outputs)
        for name, want in data_set.outputs.items():
            error = _error(got.get(name), want, scales[name])
            rows.append(Row(data_set.folder, name, error, error <= tolerance))
    return ConformanceReport(f"{chosen.title} {version}", tolerance, rows)


def read_data_sets(model: Path) -> list[DataSet]:
    """The data sets beside ``model``, in order; see :func:`conform` for errors."""
    if not model.is_file():
        raise UsageError(f"no such file: {model}")
    folders = sorted(model.parent.glob(f"{FOLDER}*"), key=lambda f: [int(n) for n in re.findall(r"\d+", f.name)])
    if not folders:
        raise UsageError(f"no {FOLDER}0 beside {model}: write it with `onnx-ig export ... --with-test-data`")
    graph = onnx.load(model, load_external_data=False).graph
    initialised = {x.name for x in graph.initializer}
    inputs = [x.name for x in graph.input if x.name not in initialised]
    data_sets = []
    for folder in folders:
        owner = model_of(folder)
        if owner not in (None, model.name):
            raise UsageError(f"{folder} belongs to {owner}, not to {model.name}: give each model a folder of its own")
        data_sets.append(
            DataSet(
                folder.name, _read(folder, "input", inputs), _read(folder, "output", [y.name for y in graph.output])
            )
        )
    return data_sets


def write_data_set(folder: Path, model: str, data_set: DataSet, note: str) -> None:
    """Write one data set into ``folder``; ``note`` says where the expected numbers come from.

    Raises:
        UsageError: no room.
    """
    target = folder / data_set.folder
    with writing(target):
        target.mkdir()
        for kind, arrays in (("input", data_set.inputs), ("output", data_set.outputs)):
            for index, (name, array) in enumerate(arrays.items()):
                tensor = numpy_helper.from_array(np.asarray(array), name)
                (target / f"{kind}_{index}.pb").write_bytes(tensor.SerializeToString())
        (target / NOTE).write_text(f"{_MODEL_LINE}{model}\n{note}\n", encoding="utf-8")


def require_place_for_data_sets(model: Path, *, wanted: bool, overwrite: bool) -> None:
    """Whether the data sets beside ``model`` may make way: they are of what it was before.

    Raises:
        UsageError: they are its own, and nothing may be replaced; or data sets are ``wanted`` beside it and there are
            another model's, or such as tell of none.
    """
    for folder in sorted(model.parent.glob(f"{FOLDER}*")):
        owner = model_of(folder)
        if owner != model.name and wanted:
            raise UsageError(
                f"{folder} belongs to {owner or 'a model that it does not name'}: give each model a folder of its own"
            )
        if owner == model.name and not overwrite:
            raise UsageError(
                f"{folder} holds test data of an earlier {model.name}; give another name, or replace both with "
                "--overwrite (overwrite=True)"
            )


def replace_data_sets(drafts: Path, model: Path) -> None:
    """Move the data sets in the folder ``drafts`` to ``model``'s side; its earlier ones go in any case."""
    for earlier in model.parent.glob(f"{FOLDER}*"):
        if model_of(earlier) == model.name:
            shutil.rmtree(earlier)
    for folder in sorted(drafts.glob(f"{FOLDER}*")):
        folder.rename(model.parent / folder.name)


def model_of(folder: Path) -> str | None:
    """The file whose data a folder holds; None where no note tells."""
    note = folder / NOTE
    first = note.read_text(encoding="utf-8").partition("\n")[0] if note.is_file() else ""
    return first.removeprefix(_MODEL_LINE) if first.startswith(_MODEL_LINE) else None


def _read(folder: Path, kind: str, wanted: Sequence[str]) -> dict[str, Array]:
    """Tensors by name; like the standard's own runner, file i is the i-th input or output."""
    arrays = {}
    for index, name in enumerate(wanted):
        file = folder / f"{kind}_{index}.pb"
        if not file.is_file():
            raise InputError(f"{file} is missing: the model's {kind} {name!r} has no data")
        try:
            arrays[name] = numpy_helper.to_array(onnx.load_tensor(file))
        except Exception as error:  # protobuf's and NumPy's
            raise InputError(f"{file} is not a tensor: {error}") from error
    return arrays


def _scales(model: Path, wanted: Mapping[str, Array]) -> dict[str, float]:
    """What an output's error is relative to: its largest element; for the convergence delta, which is a difference that
    nearly vanishes, the largest score it is the difference of; one for the estimated error, which is relative itself.
    """
    scales = {name: _largest(value) for name, value in wanted.items()}
    properties = onnx.load(model, load_external_data=False).metadata_props
    text = next((p.value for p in properties if p.key == names.KEY), None)
    if text is not None:
        prefix = Contract.from_json(text).prefix
        scores = [scales.get(prefix + name, 0.0) for name in (names.SCORE, names.BASELINE_SCORE)]
        delta = prefix + names.CONVERGENCE_DELTA
        if delta in scales:
            scales[delta] = max(scales[delta], *scores)
        if prefix + names.ERROR_ESTIMATE in scales:
            scales[prefix + names.ERROR_ESTIMATE] = 1.0
    return scales


def _largest(value: Array) -> float:
    if value.dtype.kind not in "fiu" or not np.isfinite(value).any():
        return 0.0
    return float(np.max(np.abs(value[np.isfinite(value)].astype(np.float64))))


def _error(got: Array | None, want: Array, scale: float) -> float:
    if got is None or got.shape != want.shape or got.dtype != want.dtype:
        return float("inf")
    if want.dtype.kind not in "f":
        return 0.0 if np.array_equal(got, want) else float("inf")
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
        return float("inf")
    if not finite.any():
        return 0.0
    difference = float(np.max(np.abs(got[finite].astype(np.float64) - want[finite])))
    return difference / scale if scale else (0.0 if difference == 0 else float("inf"))
