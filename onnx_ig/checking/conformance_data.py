"""Write the data sets that a runtime is held against: inputs for an attribution model and what it must make of them.

The one idea: everything is read from the written file's own contract, so the data fit the file whatever was baked into
it; the expected numbers come from torch in float64 where the module is at hand, and share no code with the gradient
graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import Contract
from onnx_ig.checking.conformance import FOLDER, DataSet, write_data_set
from onnx_ig.checking.runtimes import runtime_named
from onnx_ig.common.types import Array
from onnx_ig.engine.drawn_data import drawn, own_inputs, with_the_rest
from onnx_ig.errors import ModelError
from onnx_ig.inspection import contract_of, inspect
from onnx_ig.loading.model import Model, load

_EXAMPLES = 2
_OPEN_PATH = 8  # path points where the caller chooses them
_NO_SUCH_TARGET = 10**9
_EVALUATED_AT_MOST = 3_000_000  # weights: beyond, the reference evaluator takes minutes


def write_test_data(
    path: Path,
    *,
    module: Any = None,
    arguments: Mapping[str, Array] | None = None,
    baselines: Mapping[str, Array] | None = None,
    seed: int = 0,
) -> str:
    """Write ``test_data_set_0`` beside the attribution model at ``path``, and, where the target is an input,
    ``test_data_set_1``: targets out of range, for which every score and attribution must be NaN.

    Args:
        module: the torch module the model was exported from, called with the model's own inputs in order.
        arguments: values of the model's own inputs by name; random ones without, where all sizes are declared.
        baselines: the arrays that were baked in as baselines, by input name.

    Returns:
        Where the expected outputs come from, in one sentence; also in each folder's note.

    Raises:
        InputError: an input for which no values can be drawn is not in ``arguments``.
        UsageError: no room.
    """
    written = load(path)
    contract, described = contract_of(written), inspect(written)
    assert contract is not None
    rng = np.random.default_rng(seed)
    own, given = own_inputs(contract), arguments or {}
    values = {spec.name: given[spec.name] for spec in own if spec.name in given}
    values |= drawn([spec for spec in own if spec.name not in values], rng, rows=_EXAMPLES)
    feeds = with_the_rest(contract, values, rng, points=_OPEN_PATH)
    order = [y.name for y in described.outputs]
    expected, note = _expected(path, written, contract, feeds, module, baselines or {})
    main = DataSet(f"{FOLDER}0", feeds, {name: expected[name] for name in order})
    write_data_set(path.parent, path.name, main, note)
    for target in contract.named("target"):
        wrong = feeds[target].copy()
        each = wrong.reshape(len(wrong) * contract.targets, -1)
        each[:, 0] = np.resize([_NO_SUCH_TARGET, -1], len(each))
        outputs = {name: _without_target(contract, name, main.outputs[name]) for name in order}
        bad = DataSet(f"{FOLDER}1", {**feeds, target: wrong}, outputs)
        write_data_set(path.parent, path.name, bad, f"{note}\nno such target: scores and attributions are NaN")
    return note


def _expected(
    path: Path,
    written: Model,
    contract: Contract,
    feeds: Mapping[str, Array],
    module: Any,
    baselines: Mapping[str, Array],
) -> tuple[dict[str, Array], str]:
    """What the attribution model must give, and where that comes from."""
    # the torch reference stops by the error of single elements, not by that of their sums
    sums_to_tolerance = contract.sum_over is not None and "tolerance" in (contract.baked.get("path") or {})
    elementwise = contract.at == contract.named("attributed") and not sums_to_tolerance
    if module is not None and contract.layout != "none" and elementwise:
        from onnx_ig.checking.expected import expected_by_torch

        types = {str(y.name): y.dtype.numpy() for y in written.outputs if y.dtype is not None}
        wanted = expected_by_torch(module, contract, feeds, baselines, list(types))
        return {n: np.asarray(v).astype(types[n]) for n, v in wanted.items()}, (
            "expected outputs: torch autograd in float64, one path point at a time; not computed by the model itself"
        )
    initializers = written.ir_model.graph.initializers.values()
    size = sum(v.const_value.size for v in initializers if v.const_value is not None)
    why = f"it has {size:,} weights, too many for onnx's reference evaluator"
    if size <= _EVALUATED_AT_MOST:
        runtime = runtime_named("reference")
        try:
            return runtime.open(path).run(feeds), _by_runtime(runtime.title, runtime.version())
        except ModelError as error:
            why = str(error)
    runtime = runtime_named("onnxruntime")
    return runtime.open(path).run(feeds), f"{_by_runtime(runtime.title, runtime.version())} ({why})"


def _by_runtime(title: str, version: str) -> str:
    return f"expected outputs: the model itself, run by {title} {version}: they judge runtimes, not the gradient"


def _without_target(contract: Contract, name: str, value: Array) -> Array:
    """NaN where an output depends on the target; 0 of the steps, which are whole numbers."""
    bare = name.removeprefix(contract.prefix)
    of_target = bare in (*names.OF_EXAMPLES, names.PATH_SCORES)
    dependent = name.startswith(contract.prefix) and (of_target or bare.startswith(names.ATTRIBUTION))
    return np.full_like(value, np.nan if value.dtype.kind == "f" else 0) if dependent else value
