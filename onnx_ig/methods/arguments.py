"""The forms in which Captum's users write inputs, baselines and targets, brought to plain arrays and checked.

Source of the forms: Captum's documentation of ``attribute``; see :mod:`onnx_ig.methods.integrated_gradients`.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from onnx_ig.common.arrays import is_torch, to_array
from onnx_ig.common.tables import columns_of, is_table
from onnx_ig.common.types import Array
from onnx_ig.errors import InputError
from onnx_ig.graph.declared import InputSpec, cast_to_declared

UNKNOWN_RANGE = int(np.iinfo(np.int64).max)  # the size of an output's axis that nothing tells


def in_form_of(value: Array, given: Any) -> Array:
    """``value`` in the shape of the array ``given``, which may have been a vector or list, and its floating type."""
    array = to_array(given)
    value = value.reshape(array.shape) if value.size == array.size else value
    return value.astype(array.dtype) if isinstance(given, np.ndarray) and is_floating(array.dtype) else value


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of this type can be attributed (bfloat16 is not a float to numpy)."""
    return dtype.kind == "f" or dtype == ml_dtypes.bfloat16


def require_examples(shapes: Mapping[str, Sequence[int]]) -> None:
    """Refuse inputs, by name, of which one holds no example."""
    for name, shape in shapes.items():
        if len(shape) and shape[0] == 0:
            raise InputError(f"input {name!r} has shape {list(shape)}, no example: leave empty batches out")


def check_inputs(inputs: Mapping[str, Array], allow_nonfinite: bool, *, batched: bool = True) -> None:
    """Attributed inputs are finite, and where their axis 0 is that of the examples (``batched``) they are as many.

    Raises:
        InputError: naming the input.
    """
    rows: dict[str, int] = {}
    for name, x in inputs.items():
        _finite(x, f"input {name!r}", allow_nonfinite)
        if x.ndim and batched:
            rows[name] = x.shape[0]
    if len(set(rows.values())) > 1:
        sizes = ", ".join(f"{name}: {n}" for name, n in rows.items())
        raise InputError(f"the inputs disagree on the number of examples (axis 0): {sizes}")


def baselines_by_name(baselines: Any, names: Sequence[str]) -> dict[str, Any]:
    """What ``baselines``, in any of their forms, say for each of the inputs ``names``; those without one are left out.

    Raises:
        InputError: one for an unknown name, or another count.
    """
    if is_table(baselines) and not set(names).isdisjoint(columns := columns_of(baselines)):
        baselines = {name: value for name, value in columns.items() if name in names}
    if isinstance(baselines, Mapping):
        unknown = [name for name in baselines if name not in names]
        if unknown:
            raise InputError(f"a baseline is given for {unknown[0]!r}, which is not attributed ({', '.join(names)})")
        given = [baselines.get(name) for name in names]
    elif isinstance(baselines, (tuple, list)):
        given = list(baselines)
    elif baselines is None or isinstance(baselines, numbers.Number):
        given = [baselines] * len(names)
    else:
        given = [baselines]
    if len(given) != len(names):
        raise InputError(f"{len(given)} baselines for {len(names)} inputs ({', '.join(names)})")
    return {name: baseline for name, baseline in zip(names, given, strict=True) if baseline is not None}


def broadcast_baselines(inputs: Mapping[str, Array], baselines: Any, allow_nonfinite: bool = False) -> dict[str, Array]:
    """One array per input, of its shape or with axis 0 of one.

    Args:
        baselines: None (zeros, or no text), a number, an array of the input's shape or with axis 0 of 1 that broadcasts
            to one example, or a tuple of these (a dict by input name too), one per input; a table of columns by name.

    Raises:
        InputError: another shape (both are printed), another count, not finite.
    """
    given = baselines_by_name(baselines, list(inputs))
    result = {}
    for name, x in inputs.items():
        baseline = given.get(name)
        value = np.asarray(_nothing(x.dtype) if baseline is None else to_array(baseline))
        if value.ndim == 0:
            value = np.full((1, *x.shape[1:]) if x.ndim else (), value)
        if value.ndim == 1 and x.shape[1:] == (1,):
            value = value[:, np.newaxis]
        if value.shape != x.shape and not _is_one_row(value, x):
            expected = f"{list(x.shape)}" + (f" or {[1, *x.shape[1:]]}" if x.ndim else "")
            raise InputError(f"the baseline of {name!r} has shape {list(value.shape)}, the input needs {expected}")
        if value.shape != x.shape:
            value = np.broadcast_to(value, (1, *x.shape[1:]))
        _finite(value, f"the baseline of {name!r}", allow_nonfinite)
        result[name] = _as_input(value, x.dtype, name)
    return result


