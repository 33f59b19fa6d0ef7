"""``onnx-ig verify``: this engine against an independent computation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnx_ig.cli.options import picture, shared
from onnx_ig.cli.options.file_names import FILE_NAME
from onnx_ig.errors import UsageError

if TYPE_CHECKING:
    from onnx_ig.checking.comparison import VerificationReport
    from onnx_ig.cli.attributing.request import AttributeOptions
    from onnx_ig.cli.reading.values import Values
    from onnx_ig.data import PictureOptions


@click.command(short_help="Compare with torch autograd, or with finite differences.")
@click.argument("source", type=FILE_NAME)
@click.option(
    "-i",
    "--inputs",
    "inputs",
    multiple=True,
    type=FILE_NAME,
    metavar="[NAME=]FILE",
    help=(
        "Data to verify on, beside random data: what `attribute` reads, tables by their columns' names. For "
        "package.module:factory .npy, .npz, a picture, or a shape such as 1x3x224x224. Repeatable."
    ),
)
@shared.extra
@click.option(
    "--target",
    type=FILE_NAME,
    metavar="T",
    help=(
        "What is explained: an index (3), one index per axis (3,4), a class's name, @FILE, or column:NAME of the table "
        "in -i. [default: the predicted class]"
    ),
)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    type=FILE_NAME,
    metavar="[NAME=]B",
    help="Where the path begins: a number or @FILE. Once per input. [default: 0]",
)
@shared.method
@shared.n_steps
@shared.output_name
@click.option(
    "--at",
    metavar="NAME",
    help="Verify the gradient by this tensor inside the graph (an embedding, a layer) instead of the inputs'.",
)
@shared.batch_axis
@click.option(
    "--tolerance",
    type=click.FloatRange(0, min_open=True),
    help=(
        "On the relative difference. [default: 1e-4 against PyTorch; against differences 1e-5 for the derivative in "
        "float64 and 1e-2 for the gradient as computed]"
    ),
)
@click.option("--float64", is_flag=True, help="Let the PyTorch reference compute in float64.")
@click.option(
    "--samples",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="How many random inputs beside the given one.",
)
@click.option(
    "--provider", type=click.Choice(shared.PROVIDERS), default="cpu", show_default=True, help="Where this engine runs."
)
@picture.pictures()
@shared.sounds
@shared.texts
@shared.names
@shared.weights
@shared.example_input
@shared.as_json
@shared.everywhere
def verify(
    source: str,
    inputs: Sequence[str],
    extra: Sequence[str],
    target: str | None,
    baselines: Sequence[str],
    method: str | None,
    n_steps: int | None,
    output: str | None,
    at: str | None,
    batch_axis: int | None,
    tolerance: float | None,
    float64: bool,
    samples: int,
    provider: str,
    pictures: PictureOptions,
    sample_rate: int | None,
    mono: bool,
    tokenizer: Path | None,
    text_key: str,
    names: Path | None,
    weights: Path | None,
    examples: Sequence[str],
    as_json: bool,
) -> None:
    """Compare attributions of SOURCE with an independent computation; exit code 8 where they differ.

    A PyTorch SOURCE (.pt2, package.module:factory) is compared with torch autograd, an .onnx file with central
    differences of its own forward pass in float64, on the data given and on random data. So is a file that `export`
    wrote for inputs and a fixed path: its attributions with differences of its own scores.

    \b
    Examples:
      onnx-ig verify model.onnx
      onnx-ig verify table.onnx -i rows.csv --target column:diagnosis
      onnx-ig verify bert.onnx -i sentences.txt --tokenizer tokenizer.json --output logits
      onnx-ig verify models.digits_cnn.model:digits_cnn --weights digits_cnn.safetensors -i seven.npy --float64
    """
    from onnx_ig.checking.verification import verify as verified
    from onnx_ig.cli.attributing.request import AttributeOptions
    from onnx_ig.cli.reading.names import read_names
    from onnx_ig.cli.reading.sources import is_factory, open_factory, refuse_torch_options
    from onnx_ig.cli.reading.values import read_target_option
    from onnx_ig.data import FileOptions, SoundOptions, TextOptions
    from onnx_ig.loading.model import is_torch_source

    chosen = None if inputs and not is_factory(source) else read_target_option(target)
    keywords: dict[str, Any] = {
        "target": None if isinstance(chosen, str) else chosen,
        "tolerance": tolerance,
        "samples": samples,
        "provider": provider,
        "output": output,
        "batch_axis": batch_axis,
    }
    if is_torch_source(source):
        if at is not None:
            raise UsageError("--at goes with .onnx files: torch's reference explains the inputs")
        keywords |= {
            "n_steps": n_steps or shared.DEFAULT_STEPS,
            "method": method or shared.DEFAULT_METHOD,
            "float64": float64,
        }
    else:
        _refuse_reference_options(method=method, n_steps=n_steps, float64=float64, baseline=baselines)
        keywords |= {"at": at}
    if is_factory(source):
        made = open_factory(source, weights, [*(inputs or examples), *extra], pictures)
        arguments = list(made.arguments)
        attributed = arguments[: len(arguments) - len(extra)]
        keywords["inputs"] = tuple(made.arguments[name] for name in attributed)
        keywords["additional_forward_args"] = _tensors([made.arguments[name] for name in arguments[len(attributed) :]])
        keywords["baselines"] = _in_order(_starts(baselines, made.arguments, attributed, pictures), attributed)
        _finish(verified(made.module, **keywords), as_json)
        return
    refuse_torch_options(weights=weights, example_input=examples)
    if inputs or extra:
        files = FileOptions(SoundOptions(sample_rate, mono), texts=TextOptions(tokenizer, text_key))
        request = AttributeOptions(
            inputs, extra, baselines, target, output=output, at=[at] if at else (), batch_axis=batch_axis,
            pictures=pictures, files=files, names=read_names(names),
        )  # fmt: skip
        values, request = _values(source, request)
        chosen = values.target(request.target)
        keywords["target"] = None if isinstance(chosen, str) else chosen
        if is_torch_source(source):
            keywords["inputs"] = tuple(values.inputs.values())
            keywords["additional_forward_args"] = _tensors(values.extra.values())
            keywords["baselines"] = _in_order(values.baselines, list(values.inputs))
        else:
            keywords |= {"inputs": values.inputs, "additional_forward_args": values.extra or None}
            keywords["at"] = next(iter(request.at), None)
    _finish(verified(source, **keywords), as_json)


def _refuse_reference_options(**given: Any) -> None:
    for name, value in given.items():
        if value:
            raise UsageError(
                f"--{name.replace('_', '-')} goes with a PyTorch source: an .onnx file's gradient is "
                "compared with differences, which have no path"
            )


def _values(source: str, request: AttributeOptions) -> tuple[Values, AttributeOptions]:
    """Data for the inputs that a model declares, in their order, and what is asked of them: as `attribute` has both."""
    from onnx_ig.attribution import default_inputs
    from onnx_ig.attribution.batch_axis import examples_first
    from onnx_ig.checking.attribution_files import written_contract
    from onnx_ig.cli.attributing.text import at_the_embedding
    from onnx_ig.cli.reading.values import COLUMN, read_target_option, read_values
    from onnx_ig.cli.terminal.ending import note
    from onnx_ig.data import TableOptions
    from onnx_ig.engine.drawn_data import own_inputs
    from onnx_ig.graph.declared import spec_of
    from onnx_ig.loading.model import load_with_output

    loaded, output = load_with_output(source, request.output)
    model = examples_first(loaded, request.batch_axis)
    shown = request.names.or_in(model, output)
    request = at_the_embedding(model, request)
    target, classes = request.target, shown.classes or ()
    column = target.removeprefix(COLUMN) if target and target.startswith(COLUMN) else None
    tables = TableOptions(shown.columns(bool(request.at)), column, classes)
    contract = written_contract(model)
    specs = [spec_of(x) for x in model.inputs] if contract is None else own_inputs(contract)
    values = read_values(
        specs, lambda: default_inputs(model, request.at) if contract is None else contract.named("attributed"),
        request.inputs, request.extra,
        request.baselines, request.pictures, batched=lambda _: request.batch_axis is not None,
        files=replace(request.files, tables=tables), otherwise=model.defaults,
    )  # fmt: skip
    for said in values.notes:
        note(said)
    ordered = values.ordered([spec.name for spec in specs])
    return ordered, replace(request, target=read_target_option(target, classes))


def _starts(
    texts: Sequence[str], arguments: dict[str, Any], attributed: Sequence[str], pictures: PictureOptions
) -> dict[str, Any]:
    from onnx_ig.cli.reading.baselines import read_baselines
    from onnx_ig.data import InputSpec

    specs = [InputSpec(name, arguments[name].dtype, arguments[name].shape) for name in attributed]
    return dict(read_baselines(texts, specs, pictures).values)


def _tensors(arrays: Iterable[Any]) -> Any:
    """Additional arguments reach the reference's module as they are, and a module wants tensors; None for none."""
    import torch

    return tuple(torch.from_numpy(array.copy()) for array in arrays) or None


def _in_order(baselines: dict[str, Any], names: Sequence[str]) -> Any:
    """A tuple in the order of the inputs; None where nothing is given."""
    return tuple(baselines.get(name, 0) for name in names) if baselines else None


def _finish(report: VerificationReport, as_json: bool) -> None:
    from onnx_ig.cli.terminal.display import print_table, to_json

    if as_json:
        click.echo(to_json(report))
        report.require()
        return
    columns = ["quantity", "max relative error", "median relative error", "cosine", "delta", "tolerance", "result"]
    rows = [
        [
            row.what,
            f"{row.max_relative_error:.2e}",
            f"{row.median_relative_error:.2e}",
            "" if row.cosine is None else f"{row.cosine:.7f}",
            "" if row.delta is None else f"{row.delta:.2e}",
            "" if row.tolerance is None else f"{row.tolerance:.0e}",
            "ok" if row.passed else "differs",
        ]
        for row in report.rows
    ]
    print_table(columns, rows, right=range(1, 6))
    click.echo(report.note)
    report.require()
    click.echo("verified")
