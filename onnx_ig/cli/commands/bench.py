"""``onnx-ig bench``: how long a model and its attributions take here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnx_ig.cli.options import shared
from onnx_ig.cli.options.file_names import FILE_NAME
from onnx_ig.errors import UsageError

if TYPE_CHECKING:
    from onnx_ig.common.types import Algorithm, Provider
    from onnx_ig.timing import Timing


@click.command(short_help="How long attributions take here, in each provider.")
@click.argument("model", type=FILE_NAME)
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Examples in one call, where they are drawn and the model takes any number.",
)
@shared.algorithm
@shared.method
@shared.n_steps
@shared.tolerance
@shared.output_name
@shared.at
@shared.batch_axis
@click.option(
    "--provider",
    "providers",
    type=click.Choice(shared.PROVIDERS),
    multiple=True,
    default=("auto",),
    show_default=True,
    help="Where to run. Repeatable: one after the other.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0),
    default=3.0,
    show_default=True,
    help="How long each kind of call is repeated, three times at least.",
)
@shared.weights
@shared.example_input
@shared.as_json
@shared.everywhere
def bench(
    model: str,
    batch: int,
    algorithm: Algorithm | None,
    method: str | None,
    n_steps: int | None,
    tolerance: float | None,
    max_steps: int | None,
    output: str | None,
    at: Sequence[str],
    batch_axis: int | None,
    providers: Sequence[Provider],
    seconds: float,
    weights: Path | None,
    examples: Sequence[str],
    as_json: bool,
) -> None:
    """Time the forward pass of MODEL and the attributions of its predicted class; of an attribution model, its Run.

    MODEL is what `attribute` takes. Inputs that --example-input does not give are drawn at random. "first" opens the
    model and builds the gradient; the other columns are of the calls after it. Another process on the machine shows in
    p99 first.

    \b
    Examples:
      onnx-ig bench digits.onnx
      onnx-ig bench resnet.onnx --batch 8 --n-steps 20 --provider cpu --provider openvino
      onnx-ig bench explained.onnx --json
    """
    from onnx_ig.cli.options.path import requested_rule
    from onnx_ig.cli.reading.sources import is_factory, open_model, read_arguments
    from onnx_ig.cli.terminal.display import print_table, to_json
    from onnx_ig.inspection import contract_of
    from onnx_ig.timing import time_model

    rule = requested_rule(algorithm, method, n_steps, tolerance, max_steps)
    loaded, output = open_model(model, weights, examples if is_factory(model) else (), output)
    if contract_of(loaded) is not None:
        chosen = {
            "--algorithm": algorithm,
            "--method": method,
            "--n-steps": n_steps,
            "--tolerance": tolerance,
            "--at": at,
        }
        _refuse_what_is_baked(chosen)
    values = read_arguments(loaded, () if is_factory(model) else examples)
    timings = [
        timing
        for provider in providers
        for timing in time_model(
            loaded,
            rule,
            algorithm=algorithm or shared.DEFAULT_ALGORITHM,
            provider=provider,
            examples=batch,
            values=values,
            output=output,
            at=list(at) or None,
            batch_axis=batch_axis,
            seconds=seconds,
        )
    ]
    if as_json:
        click.echo(to_json({"model": model, "timings": [timing.to_dict() for timing in timings]}))
        return
    columns = ["what", "provider", "examples", "steps", "calls", "first", "least", "median", "p99", "examples/s"]
    print_table(columns, [_row(timing) for timing in timings], right=range(2, len(columns)))


def _refuse_what_is_baked(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value:
            raise UsageError(f"{name} goes with ordinary models: what an attribution model computes is baked into it")


def _row(timing: Timing) -> list[str]:
    times = (timing.first, min(timing.seconds), timing.median, timing.percentile(99))
    return [
        timing.what,
        timing.provider,
        str(timing.examples),
        "" if timing.points is None else f"{timing.points:.4g}",
        str(len(timing.seconds)),
        *(_duration(t) for t in times),
        f"{timing.examples_per_second:.4g}",
    ]


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"
