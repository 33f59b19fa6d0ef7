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
from onnx_ig.conformance import FOLDER, DataSet, write_data_set
from onnx_ig.errors import InputError, ModelError
from onnx_ig.inspection import Tensor, contract_of, inspect
from onnx_ig.model import Model, load
from onnx_ig.quadrature import path_nodes_and_weights
from onnx_ig.runtime.engines import engine_named
from onnx_ig.types import Array

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
        arguments: values of the model's own inputs by name; random ones for float inputs of declared shape without.
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
    declared = {x.name: x for x in described.inputs}
    rng = np.random.default_rng(seed)
    feeds = _feeds(contract, declared, dict(arguments or {}), rng)
    order = [y.name for y in described.outputs]
    expected, note = _expected(path, written, contract, feeds, module, baselines or {})
    main = DataSet(f"{FOLDER}0", feeds, {name: expected[name] for name in order})
    write_data_set(path.parent, path.name, main, note)
    for target in contract.named("target"):
        wrong = feeds[target].copy()
        wrong.reshape(len(wrong), -1)[:, 0] = np.resize([_NO_SUCH_TARGET, -1], len(wrong))
        outputs = {name: _without_target(contract, name, main.outputs[name]) for name in order}
        bad = DataSet(f"{FOLDER}1", {**feeds, target: wrong}, outputs)
        write_data_set(path.parent, path.name, bad, f"{note}\nno such target: scores and attributions are NaN")
    return note


def _feeds(
    contract: Contract, declared: Mapping[str, Tensor], arguments: dict[str, Array], rng: np.random.Generator
) -> dict[str, Array]:
    """Values for every input of the attribution model, in its order."""
    feeds: dict[str, Array] = {}
    for entry in contract.inputs:
        tensor = declared[entry.name]
        if entry.role in ("attributed", "per_example", "shared"):
            given = arguments.get(entry.name)
            feeds[entry.name] = _drawn(tensor, rng) if given is None else given
    rows = len(feeds[contract.named("attributed")[0]]) if contract.layout != "none" else 1
    nodes, weights = path_nodes_and_weights("gausslegendre", _OPEN_PATH)
    if contract.form == "step" and contract.layout != "batched":
        nodes, weights = path_nodes_and_weights("riemann_middle", 1)
    for entry in contract.inputs:
        dtype, bare = declared[entry.name].array_type, entry.name.removeprefix(contract.prefix)
        if entry.role == "target":
            columns = 1 if len(entry.shape) == 1 else int(entry.shape[1] or 1)
            target = np.resize(np.arange(rows, dtype=np.int64), (rows, columns)) % 2
            feeds[entry.name] = target[:, 0] if len(entry.shape) == 1 else target
        elif entry.role == "baseline":
            x = feeds[bare.removeprefix(names.BASELINE)]
            one = contract.layout == "batched"
            shape = (1, *x.shape[1:]) if one else x.shape
            drawn = 0.1 * rng.standard_normal(shape) if dtype.kind == "f" else np.resize(x[::-1], shape)
            feeds[entry.name] = drawn.astype(dtype)
        elif entry.role == "path":
            feeds[entry.name] = (nodes if bare == names.PATH_NODES else weights).astype(dtype)
    return {entry.name: feeds[entry.name] for entry in contract.inputs}


def _drawn(tensor: Tensor, rng: np.random.Generator) -> Array:
    """Standard normal values of the declared shape, two examples where their number is open."""
    dims = [_EXAMPLES if i == 0 and not isinstance(d, int) else d for i, d in enumerate(tensor.shape or [])]
    sizes = [d for d in dims if isinstance(d, int)]
    if tensor.shape is None or len(sizes) < len(dims) or tensor.array_type.kind != "f":
        raise InputError(
            f"no test data can be drawn for input {tensor.name!r} ({tensor.dtype} {tensor.shape}): give it with "
            f"--example-input {tensor.name}=FILE"
        )
    return rng.standard_normal(sizes).astype(tensor.dtype)


def _expected(
    path: Path,
    written: Model,
    contract: Contract,
    feeds: Mapping[str, Array],
    module: Any,
    baselines: Mapping[str, Array],
) -> tuple[dict[str, Array], str]:
    """What the attribution model must give, and where that comes from."""
    if module is not None and contract.layout != "none" and contract.at == contract.named("attributed"):
        from onnx_ig.pytorch.expected import expected_by_torch

        types = {str(y.name): y.dtype.numpy() for y in written.outputs if y.dtype is not None}
        wanted = expected_by_torch(module, contract, feeds, baselines, list(types))
        return {n: np.asarray(v).astype(types[n]) for n, v in wanted.items()}, (
            "expected outputs: torch autograd in float64, one path point at a time; not computed by the model itself"
        )
    initializers = written.ir_model.graph.initializers.values()
    size = sum(v.const_value.size for v in initializers if v.const_value is not None)
    why = f"it has {size:,} weights, too many for onnx's reference evaluator"
    if size <= _EVALUATED_AT_MOST:
        engine = engine_named("reference")
        try:
            return engine.open(path).run(feeds), _by_engine(engine.title, engine.version())
        except ModelError as error:
            why = str(error)
    engine = engine_named("onnxruntime")
    return engine.open(path).run(feeds), f"{_by_engine(engine.title, engine.version())} ({why})"


def _by_engine(title: str, version: str) -> str:
    return f"expected outputs: the model itself, run by {title} {version}: they judge runtimes, not the gradient"


def _without_target(contract: Contract, name: str, value: Array) -> Array:
    """NaN where an output depends on the target."""
    bare = name.removeprefix(contract.prefix)
    of_target = bare in (names.SCORE, names.BASELINE_SCORE, names.PATH_SCORES, names.CONVERGENCE_DELTA)
    dependent = name.startswith(contract.prefix) and (of_target or bare.startswith(names.ATTRIBUTION))
    return np.full_like(value, np.nan) if dependent else value
