"""Options that several commands share, each defined once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from onnx_ig.cli.options.config import config
from onnx_ig.cli.options.file_names import FILE_NAME
from onnx_ig.cli.terminal.ending import Ending, Level

if TYPE_CHECKING:  # numpy is not needed for --help
    from onnx_ig.common.types import Algorithm, Rule

ALGORITHMS: tuple[Algorithm, ...] = ("integrated-gradients", "input-x-gradient", "grad-cam", "hirescam")
METHODS: tuple[Rule, ...] = ("gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid")
PROVIDERS = ("auto", "cpu", "cuda", "cuda-tf32", "tensorrt", "openvino", "openvino-bf16")
# onnx_ig.exporting.portable.runtimes.NEEDS, which is slow to import for a --help
PORTABLE_FOR = (
    "opencv", "opencv4", "litert", "tract", "mnn", "tvm", "iree", "tinygrad", "c", "webgpu", "tensorrt",
    "coreml", "qnn",
)  # fmt: skip
DEFAULT_ALGORITHM, DEFAULT_METHOD, DEFAULT_STEPS = ALGORITHMS[0], METHODS[0], 50

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]


def together(*options: Decorator[Any]) -> Decorator[Any]:
    """Several options as one decorator, shown in the order given."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _remember_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and isinstance(context.obj, Ending):
        context.obj.debug = True


def _remember_level(context: click.Context, parameter: click.Parameter, value: Level | None) -> None:
    if value is not None and isinstance(context.obj, Ending):
        context.obj.level = value
        context.obj.debug |= value == "debug"


everywhere = together(
    config,
    click.option(
        "--log-level",
        type=click.Choice(get_args(Level)),
        expose_value=False,
        callback=_remember_level,
        help=(
            "What is said on stderr: errors alone, warnings too, notes and progress too (info), or also tracebacks and "
            "what libraries log (debug). [default: info]"
        ),
    ),
    click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_remember_debug,
        help="Show tracebacks (also: ONNX_IG_DEBUG=1).",
    ),
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")

