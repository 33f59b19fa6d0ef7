"""``onnx-ig inspect``: what is in a model, what can be attributed, what stands in the way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from onnx_ig.cli.options import shared
from onnx_ig.cli.options.file_names import FILE_NAME

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_ig.checking.kernels import Finding
    from onnx_ig.inspection import Gradient, Inspection, Layer, Obstacle
    from onnx_ig.loading.model import Model

# onnx_ig.checking.kernels.RUNTIMES, which is slow to import for a --help
RUNTIMES = ("onnxruntime", "onnxruntime-cuda", "onnxruntime-webgpu", "tensorrt", "openvino")
_LAYERS_PRINTED, _OPERATORS_PRINTED, _NODES_PRINTED = 20, 12, 3


@click.command(short_help="Inputs, outputs, obstacles, places to attribute at.")
@click.argument("source", type=FILE_NAME)
@click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    help="Also say which nodes this runtime cannot run, and at which opsets it could; from tables, not from a run.",
)
@click.option(
    "--for",
    "for_runtime",
    type=click.Choice(shared.PORTABLE_FOR),
    help="Also say what this runtime would refuse of `export --for`, and why; of an attribution model, of itself.",
)
@shared.as_json
@click.option("--output", metavar="NAME", help="Of a PyTorch model that returns several results, the one to show.")
@shared.weights
@shared.example_input
@shared.everywhere
def inspect(
    source: str,
    runtime: str | None,
    for_runtime: str | None,
    as_json: bool,
    output: str | None,
    weights: Path | None,
    examples: Sequence[str],
) -> None:
    """Show inputs, outputs, what can be differentiated, obstacles, and tensors one can attribute at.

    SOURCE is an .onnx file, a .pt2 file, or package.module:factory. Nothing is run, but what --for tries to export. Of
    an attribution model, the way it is called is shown.

    \b
    Examples:
      onnx-ig inspect model.onnx
      onnx-ig inspect bert.onnx --json
      onnx-ig inspect explained.onnx --runtime tensorrt
      onnx-ig inspect model.onnx --for opencv4
      onnx-ig inspect models.digits_cnn.model:digits_cnn --example-input 1x1x8x8
    """
    from onnx_ig.checking.kernels import findings
    from onnx_ig.cli.reading.sources import is_factory, open_model, read_arguments
    from onnx_ig.cli.terminal.display import to_json
    from onnx_ig.errors import UsageError
    from onnx_ig.exporting.foresight import outlook
    from onnx_ig.inspection import inspect as inspected
    from onnx_ig.loading.model import is_torch_source

    if output is not None and not is_torch_source(source):
        raise UsageError("--output goes with PyTorch sources: of an .onnx file all outputs are shown")
    model, _ = open_model(source, weights, examples, output)
    found = inspected(model)
    report = {"source": source, **found.to_dict()}
    lines = _lines(source, found)
    if runtime is not None:
        in_runtime = findings(_as_given(source, model), runtime)
        report["runtime"] = {"name": runtime, "findings": [asdict(one) for one in in_runtime]}
        lines += _runtime_lines(runtime, in_runtime)
    if for_runtime is not None:
        arguments = {} if is_factory(source) else read_arguments(model, examples)
        outlooks = outlook(model, for_runtime, arguments)
        report["for"] = {"name": for_runtime, "outlooks": [asdict(one) for one in outlooks]}
        lines += [
            f"for {for_runtime}:",
            *(f"  {one.of}: {one.refused or 'nothing known to be refused'}" for one in outlooks),
        ]
    click.echo(to_json(report) if as_json else "\n".join(lines))


def _as_given(source: str, model: Model) -> ir.Model:
    """The nodes that a runtime is handed: an .onnx file's own, and of a PyTorch model those it is exported to."""
    from onnx_ig.loading.model import is_torch_source
    from onnx_ig.loading.model_file import read

    return model.ir_model if is_torch_source(source) else read(Path(source))[0]


def _runtime_lines(runtime: str, found: Sequence[Finding]) -> list[str]:
    lines = [f"in {runtime} (by lists of its operators; `onnx-ig conform` runs a model):"]
    for one in found:
        nodes = [*one.nodes[:_NODES_PRINTED], "..."] if len(one.nodes) > _NODES_PRINTED else one.nodes
        lines.append(f"  {one.op_type} {len(one.nodes)} ({', '.join(nodes)}): {one.detail}")
    return lines if found else [*lines, "  a kernel for every node"]


def _lines(source: str, found: Inspection) -> list[str]:
    from onnx_ig.attribution.contract import Contract
    from onnx_ig.cli.terminal.display import aligned, call_signature, shown

    counts = [f"{name} {count}" for name, count in found.operators.items()]
    operators = ", ".join([*counts[:_OPERATORS_PRINTED], "..."] if len(counts) > _OPERATORS_PRINTED else counts)
    lines = [f"{source}: opset {found.opset}, {found.nodes} nodes ({operators})"]
    lines += [found.note] if found.note else []
    if found.contract is not None:
        contract = Contract.from_json(json.dumps(found.contract))
        return [*lines, "attribution model: " + call_signature(contract, found.inputs, found.outputs)]
    lines += ["inputs:", *aligned((x.name, shown(x)) for x in found.inputs)]
    lines += ["outputs:", *aligned((y.name, shown(y)) for y in found.outputs)]
    lines += [
        f"  {one.output} is a probability ({one.op_type}): its logits, --output {one.logits}, need fewer path points"
        for one in found.probabilities
    ]
    lines += [f"examples: {found.layout or 'unknown layout'} ({found.layout_note})", "gradients:"]
    lines += _gradient_lines(found.gradients) or ["  none: no float input and no embedding"]
    lines += ["in training mode, not attributed:"] if found.in_training_mode else []
    lines += [_obstacle_line(one) for one in found.in_training_mode]
    lines += _layer_lines("embeddings (--at):", found.embeddings, len(found.embeddings))
    return lines + _layer_lines("layers (--at):", found.layers, found.layers_in_all)


def _gradient_lines(gradients: Sequence[Gradient]) -> list[str]:
    from onnx_ig.cli.terminal.display import counted

    words = {
        "yes": "can be differentiated",
        "zero": (
            "derivative is zero: the output does not depend on it, or only through operators such as Round or ArgMax"
        ),
    }
    lines: list[str] = []
    for gradient in gradients:
        count = len(gradient.obstacles)
        blocked = f"cannot be differentiated: {count} node{'s stand' if count > 1 else ' stands'} in the way"
        quantised = f" (straight-through: {counted(gradient.straight_through)})" if gradient.straight_through else ""
        lines.append(f"  {gradient.output} by {gradient.wrt}: {words.get(gradient.status, blocked)}{quantised}")
        lines += [_obstacle_line(one) for one in gradient.obstacles]
    return lines


def _obstacle_line(one: Obstacle) -> str:
    return f"    {one.op_type} (node {one.node!r}): {one.reason}. {one.advice}"


def _layer_lines(heading: str, layers: Sequence[Layer], in_all: int) -> list[str]:
    from onnx_ig.cli.terminal.display import aligned, shown

    if not layers:
        return []
    printed = layers[:_LAYERS_PRINTED]
    lines = [heading, *aligned((one.tensor.name, shown(one.tensor), one.op_type) for one in printed)]
    return lines + (
        [f"  ({in_all - len(printed)} more; --json lists up to {len(layers)} of them)"] if in_all > len(printed) else []
    )