def baseline_rows(inputs: Mapping[str, Array], baselines: Any, allow_nonfinite: bool = False) -> dict[str, Array]:
    """K baselines of every example: an array [K, ...] per input; a number or a single row is the same in all K.

    Args:
        baselines: as in :func:`broadcast_baselines`, but for the number of rows.

    Raises:
        InputError: no row; inputs without an axis of examples; as there, another number of rows than the longest.
    """
    alone = [name for name, x in inputs.items() if not x.ndim]
    if alone:
        raise InputError(f"input {alone[0]!r} is a single number, which has no row of baselines to average over")
    given = {name: to_array(value) for name, value in baselines_by_name(baselines, list(inputs)).items()}
    counts = {name: len(value) for name, value in given.items() if value.ndim}
    empty = [name for name, count in counts.items() if not count]
    if empty:
        raise InputError(f"the baseline of {empty[0]!r} has no row to average over: give one at least")
    rows = max(counts.values(), default=1)
    as_many = {name: np.broadcast_to(x[:1], (rows, *x.shape[1:])) for name, x in inputs.items()}
    found = broadcast_baselines(as_many, given, allow_nonfinite)
    return {name: np.broadcast_to(value, (rows, *value.shape[1:])) for name, value in found.items()}


def _nothing(dtype: np.dtype[Any]) -> float | str:
    """The baseline where none is given: zero, or no text."""
    return "" if dtype.kind == "O" else 0.0


def _as_input(baseline: Array, dtype: np.dtype[Any], name: str) -> Array:
    """``baseline`` in the type of the input; a number may be given as any type that holds its value."""
    text = baseline.dtype.kind in "OUS"
    if text != (dtype.kind == "O"):
        holds = "numbers" if text else "text"
        raise InputError(f"the baseline of {name!r} is {baseline.dtype}, the input holds {holds}")
    if text:
        return cast_to_declared(baseline, InputSpec(name, dtype, None), f"the baseline of {name!r}")
    cast = baseline.astype(dtype)
    if dtype.kind in "iub" and (cast != baseline).any():
        raise InputError(f"the baseline of {name!r} is not whole: {baseline[cast != baseline][0]} for {dtype}")
    return cast


def _is_one_row(baseline: Array, x: Array) -> bool:
    """Whether ``baseline`` stands for every example of ``x``: its axis 0 is 1, and it broadcasts to one example."""
    if not baseline.ndim or not x.ndim or baseline.shape[0] != 1:
        return False
    try:
        return np.broadcast_shapes(baseline.shape, (1, *x.shape[1:])) == (1, *x.shape[1:])
    except ValueError:
        return False


def broadcast_target(target: Any, examples: int, dims: Sequence[int], *, batched: bool = True) -> Array | None:
    """Each example's target: int64 [N] for an output [N, C], int64 [N, rank−1] for more axes, None for one number.

    Args:
        target: an int, a tuple of ints (all examples); a list or 1-D array of N ints, a list of N tuples, an array
            [N, rank−1] (one per example); an array of one int. A shorter tuple is accepted if what remains is one
            element, or if it has an index for each axis longer than one. A negative index counts from the end, but in
            a list or array of one int per example: there Captum refuses it too.
        dims: the output's dimensions for one example; empty or all ones: one number per example.
        batched: the output has them behind an axis of examples.

    Raises:
        InputError: missing, of the wrong kind or length, or out of range; the output's shape is named.
    """
    if type(target) is int and len(dims) == 1 and 0 <= target < dims[0] != 1:
        return np.full(examples, target, np.int64)
    shape = _shape_text(dims, batched)
    scalar = all(d == 1 for d in dims)
    if target is None:
        if scalar:
            return None
        raise InputError(f"the output has shape {shape}: a target is needed to select one element per example")
    rows = _target_rows(target, examples, shape)
    if rows.shape[1] < len(dims) and all(d == 1 for d in dims[rows.shape[1] :]):
        rows = np.pad(rows, ((0, 0), (0, len(dims) - rows.shape[1])))
    longer = [axis for axis, d in enumerate(dims) if d != 1]
    if rows.shape[1] < len(dims) and rows.shape[1] == len(longer):
        whole = np.zeros((len(rows), len(dims)), np.int64)
        whole[:, longer] = rows
        rows = whole
    if rows.shape[1] == len(dims) and not _one_index_each(target):
        sizes = np.asarray(dims)
        from_the_end = (rows < 0) & (rows >= -sizes) & (sizes < UNKNOWN_RANGE)
        rows = np.where(from_the_end, rows + sizes, rows)
    if scalar:
        if np.any(rows != 0):
            raise InputError(f"the output has shape {shape}, one number per example: leave the target out")
        return None
    if rows.shape[1] != len(dims):
        raise InputError(f"the target has {rows.shape[1]} index(es) per example, the output {shape} needs {len(dims)}")
    outside = (rows < 0) | (rows >= np.asarray(dims))
    if outside.any():
        example = int(np.argwhere(outside)[0][0])
        found = rows[example].tolist()
        raise InputError(
            f"target {found[0] if len(found) == 1 else tuple(found)} of example {example} is out of range for "
            f"output {shape}"
        )
    return rows[:, 0] if len(dims) == 1 else rows