algorithm = click.option(
    "--algorithm",
    type=click.Choice(ALGORITHMS),
    help=f"What to compute; grad-cam and hirescam: a map of the convolution in --at. [default: {DEFAULT_ALGORITHM}]",
)
method = click.option(
    "--method", type=click.Choice(METHODS), help=f"Quadrature rule along the path. [default: {DEFAULT_METHOD}]"
)
n_steps = click.option(
    "--n-steps", type=click.IntRange(1), help=f"Path points; more make the delta smaller. [default: {DEFAULT_STEPS}]"
)
tolerance = together(
    click.option(
        "--tolerance",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help=(
            "Instead of --n-steps: add path points to each example until the estimated relative error of its "
            "attributions is at most this, such as 0.01."
        ),
    ),
    click.option(
        "--max-steps",
        type=click.IntRange(8),
        help="With --tolerance, at most this many steps; exit code 7 if they do not suffice. [default: 1024]",
    ),
)
output_name = click.option(
    "--output",
    metavar="NAME",
    help=(
        "The float tensor to explain, also one inside the graph; of what a PyTorch model returns a key, a field or a "
        "position. [default: the only float output]"
    ),
)
at = click.option(
    "--at",
    multiple=True,
    metavar="NAME",
    help=(
        "Report the attribution of this tensor inside the graph (an embedding, a layer) instead of "
        "the inputs'; `onnx-ig inspect` lists them. Repeatable."
    ),
)
sum_over = click.option(
    "--sum-over",
    type=click.Choice(("channels", "embedding")),
    help=(
        "Add the attributions up along the axis of channels (the one behind the examples; the last of an NHWC input) "
        "or of an embedding's vectors (the last); it stays, with size 1. [default: every element its own]"
    ),
)
per_example = click.option(
    "--per-example",
    multiple=True,
    metavar="NAME",
    help="An additional input with one row per example, where its shape does not tell. Repeatable.",
)
batch_axis = click.option(
    "--batch-axis",
    type=click.Choice(("0", "1", "2", "3", "none")),
    default="0",
    show_default=True,
    callback=lambda context, parameter, value: None if value == "none" else int(value),
    help=(
        "Where the examples are in an .onnx model's inputs; data is given, and models are written, with the examples "
        "on axis 0. none: the tensors hold one example."
    ),
)
extra = click.option(
    "--extra",
    type=FILE_NAME,
    multiple=True,
    metavar="NAME=FILE",
    help="Data of an input that is not attributed. Repeatable.",
)
multiply = click.option(
    "--multiply-by-inputs/--no-multiply-by-inputs",
    default=None,
    help="Keep the factor (x − baseline), or leave it out (local attribution). [default: keep]",
)
noise = together(
    click.option(
        "--noise-samples",
        type=click.IntRange(1),
        help="Average over this many inputs with noise (SmoothGrad). [default: without noise]",
    ),
    click.option(
        "--noise-std",
        type=click.FloatRange(0),
        help="Its standard deviation, in the input's own units; a tenth of their range is usual.",
    ),
    click.option(
        "--noise-kind",
        type=click.Choice(("smoothgrad", "smoothgrad_sq", "vargrad")),
        help="The mean of the attributions, of their squares, or their variance. [default: smoothgrad]",
    ),
    click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the noise."),
)
provider = click.option(
    "--provider",
    type=click.Choice(PROVIDERS),
    default="auto",
    show_default=True,
    help=(
        "Where to run; auto: CUDA if it really opens, else the faster of ONNX Runtime (cpu) and OpenVINO where that is "
        "installed. Products are rounded by tensorrt, -tf32 and -bf16."
    ),
)
weights = click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="State dict or .safetensors for package.module:factory.",
)
example_input = click.option(
    "--example-input",
    "examples",
    multiple=True,
    type=FILE_NAME,
    metavar="[NAME=]FILE|SHAPE",
    help=(
        "What package.module:factory is called with: a .npy/.npz file, or a shape such as "
        "1x3x224x224 or 2x16:int64 (random floats, zero integers). Once per argument. Of an .onnx file: data of "
        "its inputs, from which numbers of axes are taken that only a run tells."
    ),
)
sounds = together(
    click.option(
        "--sample-rate",
        "sample_rate",
        type=click.IntRange(1),
        metavar="HZ",
        help="Samples a second that the model takes: sound files are resampled to it. [default: the file's own]",
    ),
    click.option("--mono", is_flag=True, help="Average the channels of sound files. [default: if the input has one]"),
)
texts = together(
    click.option(
        "--tokenizer",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The tokenizer.json of a model of text, or the folder that holds it, for sentences in -i.",
    ),
    click.option("--text-key", default="text", show_default=True, help="What .jsonl files call the sentence."),
)
on_error = click.option(
    "--on-error",
    type=click.Choice(("stop", "skip")),
    default="stop",
    show_default=True,
    help=(
        "What to do with rows of tables, arrays and texts that lack a value, hold one that is no finite number (or no "
        "class, as a target), are of another length or too long, or cannot be read: stop, or leave them out of all "
        "files and list them. The others are called by their rows."
    ),
)
pieces = together(
    click.option(
        "--rows-per-file",
        type=click.IntRange(1),
        metavar="N",
        help="Examples that are explained and written together. [default: as many as 64 MB hold, 8192 at most]",
    ),
    click.option(
        "--format",
        "form",
        type=click.Choice(("npz", "safetensors")),
        default="npz",
        show_default=True,
        help="Of the files of arrays; a table is written beside them as CSV or Parquet, as it was given.",
    ),
    click.option(
        "--resume", is_flag=True, help="Continue a run that was interrupted: what it finished is not computed again."
    ),
)
names = click.option(
    "--names",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=(
        'Names to show, in JSON: {"features": [...], "classes": [...]}. A list of lists has one list of features '
        "for each example, such as the words of its sentence; {tensor: names} tells several tensors apart. Of classes "
        "alone also a list, a .txt with one in each line, or a config.json with id2label."
    ),
)
overwrite = click.option(
    "--overwrite",
    is_flag=True,
    help="Replace files in DIR that no earlier run of this command wrote; never those that it reads.",
)
allow_nonfinite = click.option(
    "--allow-nonfinite", is_flag=True, help="Accept NaN and infinity in inputs and baselines."
)
