"""``onnx-ig conform``: does a runtime compute what the test data beside a model say?"""

from __future__ import annotations

from pathlib import Path

import click

from onnx_ig.cli.options import shared

RUNTIMES = (
    "onnxruntime", "reference", "openvino", "node", "web",
    "opencv", "tract", "mnn", "litert", "tvm", "iree", "tinygrad", "c", "webgpu",
)  # fmt: skip


@click.command(short_help="Run a model's test data in another runtime.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    default="onnxruntime",
    show_default=True,
    help=(
        "Where to run; reference: the reference evaluator of the onnx package; node: onnxruntime-node; web: "
        "onnxruntime-web in Chromium. opencv to c read files of `onnx-ig export --for`; c: by emx-onnx-cgen; webgpu: "
        "onnxruntime-web in Chromium, by WebGPU's shaders."
    ),
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, min_open=True),
    default=1e-4,
    show_default=True,
    help="On the largest difference, relative to the output's largest element.",
)
@shared.as_json
@shared.everywhere
def conform(model: Path, runtime: str, tolerance: float, as_json: bool) -> None:
    """Run the test data beside MODEL in a runtime; exit code 8 where its numbers differ from the expected ones.

    The data lie in test_data_set_0, test_data_set_1, ... in the layout of ONNX's backend tests: `onnx-ig export
    --with-test-data` writes them.

    \b
    Examples:
      onnx-ig export digits.onnx -o digits_ig/model.onnx --with-test-data
      onnx-ig conform digits_ig/model.onnx --runtime openvino
      onnx-ig export digits.onnx -o phone/model.onnx --for litert --with-test-data
      onnx-ig conform phone/model.onnx --runtime litert
    """
    from onnx_ig.checking.conformance import conform as conformed
    from onnx_ig.cli.terminal.display import print_table, to_json

    report = conformed(model, runtime, tolerance)
    if as_json:
        click.echo(to_json(report, passed=report.passed))
        report.require()
        return
    rows = [
        [row.data_set, row.output, f"{row.max_relative_error:.2e}", "ok" if row.passed else "differs"]
        for row in report.rows
    ]
    print_table(["data set", "output", "max relative error", "result"], rows, right=(2,))
    click.echo(f"{report.runtime}, tolerance {report.tolerance:.0e}")
    report.require()
    click.echo("conforms")
