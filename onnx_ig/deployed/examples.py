"""Where the examples are in an attribution model's file, and whether it treats them apart, whoever wrote it.

The one idea: what `export` checks is checked again of the file itself, on the data it is given.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import Contract
from onnx_ig.attribution.layout import Dims, Layout, example_axes, with_rows_elsewhere
from onnx_ig.common.types import Array
from onnx_ig.engine.forward import ForwardModel
from onnx_ig.engine.independence import (
    Run,
    require_independent_rows,
    require_path_points_apart,
    require_rows_undisturbed,
)
from onnx_ig.errors import OutOfMemoryError
from onnx_ig.loading.model import Model, tensors_of
from onnx_ig.runtime.providers import AnySession
from onnx_ig.runtime.session import ProviderSpec


def layout_in_file(contract: Contract) -> Layout:
    """How the file's tensors hold examples, as its contract's shapes tell."""
    first = _own_shapes(contract)[contract.named("attributed")[0]][:1]
    n = first[0] if contract.layout == "fixed" and first and isinstance(first[0], int) else None
    one_point = any(entry.role == "path" and entry.shape == [1] for entry in contract.inputs)
    elsewhere = with_rows_elsewhere(_own_shapes(contract), _in_rows(contract), _symbol(contract))
    whole = bool(elsewhere) and contract.layout == "batched" and (one_point or contract.form == "complete")
    return Layout(contract.layout, n, None, apart=one_point and not whole, whole=whole)


def require_examples_apart_in_file(
    model: Model,
    contract: Contract,
    session: AnySession,
    provider: ProviderSpec,
    feeds: Mapping[str, Array],
    path: Mapping[str, Array],
) -> None:
    """Refuse a file whose model mixes examples: by F and the gradient, or by F alone where the path is in the file.

    Args:
        feeds: what every Run is fed but the path: one row or two, or all where they stay together.
        path: the point x, for files that take the path.

    Raises:
        InputError: it mixes them. ModelError: it does not run.
    """
    quantised = any(node.op_type == "DynamicQuantizeLinear" for node in model.ir_model.graph)
    name_of_score = contract.prefix + (names.PATH_SCORES if contract.form == "step" else names.SCORE)
    at_one_point = bool(path) or contract.algorithm == "input-x-gradient"

    def with_attributions(fed: Mapping[str, Array]) -> list[Array]:
        found = session.run({**path, **fed})
        score = found[name_of_score]
        return [score[0] if contract.form == "step" else score, *_attributions(contract, found)]

    def along(nodes: Array) -> tuple[Array | None, list[Array]]:
        own = [value.astype(path[name].dtype) for name, value in zip(path, (nodes, np.ones_like(nodes)), strict=True)]
        found = session.run({**first, **dict(zip(path, own, strict=True))})
        return found[name_of_score][:, 0] if contract.form == "step" else None, _attributions(contract, found)

    if at_one_point:
        results: Run = with_attributions
    elif any(value.name == contract.output for value in tensors_of(model.ir_model.graph)):
        results = _forward(model, contract, provider)
    else:
        return
    rows = _in_rows(contract)
    if layout_in_file(contract).whole:
        axes = example_axes(_own_shapes(contract), rows, _symbol(contract))
        require_rows_undisturbed(results, feeds, axes, quantised=quantised)
        return
    per_row = {*rows, *contract.named("target")}
    first = {name: value[:1] if name in per_row else value for name, value in feeds.items()}
    try:
        require_independent_rows(results, feeds, per_row, rows, quantised=quantised, between=not at_one_point)
        if path:
            require_path_points_apart(along, quantised=quantised)
    except OutOfMemoryError:
        return  # two rows do not fit, so no two will ever ride together


def _forward(model: Model, contract: Contract, provider: ProviderSpec) -> Run:
    forward = ForwardModel(model, contract.output, False, provider)
    return lambda fed: [forward(fed)]


def _attributions(contract: Contract, found: Mapping[str, Array]) -> list[Array]:
    return [found[contract.prefix + names.ATTRIBUTION + name] for name in contract.at]


def _in_rows(contract: Contract) -> list[str]:
    """The source model's inputs with a row per example."""
    return [*contract.named("attributed"), *contract.named("per_example")]


def _own_shapes(contract: Contract) -> dict[str, Dims]:
    """The shapes of the source model's inputs."""
    own = ("attributed", "per_example", "shared")
    return {entry.name: entry.shape for entry in contract.inputs if entry.role in own}


def _symbol(contract: Contract) -> str | None:
    """The name of the axis of the examples, where it has one."""
    first = _own_shapes(contract)[contract.named("attributed")[0]][:1]
    return first[0] if first and isinstance(first[0], str) else None
