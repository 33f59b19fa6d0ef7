"""Where the examples are in an attribution model's file, and whether it treats them apart, whoever wrote it.

The one idea: what `export` checks is checked again of the file itself, on the data it is given.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx_ig.attribution.contract import Contract
from onnx_ig.attribution.layout import Dims, Layout, example_axes, with_rows_elsewhere
from onnx_ig.common.types import Array
from onnx_ig.engine.attributions_apart import require_attributions_apart
from onnx_ig.engine.forward import ForwardModel
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
    """Refuse a file whose model mixes examples: see :func:`onnx_ig.engine.attributions_apart`.

    Args:
        feeds: what every Run is fed but the path: one row or two, or all where they stay together.
        path: the point x, for files that take the path.

    Raises:
        InputError: it mixes them. ModelError: it does not run.
    """
    graph = model.ir_model.graph
    whole = layout_in_file(contract).whole
    forward = ForwardModel(model, contract.output, False, provider)
    require_attributions_apart(
        contract,
        session.run,
        feeds,
        path,
        example_axes(_own_shapes(contract), _in_rows(contract), _symbol(contract)) if whole else None,
        quantised=any(node.op_type == "DynamicQuantizeLinear" for node in graph),
        forward=(lambda fed: [forward(fed)]) if any(v.name == contract.output for v in tensors_of(graph)) else None,
    )


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
