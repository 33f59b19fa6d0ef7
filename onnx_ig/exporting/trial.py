"""Open an attribution model in ONNX Runtime and run it, before anybody is told that it is written.

The one idea: what fails where the source model itself runs is a mistake of the attribution model; where the source
model fails as well, the data are to blame.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import Contract
from onnx_ig.common.types import Array
from onnx_ig.engine.drawn_data import drawn, known_words, own_inputs, perhaps_rows, positive, with_the_rest
from onnx_ig.engine.forward import ForwardModel
from onnx_ig.errors import (
    InputError,
    MissingDependencyError,
    ModelError,
    NotDifferentiableError,
    OutOfMemoryError,
    warn,
)
from onnx_ig.graph.declared import cast_to_declared, kind_of
from onnx_ig.loading.model import Model, tensors_of
from onnx_ig.runtime.session import Session
from onnx_ig.runtime.widening import warn_widened

_POINTS = 2
_WHOLE = (None, 1, 0)  # 0 and 1 at random, or one of them: flags, lengths
_OPEN_SIZES = (8, 64, 224)  # of axes that the model leaves open: tokens, frames, pixels
_LARGE = 1 << 30  # bytes of weights, from which on one example is enough
_REPORT = "This is a mistake of onnx-ig: please report it"
_GIVE = "give data that it takes with --example-input (example_inputs=)"


def try_out(
    path: Path,
    model: Model,
    contract: Contract,
    given: Mapping[str, Array],
    weight_bytes: int,
    baselines: Mapping[str, object],
) -> None:
    """Run the attribution model at ``path`` for one example and for two, and hold the results against the contract.

    A warning tells what could not be run, and why.

    Args:
        model: the source model.
        given: values of its inputs by name; the others are drawn.
        baselines: what is baked; an array among them has the sizes that its input must have.

    Raises:
        ModelError: the attribution model cannot be opened or run, or gives results of other shapes, and it is not the
            source model or the data that stand in the way.
    """
    forward = ForwardModel(model, contract.output, contract.layout == "none", "cpu")
    try:
        session = Session(path, "cpu")
    except MissingDependencyError:
        _not_run(path, "ONNX Runtime is not installed")
        return
    except (ModelError, OutOfMemoryError) as error:
        _not_run(path, _why(forward, None, None, contract, error))
        return
    if session.widened:
        warn_widened(path.name, " where it is tried here; the file itself needs a runtime that takes bfloat16")
    expected = next(y.shape for y in tensors_of(model.ir_model.graph) if y.name == contract.output)
    starts = [start for start in baselines.values() if isinstance(start, np.ndarray)]
    several = {len(start) for start in starts if start.ndim and len(start) > 1}  # a row each: so many examples
    counts = (1, 2) if contract.layout == "batched" and weight_bytes < _LARGE else (1,)
    for rows in several or counts:
        why = ""
        try:
            for own in _attempts(model, contract, given, rows, baselines):
                feeds = with_the_rest(contract, own, np.random.default_rng(1), points=_POINTS)
                try:
                    _judge(contract, own, session.run(feeds), path.name)
                except (ModelError, OutOfMemoryError) as error:
                    why = _why(forward, own, expected, contract, error)
                    continue
                break
            else:
                raise InputError(why)
        except InputError as error:
            _not_run(path, str(error))
            return


def _attempts(
    model: Model, contract: Contract, given: Mapping[str, Array], rows: int, baselines: Mapping[str, object]
) -> Iterator[dict[str, Array]]:
    """Values of the source model's inputs for ``rows`` examples: as given, else drawn, in several ways."""
    specs = own_inputs(contract)
    words = {str(x.name): known_words(x) for x in model.inputs}
    per_row = {*contract.named("attributed"), *contract.named("per_example")} if contract.layout != "none" else set()
    known: dict[str, Array] = {}
    sizes: dict[str, int] = {}
    for spec in specs:
        start = baselines.get(spec.name)
        if isinstance(start, np.ndarray):
            pairs = list(zip(spec.shape or (), start.shape, strict=False))
            sizes |= {d: n for d, n in (pairs[1:] if per_row else pairs) if isinstance(d, str)}
        if spec.name not in given:
            continue
        value = cast_to_declared(given[spec.name], spec, "example_inputs")
        if spec.name in per_row and spec.shape:
            first = spec.shape[0]
            value = np.resize(value, (first if isinstance(first, int) else rows, *value.shape[1:]))
        known[spec.name] = value
        sizes |= {d: n for d, n in zip(spec.shape or (), value.shape, strict=False) if isinstance(d, str)}
    rest = [spec for spec in specs if spec.name not in known]
    is_open = any(not isinstance(d, int) and d not in sizes for spec in rest for d in (spec.shape or ())[1:])
    is_whole = any(kind_of(spec.dtype) != "f" for spec in rest)
    beside = perhaps_rows(specs, per_row, rows)
    shared = [beside | sizes, sizes] if per_row and beside.keys() - sizes.keys() else [sizes]
    for size, whole, named in itertools.product(
        _OPEN_SIZES if is_open else (None,), _WHOLE if is_whole else (None,), shared
    ):
        rng = np.random.default_rng(0)
        yield known | drawn(rest, rng, rows=rows, size=size, sizes=named, floats=positive, words=words, whole=whole)


