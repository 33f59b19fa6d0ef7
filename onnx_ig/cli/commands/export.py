"""``onnx-ig export``: write an attribution model, the file that users deploy."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnx_ig.cli.options import shared
from onnx_ig.cli.options.file_names import FILE_NAME
from onnx_ig.errors import UsageError

if TYPE_CHECKING:
    from onnx_ig.common.types import Algorithm, Form, Rule, SumOver
    from onnx_ig.loading.model import Model


@click.command(short_help="Write an attribution model, the .onnx file that users deploy.")
@click.argument("source", type=FILE_NAME)
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="The .onnx file to write.")
@click.option(
    "--triton",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help=(
        "Write an entry of a Triton model repository instead: DIR/config.pbtxt, for the onnxruntime backend, and "
        "DIR/1/model.onnx, or the next version. It is served under DIR's last name."
    ),
)
@shared.algorithm
@click.option(
    "--form",
    type=click.Choice(("complete", "step")),
    default="complete",
    show_default=True,
    help="complete: one run does everything. step: the caller gives chunks of the path and adds up.",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME",
    help="An attributed input. Repeatable. [default: the only float input, or all columns]",
)
@shared.output_name
@shared.at
@shared.sum_over
@click.option(
    "--target",
    default="input",
    show_default=True,
    type=FILE_NAME,
    metavar="T",
    help=(
        "What is explained: input (an input of the written model), predicted (the arg-max class at "
        "x), an index (3), one index per axis (3,4), or the name of a class in the model's metadata."
    ),
)
@click.option(
    "--targets",
    metavar="TS",
    help=(
        "Several targets of each example instead, in one file that runs the model forwards once for all: top-3 (the "
        "classes of the largest outputs), indices or names of classes (3,5,9), or input-3 (so many as an input)."
    ),
)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    type=FILE_NAME,
    metavar="[NAME=]B",
    help=(
        "Where the path begins: a number (NAME=TEXT for text), @FILE, or input (an input of the written model). Once "
        "per input. [default: 0]"
    ),
)
@shared.method
@shared.n_steps
@shared.tolerance
@click.option(
    "--path-as-input",
    is_flag=True,
    help="Make path nodes and weights inputs of the written model instead of baking --method and --n-steps.",
)
@click.option(
    "--steps-per-run",
    type=click.IntRange(0),
    help="Path points per turn of the loop in the complete form; 0: no loop. [default: 16]",
)
@shared.multiply
@shared.per_example
@shared.batch_axis
@click.option(
    "--prefix",
    default="",
    metavar="TEXT",
    help="Put before the names that are added, when they clash with the model's own.",
)
@click.option(
    "--with-test-data",
    is_flag=True,
    help="Also write test_data_set_0 beside the file: inputs and expected outputs for `onnx-ig conform`.",
)
@click.option(
    "--portable",
    is_flag=True,
    help="For runtimes that want every size known and have no loops: sizes as in --example-input, loops written out.",
)
@click.option(
    "--for",
    "for_runtime",
    type=click.Choice(shared.PORTABLE_FOR),
    help="--portable, spelt as this runtime reads it; what it cannot compute is refused, and how to convert is said.",
)
@click.option(
    "--batch", type=click.IntRange(1), metavar="N", help="The number of examples of the portable form. [default: 1]"
)
@shared.weights
@shared.example_input
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace the file, or a config.pbtxt that was changed by hand; never a file that the model is made from.",
)
@shared.as_json
@shared.everywhere
def export(
    source: str,
    out: Path | None,
    triton: Path | None,
    algorithm: Algorithm | None,
    form: Form,
    inputs: Sequence[str],
    output: str | None,
    at: Sequence[str],
    sum_over: SumOver | None,
    target: str,
    targets: str | None,
    baselines: Sequence[str],
    method: Rule | None,
    n_steps: int | None,
    tolerance: float | None,
    max_steps: int | None,
    path_as_input: bool,
    steps_per_run: int | None,
    multiply_by_inputs: bool | None,
    per_example: Sequence[str],
    batch_axis: int | None,
    prefix: str,
    with_test_data: bool,
    portable: bool,
    for_runtime: str | None,
    batch: int | None,
    weights: Path | None,
    examples: Sequence[str],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write an attribution model of SOURCE: an ordinary .onnx file that computes attributions in any ONNX runtime.

    SOURCE is an .onnx file, a .pt2 file, or package.module:factory with --weights and --example-input.

    \b
    Examples:
      onnx-ig export digits.onnx -o digits_ig.onnx
      onnx-ig export net.onnx -o net_ig.onnx --target predicted --baseline image=0.5 --n-steps 20
      onnx-ig export digits.onnx -o digits_ig.onnx --tolerance 0.01
      onnx-ig export digits.onnx -o digits_ig.onnx --targets top-3
      onnx-ig export digits.onnx --triton models/digits_ig --target predicted
      onnx-ig export bert.onnx -o bert_ixg.onnx --algorithm input-x-gradient --at embeddings --output logits
      onnx-ig export bert.onnx -o bert_ig.onnx --at embeddings --output logits --sum-over embedding
      onnx-ig export resnet.onnx -o resnet_cam.onnx --algorithm grad-cam --at layer4 --target predicted
      onnx-ig export digits.onnx -o digits_ig.onnx --for litert --target predicted
      onnx-ig export package.module:factory --weights weights.pt --example-input 1x3x224x224 -o net_ig.onnx
    """
    from onnx_ig.cli.reading.fixed_at_export import (
        fixed_baselines,
        fixed_target,
        fixed_targets,
        refuse_what_is_left_to_the_caller,
    )
    from onnx_ig.cli.reading.names import Names
    from onnx_ig.cli.reading.sources import files_in
    from onnx_ig.cli.terminal.display import call_signature, to_json
    from onnx_ig.cli.terminal.obstacles import obstacles_named
    from onnx_ig.exporting.export import export as exported
    from onnx_ig.exporting.portable.runtimes import needs_of
    from onnx_ig.exporting.triton import repository_entry
    from onnx_ig.graph.declared import spec_of
    from onnx_ig.inspection import contract_of, inspect
    from onnx_ig.loading.model import load

    algorithm = algorithm or shared.DEFAULT_ALGORITHM
    refuse_what_is_left_to_the_caller(algorithm, form, method, n_steps, path_as_input, steps_per_run, baselines)
    read = files_in(source, weights, *baselines, *examples)
    given = _free_place(out, triton, read, overwrite)
    opened = _opened(source, weights, examples, output, batch_axis)
    model = opened.model
    classes = Names().or_in(model, opened.output).classes or ()
    chosen, several = fixed_target(target, classes), fixed_targets(targets, classes)
    starts = fixed_baselines(baselines, [spec_of(x) for x in model.inputs], inputs, model.ir_model.metadata_props)
    place = repository_entry(given, read | model.files, overwrite=overwrite) if triton else nullcontext(given)
    with obstacles_named(model), place as file:
        exported(
            model,
            file,
            algorithm=algorithm,
            form=form,
            inputs=list(inputs) or None,
            output=opened.output,
            at=list(at) or None,
            sum_over=sum_over,
            target=chosen,
            targets=several,
            baselines=starts,
            method=method,
            n_steps=n_steps,
            tolerance=tolerance,
            max_steps=max_steps,
            path_as_input=path_as_input,
            steps_per_run=steps_per_run,
            multiply_by_inputs=multiply_by_inputs is not False,
            per_example=per_example,
            batch_axis=batch_axis and 0,
            prefix=prefix,
            example_inputs=opened.examples or None,
            with_test_data=with_test_data,
            reference=opened.module,
            portable=portable,
            for_runtime=for_runtime,
            batch=batch,
            overwrite=overwrite,
        )
        written = load(file)
        data = _test_data(file) if with_test_data else None
    described, contract = inspect(written), contract_of(written)
    assert contract is not None
    following = None if for_runtime is None else needs_of(for_runtime).next_step(file)
    if as_json:
        told = {"exporter": model.note or None, "test_data": data, "next": following}
        click.echo(to_json({"wrote": str(given), **described.to_dict(), **told}))
        return
    wrote = f"{given}: {call_signature(contract, described.inputs, described.outputs)}"
    for what, said in {"model": model.note, "test data": data, "wrote": wrote, "next": following}.items():
        if said:
            click.echo(f"{what} {said}" if what == "wrote" else f"{what}: {said}")


