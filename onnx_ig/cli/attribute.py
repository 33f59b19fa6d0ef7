"""``onnx-ig attribute``: attributions of given data, as arrays, numbers, pictures and a page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnx_ig.cli import options

if TYPE_CHECKING:
    from onnx_ig.cli.ending import Ending
    from onnx_ig.cli.names import Names
    from onnx_ig.cli.request import AttributeOptions, Found
    from onnx_ig.loading.model import Model


@click.command(short_help="Attribute a prediction to the inputs; arrays, pictures, a page.")
@click.argument("model")
@click.option(
    "-i",
    "--inputs",
    "inputs",
    multiple=True,
    required=True,
    metavar="[NAME=]FILE",
    help=(
        "Data of an attributed input: .npy, .npz (keys are input names), a picture (.png, .jpg), a sound "
        "(.wav, .flac, .ogg), a folder of either, one example each, or a table (.csv, .parquet) with columns for "
        "inputs or features, or sentences (.txt, .jsonl) with --tokenizer. Repeatable, for further inputs."
    ),
)
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the report goes."
)
@options.extra
@options.algorithm
@click.option(
    "--target",
    metavar="T",
    help=(
        "What is explained: an index (3), one index per axis (3,4), a class's name, predicted, @FILE with one per "
        "example, or column:NAME of the table in -i. [default: predicted; none where the output is one number per "
        "example]"
    ),
)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    metavar="[NAME=]B",
    help=(
        "Where the path begins: a number (NAME=TEXT for text), @FILE, or what is made from the data: black, white, "
        "blur (pictures), mean or median (a picture's colour, or over the examples). Once per input. [default: 0]"
    ),
)
@options.method
@options.n_steps
@options.tolerance
@options.output_name
@options.at
@options.per_example
@options.batch_axis
@options.multiply
@click.option(
    "--internal-batch-size",
    type=click.IntRange(1),
    help="At most this many rows (path points × examples) per run. [default: from memory]",
)
@options.provider
@options.pictures
@options.sounds
@options.texts
@options.on_error
@options.names
@options.weights
@options.overwrite
@options.allow_nonfinite
@options.debug
@click.pass_obj
def attribute(
    ending: Ending,
    /,
    model: str,
    inputs: Sequence[str],
    out: Path,
    extra: Sequence[str],
    target: str | None,
    baselines: Sequence[str],
    mean: str | None,
    std: str | None,
    layout: str | None,
    size: str | None,
    sample_rate: int | None,
    mono: bool,
    tokenizer: Path | None,
    text_key: str,
    on_error: str,
    names: Path | None,
    weights: Path | None,
    output: str | None,
    overwrite: bool,
    **rest: Any,
) -> None:
    """Attribute one output of MODEL to its inputs and write a report to DIR.

    MODEL is an .onnx file (an ordinary model, or an attribution model made by `onnx-ig export`), a .pt2 file, or
    package.module:factory with --weights. DIR receives attributions.npz, report.json, report.html and pictures.

    \b
    Examples:
      onnx-ig attribute digits.onnx -i seven.png -o report
      onnx-ig attribute resnet.onnx -i photos/ --size 224x224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 -o report
      onnx-ig attribute table.onnx -i rows.csv --target column:diagnosis --baseline median -o report
      onnx-ig attribute bert.onnx -i sentences.txt --tokenizer tokenizer.json --output logits -o report
      onnx-ig attribute bert.onnx -i ids=ids.npy --extra mask=mask.npy --at embeddings --output logits -o report
      onnx-ig attribute net.onnx -i x.npy --tolerance 0.01 -o report
      onnx-ig attribute net.onnx -i a=a.npy -i b=b.npy --algorithm input-x-gradient --target 3,4 -o report
    """
    from onnx_ig.cli.names import read_names
    from onnx_ig.cli.request import AttributeOptions
    from onnx_ig.cli.sources import files_in, is_factory, open_factory, refuse_torch_options
    from onnx_ig.cli.values import COLUMN, picture_options, read_target_option
    from onnx_ig.data import FileOptions, SoundOptions, TableOptions, TextOptions
    from onnx_ig.inspection import contract_of
    from onnx_ig.loading.model import load_with_output
    from onnx_ig.report import require_place_for_report

    sources = files_in(model, *inputs, *extra, *baselines, target, names, weights)
    require_place_for_report(out, sources, overwrite=overwrite)
    began = time.perf_counter()
    pictures = picture_options(mean, std, layout, size)
    shown = read_names(names)
    if is_factory(model):
        made = open_factory(model, weights, [*inputs, *extra], pictures)
        inputs, extra = made.texts[: len(inputs)], made.texts[len(inputs) :]
        loaded, output = load_with_output(made.module, output, example_inputs=tuple(made.arguments.values()))
    else:
        refuse_torch_options(weights=weights)
        loaded, output = load_with_output(model, output)
    contract = contract_of(loaded)
    shown = shown.or_in(loaded, output if contract is None else contract.output)
    inner = bool(rest["at"]) if contract is None else contract.at != contract.named("attributed")
    chosen_target = read_target_option(target, shown.classes or ())
    column = target.removeprefix(COLUMN) if target and target.startswith(COLUMN) else None
    tables = TableOptions(shown.columns(inner), column, shown.classes or (), skip=on_error == "skip")
    request = AttributeOptions(
        inputs, extra, baselines, target=chosen_target, pictures=pictures,
        files=FileOptions(SoundOptions(sample_rate, mono), tables, TextOptions(tokenizer, text_key)),
        names=shown, output=output, **rest,
    )  # fmt: skip
    opened = time.perf_counter()
    found = _attribute(model, loaded, request)
    seconds = {"opening": opened - began, "attribution": time.perf_counter() - opened}
    _finish(ending, model, loaded, found, shown, seconds, out, sources | loaded.files, overwrite)


def _attribute(path: str, model: Model, request: AttributeOptions) -> Found:
    from onnx_ig.cli.deployed import attribute_deployed
    from onnx_ig.cli.obstacles import obstacles_named
    from onnx_ig.cli.plain import attribute_plain
    from onnx_ig.common.progress import Bar
    from onnx_ig.deployed.attribution_model import AttributionModel
    from onnx_ig.inspection import contract_of

    contract = contract_of(model)
    with Bar("attribution") as bar:
        if contract is not None:
            return attribute_deployed(AttributionModel(model, file=path, provider=request.provider), request, bar)
        with obstacles_named(model):
            return attribute_plain(model, request, bar)


def _finish(
    ending: Ending,
    /,
    source: str,
    model: Model,
    found: Found,
    shown: Names,
    seconds: dict[str, float],
    out: Path,
    sources: frozenset[Path],
    overwrite: bool,
) -> None:
    """Write the report, then say what is in it.

    Raises:
        ToleranceError: afterwards, where a tolerance was not reached.
    """
    from onnx_ig.cli.display import print_attributions, straight_through
    from onnx_ig.cli.wording import in_options
    from onnx_ig.errors import ToleranceError
    from onnx_ig.report import AttributionReport, write_report
    from onnx_ig.report.words import token_names

    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    report = AttributionReport(
        model=source,
        model_sha256=model.source_sha256 or None,
        exporter=model.note or None,
        algorithm=found.algorithm,
        attributions=found.attributions,
        score=found.score,
        provider=found.provider,
        inputs=found.inputs,
        target=found.target,
        baseline_score=found.baseline_score,
        convergence_delta=found.convergence_delta,
        method=found.method,
        n_steps=found.n_steps,
        tolerance=found.tolerance,
        error_estimate=found.error_estimate,
        steps_used=found.steps_used,
        feature_names={
            **found.features,
            **token_names(found.attributions, found.words),
            **shown.of_features(list(found.attributions)),
        },
        class_names=shown.classes,
        pictures=found.pictures,
        series=found.series,
        table=found.rows,
        words=found.words,
        example_names=found.example_names,
        batched=found.batched,
        straight_through=found.straight_through,
        seconds=seconds,
        warnings=(*ending.warnings, *found.notes, *([in_options(found.missed)] if found.missed else [])),
    )
    files = write_report(out, report, overwrite=overwrite, sources=sources)
    print_attributions(report)
    click.echo(f"provider: {found.provider}")
    if model.note:
        click.echo(f"model: {model.note}")
    if found.straight_through:
        click.echo(straight_through(found.straight_through))
    click.echo(f"wrote {', '.join(file.name for file in files)} to {out}")
    if found.missed:
        raise ToleranceError(f"{found.missed}. The report holds the best values")