def _why(
    forward: ForwardModel,
    own: Mapping[str, Array] | None,
    declared: ir.Shape | None,
    contract: Contract,
    error: Exception,
) -> str:
    """What keeps the source model from taking ``own`` as well, or None from being opened.

    Raises:
        ModelError: nothing does.
    """
    if isinstance(error, OutOfMemoryError):
        return str(error)
    try:
        if own is None:
            forward.open()
        else:
            rows = None if contract.layout == "none" else len(own[contract.named("attributed")[0]])
            for times in (1, _POINTS) if contract.layout == "batched" else (1,):  # path points come as further rows
                output = forward(_repeated(own, contract, times))
                behind = output.shape[1:]
                fits = declared is None or _fit(tuple(declared)[contract.layout != "none" :], behind)
                if not fits or (rows is not None and output.shape[:1] != (times * rows,)):
                    return f"its output {contract.output!r} has shape {list(output.shape)} on drawn data; {_GIVE}"
    except (ModelError, OutOfMemoryError) as cause:
        if own is None:
            return f"ONNX Runtime opens the model itself no more than this: {cause}"
        return f"the model itself fails on drawn data: {cause}; {_GIVE}"
    if isinstance(error, NotDifferentiableError):  # which only a run tells
        raise error
    raise ModelError(
        f"the attribution model does not work, though the model itself does, so nothing was written: {error}. {_REPORT}"
    ) from error


def _fit(declared: Sequence[int | ir.SymbolicDim], found: Sequence[int]) -> bool:
    """Whether a shape is as declared, as far as that says."""
    return len(declared) == len(found) and all(
        d == n for d, n in zip(declared, found, strict=True) if isinstance(d, int)
    )


def _repeated(own: Mapping[str, Array], contract: Contract, times: int) -> dict[str, Array]:
    """The same examples so many times."""
    per_row = {*contract.named("attributed"), *contract.named("per_example")}
    return {name: np.concatenate([x] * times) if name in per_row else x for name, x in own.items()}


def _judge(contract: Contract, own: Mapping[str, Array], results: Mapping[str, Array], name_of_file: str) -> None:
    first = own[contract.named("attributed")[0]]
    rows = 1 if contract.layout == "none" else len(first)
    plain = {name.removeprefix(contract.prefix): value for name, value in results.items()}
    several = (contract.targets,) if contract.targets > 1 else ()
    leading = several if contract.layout == "none" else (rows, *several)
    for name in contract.at:
        found = plain[names.ATTRIBUTION + name].shape
        behind = found[len(leading) :]
        if name in own:
            behind = tuple(contract.summed(name, own[name].shape)[0 if contract.layout == "none" else 1 :])
        if found != (*leading, *behind):
            _wrong_shape(names.ATTRIBUTION + name, found, (*leading, *(behind if name in own else ("...",))))
    for name in names.OF_EXAMPLES:
        if name in plain and plain[name].shape != (rows, *several):
            _wrong_shape(name, plain[name].shape, (rows, *several))
    ends = [plain[name] for name in (names.SCORE, names.BASELINE_SCORE, names.PATH_SCORES) if name in plain]
    attributions = [plain[names.ATTRIBUTION + name] for name in contract.at]
    if all(map(_is_finite, ends)) and not all(map(_is_finite, attributions)):
        warn(
            f"{name_of_file} gives attributions that are NaN or infinite where F itself is finite: perhaps a square "
            "root or a logarithm begins at the baseline, where its slope is infinite; another baseline may help"
        )


def _is_finite(values: Array) -> bool:
    return kind_of(values.dtype) != "f" or bool(np.isfinite(values.astype(np.float64)).all())


def _wrong_shape(name: str, found: Sequence[int], wanted: Sequence[object]) -> None:
    raise ModelError(f"it gives {name!r} of shape {list(found)} where {list(wanted)} is due")


def _not_run(path: Path, why: str) -> None:
    warn(f"{path.name} was not run: {why}")
