"""``onnx-ig attribute``: attributions of given data, as arrays, numbers, pictures and a page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnx_ig.cli.options import drawing, picture, shared
from onnx_ig.cli.options.file_names import FILE_NAME

if TYPE_CHECKING:
    from onnx_ig.cli.attributing.place import Place
    from onnx_ig.cli.attributing.request import AttributeOptions, Explainer
    from onnx_ig.cli.options.drawing import Drawn
    from onnx_ig.cli.terminal.ending import Ending
    from onnx_ig.data import PictureOptions
    from onnx_ig.loading.model import Model


@click.command(short_help="Attribute a prediction to the inputs; arrays, pictures, a page.")
@click.argument("model", type=FILE_NAME)
@click.option(
    "-i",
    "--inputs",
    "inputs",
    multiple=True,
    required=True,
    type=FILE_NAME,
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
@shared.extra
@shared.algorithm
@click.option(
    "--target",
    type=FILE_NAME,
    metavar="T",
    help=(
        "What is explained: an index (3), one index per axis (3,4), a class's name, predicted, @FILE with one per "
        "example, or column:NAME of the table in -i. [default: predicted; none where the output is one number per "
        "example]"
    ),
)
@click.option(
    "--targets",
    type=FILE_NAME,
    metavar="TS",
    help=(
        "Several targets of each example, in fewer evaluations than as many commands: top-3 (the classes of its "
        "largest outputs), indices or names of classes (3,5,9), or @FILE with a row of them per example."
    ),
)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    type=FILE_NAME,
    metavar="[NAME=]B",
    help=(
        "Where the path begins: a number (NAME=TEXT for text), @FILE, or what is made from the data: black, white, "
        "blur (pictures), mean or median (a picture's colour, or over the examples). Once per input. [default: 0]"
    ),
)
@shared.method
@shared.n_steps
@shared.tolerance
@shared.output_name
@shared.at
@shared.sum_over
@shared.per_example
@shared.batch_axis
@shared.multiply
@shared.noise
@click.option(
    "--internal-batch-size",
    type=click.IntRange(1),
    help="At most this many rows (path points × examples) per run. [default: from memory]",
)
@shared.provider
@picture.pictures()
@drawing.drawing
@shared.sounds
@shared.texts
@shared.on_error
@shared.names
@shared.weights
@shared.pieces
@shared.overwrite
@shared.allow_nonfinite
@shared.as_json
@shared.everywhere
@click.pass_obj
def attribute(
    ending: Ending,
    /,
    model: str,
    inputs: Sequence[str],
    out: Path,
    extra: Sequence[str],
    target: str | None,
    targets: str | None,
    baselines: Sequence[str],
    pictures: PictureOptions,
    drawn: Drawn,
    sample_rate: int | None,
    mono: bool,
    tokenizer: Path | None,
    text_key: str,
    on_error: str,
    names: Path | None,
    weights: Path | None,
    output: str | None,
    rows_per_file: int | None,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    **rest: Any,
) -> None:
    """Attribute one output of MODEL to its inputs and write a report to DIR.

    MODEL is an .onnx file (an ordinary model, or an attribution model made by `onnx-ig export`), a .pt2 file, or
    package.module:factory with --weights. DIR receives attributions.npz, report.json, report.html and pictures; for
    many examples several files of arrays, each written when its examples are explained, in memory that does not grow.

    \b
    Examples:
      onnx-ig attribute digits.onnx -i seven.png -o report
      onnx-ig attribute resnet.onnx -i photos/ --size 224x224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 -o report
      onnx-ig attribute table.onnx -i rows.csv --target column:diagnosis --baseline median -o report
      onnx-ig attribute bert.onnx -i sentences.txt --tokenizer tokenizer.json --output logits -o report
      onnx-ig attribute bert.onnx -i ids=ids.npy --extra mask=mask.npy --at embeddings --output logits -o report
      onnx-ig attribute resnet.onnx -i cat.jpg --preprocess imagenet --algorithm grad-cam --at layer4 -o report
      onnx-ig attribute net.onnx -i x.npy --tolerance 0.01 -o report
      onnx-ig attribute net.onnx -i x.npy --targets top-3 -o report
      onnx-ig attribute net.onnx -i a=a.npy -i b=b.npy --algorithm input-x-gradient --target 3,4 -o report
      onnx-ig attribute --config report.toml --json
    """
    from onnx_ig.cli.attributing.place import Place
    from onnx_ig.cli.attributing.request import AttributeOptions
    from onnx_ig.cli.reading.names import read_names
    from onnx_ig.cli.reading.sources import files_in, is_factory, open_factory, refuse_torch_options
    from onnx_ig.cli.reading.values import COLUMN, read_target_option, read_targets_option
    from onnx_ig.data import FileOptions, SoundOptions, TableOptions, TextOptions
    from onnx_ig.errors import UsageError
    from onnx_ig.inspection import contract_of
    from onnx_ig.loading.model import load_with_output
    from onnx_ig.report import require_place_for_report
    from onnx_ig.report.shards import require_form

    if target is not None and targets is not None:
        raise UsageError("--target and --targets contradict each other: leave one of them out")
    sources = files_in(model, *inputs, *extra, *baselines, target, targets, names, weights, tokenizer)
    require_form(rest["form"])
    require_place_for_report(out, sources, overwrite=overwrite, form=rest["form"])
    began = time.perf_counter()
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
    several = read_targets_option(targets, shown.classes or ())
    column = target.removeprefix(COLUMN) if target and target.startswith(COLUMN) else None
    skip = on_error == "skip"
    tables = TableOptions(shown.columns(inner), column, shown.classes or (), skip=skip)
    request = AttributeOptions(
        inputs, extra, baselines, target=chosen_target, targets=several, pictures=pictures,
        files=FileOptions(SoundOptions(sample_rate, mono), tables, TextOptions(tokenizer, text_key, skip)),
        names=shown, output=output, draw=drawn.count, style=drawn.style, **rest,
    )  # fmt: skip
    opened = time.perf_counter() - began
    place = Place(out, sources | loaded.files, overwrite, resume)
    _attribute(ending, model, loaded, request, place, rows_per_file, opened, as_json)


def _attribute(
    ending: Ending,
    /,
    path: str,
    model: Model,
    request: AttributeOptions,
    place: Place,
    rows: int | None,
    opening: float,
    as_json: bool,
) -> None:
    """Explain, write the report, then say what is in it, ``as_json``: in its own words.

    Raises:
        ToleranceError: afterwards, where a tolerance was not reached.
    """
    from onnx_ig.cli.attributing.deployed import Deployed
    from onnx_ig.cli.attributing.describing import Describing
    from onnx_ig.cli.attributing.job import run
    from onnx_ig.cli.attributing.pieces import pieces
    from onnx_ig.cli.attributing.place import record_of
    from onnx_ig.cli.attributing.plain import Plain
    from onnx_ig.cli.terminal.display import print_attributions, straight_through
    from onnx_ig.cli.terminal.ending import note
    from onnx_ig.cli.terminal.obstacles import obstacles_named
    from onnx_ig.deployed.attribution_model import AttributionModel
    from onnx_ig.graph.declared import spec_of
    from onnx_ig.inspection import contract_of

    explainer: Explainer
    with obstacles_named(model):
        if contract_of(model) is None:
            explainer = Plain(model, request)
        else:
            explainer = Deployed(AttributionModel(model, file=path, provider=request.provider), request)
        windows = pieces(explainer, [spec_of(x) for x in model.inputs], request, rows)
        record = record_of(model, request, windows, place.sources)
        report = place.finished(record)
        if report is not None:
            said = f"nothing to do: {place.out} holds the report of the same work"
            click.echo(_of_report(place.out) if as_json else said)
            _require_reached(report.get("missed"))
            return
        done = run(
            explainer, windows, place, record,
            describe=Describing(path, model, request),
            warnings=lambda: [*ending.warnings],
            opening=opening,
            draw=request.draw,
            form=request.form,
        )  # fmt: skip
    for said in done.notes:
        note(said)
    if as_json:
        click.echo(_of_report(place.out))
        _require_reached(done.missed)
        return
    print_attributions(done.head, done.examples)
    click.echo(f"provider: {done.head.provider}")
    if model.note:
        click.echo(f"model: {model.note}")
    if done.head.straight_through:
        click.echo(straight_through(done.head.straight_through))
    click.echo(f"wrote {', '.join(done.shown_files())} to {place.out}")
    _require_reached(done.missed)


def _of_report(directory: Path) -> str:
    """report.json, and where it is."""
    import json

    from onnx_ig.cli.terminal.display import to_json

    return to_json({"directory": str(directory)}, **json.loads((directory / "report.json").read_text("utf-8")))


def _require_reached(missed: str | None) -> None:
    """Raise ToleranceError where the report says what was ``missed``."""
    from onnx_ig.errors import ToleranceError

    if missed:
        raise ToleranceError(f"{missed}. The report holds the best values")
