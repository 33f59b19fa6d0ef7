"""What a runtime will make of a model's portable form, said before anything is converted.

The one idea: export is what refuses, so it is asked, for each way of giving a target; an attribution model that is
there already is held against the same table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from onnx_ig.attribution.contract import Contract
from onnx_ig.attribution.layout import dims_of
from onnx_ig.common.types import Array
from onnx_ig.errors import OnnxIgError
from onnx_ig.exporting.export import export
from onnx_ig.exporting.portable.runtimes import Needs, needs_of
from onnx_ig.exporting.portable.write import lacking
from onnx_ig.graph.builder import is_static
from onnx_ig.graph.reading import is_float
from onnx_ig.inspection import contract_of
from onnx_ig.loading.model import Model

_Target = Literal["input", "predicted"] | tuple[int, ...]
_BODIES = ("Loop", "Scan", "If")


@dataclass(frozen=True)
class Outlook:
    """``refused``: why, "" where the runtime is not known to lack anything; ``of``: which file this is said of."""

    of: str
    refused: str


def outlook(model: Model, runtime: str, examples: Mapping[str, Array] | None = None) -> list[Outlook]:
    """Of the portable forms of ``model`` for ``runtime`` (as ``export --for`` has it), or of an attribution model.

    Args:
        model: any model; a portable form that is refused was not written.
        runtime: one of :data:`onnx_ig.exporting.portable.runtimes.NEEDS`.
        examples: values of the model's inputs, where it leaves axes open.

    Raises:
        UsageError: an unknown runtime.
    """
    needs, contract = needs_of(runtime), contract_of(model)
    if contract is not None:
        return [Outlook("the file", "; ".join(_of_file(model, contract, needs)))]
    found = []
    for target in _targets(model):
        words = "baked" if isinstance(target, tuple) else target
        found.append(Outlook(f"target {words}", _refused(model, runtime, target, examples)))
    return found


def _targets(model: Model) -> list[_Target]:
    """Those that the first float output can have: an input, found by the file among classes, one that is baked."""
    scores = next((y for y in model.outputs if is_float(y)), None)
    rank = 0 if scores is None or scores.shape is None else len(scores.shape)
    found: list[_Target] = ["input"]
    if rank == 2:
        found.append("predicted")
    if rank > 1:
        found.append((0,) * (rank - 1))
    return found


def _refused(model: Model, runtime: str, target: _Target, examples: Mapping[str, Array] | None) -> str:
    with tempfile.TemporaryDirectory(prefix="onnx_ig_") as folder:
        try:
            export(model, Path(folder) / "model.onnx", target=target, example_inputs=examples, for_runtime=runtime)
        except OnnxIgError as error:
            return str(error)
    return ""


def _of_file(model: Model, contract: Contract, needs: Needs) -> list[str]:
    graph = model.ir_model.graph
    open_ones = [str(x.name) for x in model.inputs if not is_static(x)]
    bodies = sorted({node.op_type for node in graph.all_nodes() if node.op_type in _BODIES})
    found = [f"its inputs {', '.join(open_ones)} have open sizes: export it with --for"] if open_ones else []
    found += [f"it has {' and '.join(bodies)}: export it with --for"] if bodies else []
    rows = {dims_of(x)[0] for x in model.inputs if x.name in contract.named("attributed") and contract.layout != "none"}
    (examples,) = rows if len(rows) == 1 else [None]
    return found + needs.refusals(examples if isinstance(examples, int) else None) + lacking(model.ir_model, needs)
