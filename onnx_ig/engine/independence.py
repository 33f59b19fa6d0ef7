"""Does a model treat the examples on axis 0 apart? Path points ride as further examples, so everything rests on it.

The one idea: several different rows, near one another and far, are evaluated each alone and in company. What comes out
for a row must be the same; a row that is NaN in one of the two is not. Sums over the rows, orders along them and
thresholds on a statistic of all of them show in one row or another. Rows that cannot be taken out of their company are
held to the same when the company changes. Rows may meet at some points of a path only (beside a threshold, where
nothing is saturated), so some along it are compared too.

A kernel chooses its order of summation by the shapes alone, so beside copies of itself a row is, to the bit, what it is
beside others: that comparison finds rows that meet weakly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from onnx_ig.attribution.layout import ON_AXIS_1, ONE_EXAMPLE
from onnx_ig.common.types import Array
from onnx_ig.errors import InputError, ModelError, NotDifferentiableError, OutOfMemoryError

# Kernels choose other summation orders for other batch sizes; half precision rounds more.
_TOLERANCE = {np.dtype(np.float64): 1e-6, np.dtype(np.float32): 1e-3}
_HALF = 2e-2
# Dynamic quantisation gives all rows one scale, which is the model's own doing and small.
_DYNAMICALLY_QUANTISED = 0.1
_GRADIENTS = 0.1  # in the norm, because single elements at the kink of a Relu may flip
# Beside copies: what data decide (how many elements NonZero finds) may still change the shapes inside.
_BESIDE_COPIES = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-5}
_HALF_BESIDE_COPIES = 1e-3
_GRADIENTS_BESIDE_COPIES = 5e-3  # float16 inside is scaled for all rows at once
_COPIES = "beside copies of its example"
_MOST_OF_A_REASON = 250  # letters
_FAR = (-30.0, 300.0)  # times what the other rows are: beyond most thresholds, on either side
# Of a path, or of the way to zero where the path is not at hand. What happens nearer to a baseline than that weighs
# little in the whole.
_BETWEEN = (0.65, 0.45, 0.3, 0.15, 0.02)
_PATH_POINTS = (0.85, *_BETWEEN)

Feeds = Mapping[str, Array]
Run = Callable[[Feeds], Sequence[Array]]  # F or the output of each row, then perhaps its attributions
# From path points [K] of one example: F at each, [K], where it is known, and the sum of what each adds to attributions.
Along = Callable[[Array], tuple[Array | None, Sequence[Array]]]


def agree(a: Array, b: Array) -> bool:
    """Whether two outputs are the same up to rounding, NaN where the other is."""
    wide, other = a.astype(np.float64), b.astype(np.float64)
    largest = np.max(np.abs(other), where=np.isfinite(other), initial=0.0)
    tolerance = _TOLERANCE.get(b.dtype, _HALF) * float(largest)
    return np.allclose(wide, other, rtol=0, atol=tolerance, equal_nan=True)


def require_independent_rows(
    run: Run,
    feeds: Feeds,
    per_row: Collection[str],
    moved: Collection[str],
    *,
    quantised: bool,
    between: bool = False,
) -> None:
    """Compare what ``run`` makes of rows in company with what it makes of each alone.

    Args:
        feeds: one row or two different ones; the other rows are made from them.
        per_row: the names among them that have a row per example.
        moved: those of ``per_row`` whose values may be varied: not a target.
        quantised: whether the model quantises its activations dynamically.
        between: also compare rows between the given ones and zero, where a path goes that ``run`` cannot take.

    Raises:
        InputError: a result changes, or its axis 0 is not that of the rows, so the output mixes examples.
        ModelError: the model does not run on the first row alone.
        OutOfMemoryError: two rows do not fit, so no two will ever ride together.
    """
    shared = {name: value for name, value in feeds.items() if name not in per_row}

    def results(rows: Sequence[Feeds]) -> Sequence[Array]:
        together = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        return run({**shared, **together})

    near, far = _rows({name: value for name, value in feeds.items() if name in per_row}, moved, quantised, between)
    alone = [(near[0], results([near[0]]))]
    for row in (*near[1:], *far):
        try:
            alone.append((row, results([row])))
        except ModelError:  # no values the model takes: a number made into an index, say
            continue
    if len(alone) == 1:
        alone *= 2
    spread = np.abs(_wide(alone[0][1][0]) - _wide(alone[1][1][0]))
    companies = [alone[3:] + alone[:1], alone[:3]] if len(alone) > 3 else [alone]
    while companies:
        company = companies.pop()
        try:
            found = results([row for row, _ in company])
        except OutOfMemoryError:
            if len(company) == 2:
                raise
            companies += [[company[0], other] for other in company[1:]]
            continue
        except NotDifferentiableError:  # it would not be by rows of their own either
            raise
        except ModelError as error:
            raise _refusal(f"takes one row, and not {len(company)}", str(error)) from error
        for i, (row, own) in enumerate(company):
            for single, several in zip(own, found, strict=True):
                require_axis({1: single, len(company): several})
            is_near = any(row is other for other in near)
            _require_same([value[i : i + 1] for value in found], own, spread, quantised, is_near)
    other = next((row for row, _ in alone if row is near[1]), None)  # unless the model does not take it
    if other is not None and not quantised:  # that rounds by what is beside
        first, copy = ([value[:1] for value in results([near[0], row])] for row in (other, near[0]))
        _require_same(first, copy, spread, quantised, with_gradient=True, beside=_COPIES)


def require_path_points_apart(
    along: Callable[[Array], tuple[Array | None, Sequence[Array]]], *, quantised: bool
) -> None:
    """Compare what becomes of points of a path together, as further examples, with what becomes of each half of them.

    A half of the points takes the place of the other half too, so that all keep theirs, and the shapes are the same.

    Args:
        along: from path points [K] of one example: F at each, [K], where it is known, and the sum of what each of them
            adds to each attribution.
        quantised: whether the model quantises its activations dynamically.

    Raises:
        InputError: F changes at a point, or an attribution, so the output mixes examples.
        ModelError: the model does not run. OutOfMemoryError: not even on one point.
    """
    points = np.array(_PATH_POINTS)
    while len(points) > 1:
        half = len(points) // 2
        try:
            scores, attributions = along(points)
            halves = [along(np.tile(part, 2)) for part in (points[:half], points[half:])]
            break
        except OutOfMemoryError:
            points = points[-2 * (half // 2) :] if half > 1 else points[:1]  # still an even number
    else:
        return  # no two will ever ride together
    (first, _), (second, _) = halves
    if scores is not None and first is not None and second is not None:
        own = np.concatenate([first[:half], second[half:]])
        spread = np.abs(_wide(own[:1]) - _wide(own[-1:]))
        for i in range(len(own)):
            together, apart = [scores[i : i + 1]], [own[i : i + 1]]
            _require_same(together, apart, spread, quantised, with_gradient=False, beside=_COPIES)
    if not quantised:
        parts = zip(*(values for _, values in halves), strict=True)
        _require_same_gradient(attributions, [np.sum(each, axis=0) / 2 for each in parts], beside=_COPIES)


def require_rows_undisturbed(
    run: Run, feeds: Feeds, moved: Mapping[str, int], *, quantised: bool, far: bool = True
) -> None:
    """Compare what ``run`` makes of a row beside the given rows with what it makes of it beside others.

    This is for rows that cannot be evaluated alone, because an input may hold them on an axis that nobody names.

    Args:
        feeds: all rows.
        moved: the inputs whose values may be varied, with the axis of the rows.
        quantised: whether the model quantises its activations dynamically.
        far: whether the others may be far from what is given.

    Raises:
        InputError: a result changes, or its axis 0 is not that of the rows, so the output mixes examples.
        ModelError, OutOfMemoryError: the model does not run on the given rows.
    """
    moved = {name: axis for name, axis in moved.items() if name in feeds}
    rows = max(feeds[name].shape[axis] for name, axis in moved.items())
    if rows == 1:
        return
    rng = np.random.default_rng(0)
    own = run(feeds)
    for value in own:
        require_axis({rows: value})
    spread = np.abs(_wide(own[0][:1]) - _wide(own[0][-1:]))
    for kept in sorted({0, rows // 2, rows - 1}):
        for i, factor in enumerate((1.0, *_FAR) if far and not quantised else (1.0,), start=1):
            changed = {}
            for name, place in moved.items():
                by_row = np.moveaxis(feeds[name], place, 0)
                if len(by_row) == rows:  # else one row for all
                    others = _times(varied(by_row, i, rng), factor)
                    others[kept] = by_row[kept]
                    changed[name] = np.ascontiguousarray(np.moveaxis(others, 0, place))
            try:
                found = run({**feeds, **changed})
            except ModelError:  # no values the model takes: a number made into an index, say
                continue
            one, other = ([value[kept : kept + 1] for value in values] for values in (found, own))
            _require_same(one, other, spread, quantised, factor == 1, beside="beside some examples")


def require_axis(found: Mapping[int, Array]) -> None:
    """Results of so many rows, for some numbers of them, have so many rows."""
    if any(rows != (len(value) if value.ndim else 1) for rows, value in found.items()):
        counts = {rows: len(value) if value.ndim else 1 for rows, value in found.items()}
        given = " and ".join(f"{count} score(s) for {rows} example(s)" for rows, count in counts.items())
        raise InputError(
            f"the output mixes examples: it gives {given}, so its axis 0 is not that of the inputs. {ONE_EXAMPLE}"
        )


def _refusal(what: str, why: str) -> InputError:
    return InputError(f"the model mixes examples: it {what} ({why[:_MOST_OF_A_REASON]}). {ONE_EXAMPLE}")


def require_rows_run_alone(error: ModelError, all_rows: Callable[[], object]) -> None:
    """Say what it means that a model failed on one row, with ``error``, if it runs on all rows that it was given.

    Raises:
        InputError: it does: the rows belong together.
    """
    if isinstance(error, NotDifferentiableError):  # it says more than this could
        return
    try:
        all_rows()
    except (ModelError, OutOfMemoryError):
        return  # the caller's own Run says what is wrong
    raise _refusal("takes all rows together, and not one alone", str(error)) from error


def _rows(feeds: Feeds, moved: Collection[str], quantised: bool, between: bool) -> tuple[list[Feeds], list[Feeds]]:
    """Rows like the given ones, the first of them first, and others: far from them, and perhaps nearer to zero."""
    rng = np.random.default_rng(0)

    def changed(row: Feeds, i: int, factor: float = 1.0) -> Feeds:
        return {name: _times(varied(value, i, rng), factor) if name in moved else value for name, value in row.items()}

    first, last = ({name: value[part] for name, value in feeds.items()} for part in (slice(0, 1), slice(-1, None)))
    second = changed(first, 1) if all(np.array_equal(first[name], last[name]) for name in moved) else last
    if quantised:  # rows far from the others would take all of their scale
        return [first, second, changed(first, 2)], []
    nearer = [{n: _times(x, a) if n in moved else x for n, x in first.items()} for a in _BETWEEN if between]
    return [first, second], [changed(second, 1, _FAR[0]), *nearer, changed(first, 2, _FAR[1])]


def _times(value: Array, factor: float) -> Array:
    with np.errstate(over="ignore"):
        return (value * factor).astype(value.dtype) if value.dtype.kind not in "OUiub" else value


def varied(value: Array, i: int, rng: np.random.Generator) -> Array:
    """Values like the given ones: numbers are moved along the rows, with noise where they are not whole."""
    if value.dtype.kind in "OU":
        return value
    moved = np.roll(value.reshape(len(value), -1), i, axis=1).reshape(value.shape)
    if value.dtype.kind in "iub":
        return moved
    wide = moved.astype(np.float64)
    return np.asarray((wide + 0.1 * i * (np.std(wide) or 1.0) * rng.standard_normal(value.shape)).astype(value.dtype))


def _wide(value: Array) -> Array:
    return value.astype(np.float64)


def _require_same(
    among: Sequence[Array],
    alone: Sequence[Array],
    spread: Array,
    quantised: bool,
    with_gradient: bool,
    beside: str = "alone",
) -> None:
    """One row's results in company and alone (or ``beside`` others): F first, by element; attributions in the norm."""
    found, own = _wide(among[0]), _wide(alone[0])
    known, otherwise = (_BESIDE_COPIES, _HALF_BESIDE_COPIES) if beside == _COPIES else (_TOLERANCE, _HALF)
    tolerance = _DYNAMICALLY_QUANTISED if quantised else known.get(alone[0].dtype, otherwise)
    scale = max(_largest(own), _largest(spread), 1e-6)
    finite = np.isfinite(own)
    if found.shape == own.shape and np.array_equal(finite, np.isfinite(found)):
        change = np.abs(np.where(finite, found, 0) - np.where(finite, own, 0))
        if change.max(initial=0.0) <= tolerance * scale:
            if with_gradient and not quantised:
                _require_same_gradient(among[1:], alone[1:], beside)
            return
    else:
        change = (np.isfinite(found) != finite).astype(float) if found.shape == own.shape else np.zeros(own.shape)
    i = int(change.argmax())
    raise InputError(
        f"the output mixes examples: a value is {own.flat[i]:.6g} {beside} and {found.flat[i]:.6g} beside other "
        f"examples, so axis 0 is not a batch of independent examples (a time axis?). {ONE_EXAMPLE}; "
        f"{ON_AXIS_1}"
    )


def _require_same_gradient(among: Sequence[Array], alone: Sequence[Array], beside: str) -> None:
    tolerance = _GRADIENTS_BESIDE_COPIES if beside == _COPIES else _GRADIENTS
    for found, own in zip(among, alone, strict=True):
        a, b = _wide(found), _wide(own)
        finite = np.isfinite(b)
        change = np.linalg.norm((a - b)[finite]) if a.shape == b.shape else np.inf
        if not (change <= tolerance * max(float(np.linalg.norm(b[finite])), 1e-9)):
            raise InputError(
                "the output mixes examples: its gradient changes beside other examples, so axis 0 is not a batch of "
                f"independent examples. {ONE_EXAMPLE}; {ON_AXIS_1}"
            )


def _largest(value: Array) -> float:
    return float(np.max(np.abs(value), where=np.isfinite(value), initial=0.0))