@dataclass(frozen=True)
class _Opened:
    """A source with the examples on the first axis; ``examples``: values by input; ``module``: a factory's."""

    model: Model
    output: str | None
    examples: dict[str, Any]
    module: Any = None


def _opened(
    source: str, weights: Path | None, examples: Sequence[str], output: str | None, batch_axis: int | None
) -> _Opened:
    from onnx_ig.attribution.batch_axis import examples_first
    from onnx_ig.cli.reading.sources import is_factory, open_factory, open_model, read_arguments
    from onnx_ig.loading.model import load_with_output

    if is_factory(source):
        made = open_factory(source, weights, examples)
        model, output = load_with_output(made.module, output, example_inputs=tuple(made.arguments.values()))
        model, arguments, module = examples_first(model, batch_axis), made.arguments, made.module
    else:
        model, output = open_model(source, weights, examples, output)
        model = examples_first(model, batch_axis)
        arguments, module = read_arguments(model, examples), None
    given = {str(x.name): arguments[str(x.name)] for x in model.inputs if x.name in arguments}
    return _Opened(model, output, given, module)


def _free_place(out: Path | None, triton: Path | None, read: frozenset[Path], overwrite: bool) -> Path:
    """The one that is given of the two, where it may be written."""
    from onnx_ig.common.destination import require_free_file
    from onnx_ig.exporting.triton import require_place_for_entry

    if out and not triton:
        require_free_file(out, read, overwrite=overwrite)
        return out
    if triton and not out:
        require_place_for_entry(triton, read, overwrite=overwrite)
        return triton
    raise UsageError("give either the file to write, -o FILE, or an entry of a model repository, --triton DIR")


def _test_data(file: Path) -> str:
    """What is said of the test data beside the file."""
    from onnx_ig.checking.conformance import FOLDER, NOTE

    return (file.parent / f"{FOLDER}0" / NOTE).read_text(encoding="utf-8").strip().splitlines()[-1]