def chosen_target(target: Any, dims: Sequence[int], predicted: Callable[[], Array], *, batched: bool = True) -> Any:
    """``target``, the class of the largest output in place of ``"predicted"``; None for one number per example.

    Args:
        dims: the output's dimensions for one example; ``predicted``: gives the class of each example.
        batched: as in :func:`broadcast_target`.

    Raises:
        InputError: the output has several axes, and no class.
    """
    if not (isinstance(target, str) and target == "predicted"):
        return target
    if all(d == 1 for d in dims):
        return None
    if len(dims) > 1:
        wanted, example = "[N, classes]" if batched else "[classes]", ",".join("0" for _ in dims)
        raise InputError(
            f"the output has shape {_shape_text(dims, batched)}, not {wanted}, so that no class is predicted: give the "
            f"target as {len(dims)} indices (--target {example}, or @FILE)"
        )
    return predicted()


def _shape_text(dims: Sequence[int], batched: bool) -> str:
    sizes = ["?" if size == UNKNOWN_RANGE else str(size) for size in dims]
    return "[" + ", ".join([*(["N"] if batched else []), *sizes]) + "]"


def _one_index_each(target: Any) -> bool:
    """Whether ``target`` is a list or vector with one index for each example."""
    if isinstance(target, list):
        return not any(isinstance(t, (tuple, list)) for t in target)
    return not isinstance(target, (tuple, int)) and to_array(target).size > 1 and to_array(target).ndim == 1


def _target_rows(target: Any, examples: int, shape: str) -> Array:
    """int64 [N, indices given] from any of the accepted forms."""
    if isinstance(target, tuple):
        return np.tile(np.array([[_index(t, shape) for t in target]], np.int64), (examples, 1))
    if isinstance(target, list):
        if target and all(isinstance(t, (tuple, list)) for t in target):
            rows = [[_index(i, shape) for i in t] for t in target]
            if len({len(row) for row in rows}) != 1:
                raise InputError(f"the targets have different lengths; the output has shape {shape}")
            return _of_length(np.array(rows, np.int64), examples, shape)
        return _of_length(np.array([[_index(t, shape)] for t in target], np.int64), examples, shape)
    array = to_array(target)
    if array.ndim == 0:
        return np.full((examples, 1), _index(array[()], shape), np.int64)
    if array.dtype.kind not in "iu":
        raise InputError(f"targets must be integers, not {array.dtype}; the output has shape {shape}")
    if array.size == 1:
        return np.full((examples, 1), int(array.reshape(())), np.int64)
    if array.ndim == 1:
        return _of_length(array[:, None].astype(np.int64), examples, shape)
    if array.ndim == 2:
        return _of_length(array.astype(np.int64), examples, shape)
    raise InputError(
        f"a target array has one axis, or two for outputs of rank > 2, not {array.ndim}; the output has shape {shape}"
    )


def _of_length(rows: Array, examples: int, shape: str) -> Array:
    if len(rows) != examples:
        raise InputError(f"{len(rows)} targets for {examples} examples; the output has shape {shape}")
    return rows


def _index(value: Any, shape: str) -> int:
    if is_torch(value) or isinstance(value, np.ndarray):
        value = to_array(value).reshape(()).item() if to_array(value).size == 1 else value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise InputError(
            f"a target is an integer, not {value!r} ({type(value).__name__}); the output has shape {shape}"
        )
    return int(value)


def _finite(x: Array, what: str, allow_nonfinite: bool) -> None:
    if is_floating(x.dtype) and not allow_nonfinite and not np.isfinite(x.astype(np.float64)).all():
        raise InputError(f"{what} holds NaN or infinite values; clean them, or pass allow_nonfinite=True")
