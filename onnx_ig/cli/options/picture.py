"""The options that say how pictures become inputs, parsed into one value before a command sees them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from onnx_ig.cli.options.file_names import FILE_NAME

if TYPE_CHECKING:
    from onnx_ig.data import PictureOptions

_SHOWN = (
    click.option(
        "--mean",
        metavar="M[,M,M]",
        help="Subtracted from picture pixels in [0, 1], one number or one per channel. [default: 0]",
    ),
    click.option("--std", metavar="S[,S,S]", help="Then divided by. [default: 1]"),
    click.option(
        "--layout",
        type=click.Choice(("NCHW", "NHWC")),
        help="Axes of a picture input. [default: from the declared shape]",
    ),
    click.option(
        "--size", metavar="HxW", help="Size pictures are brought to. [default: the declared one, else the picture's]"
    ),
)
_PREPARED = (
    click.option(
        "--fit",
        type=click.Choice(("stretch", "crop", "pad")),
        help="A picture of other proportions: stretched, its middle taken, or black laid around it. [default: stretch]",
    ),
    click.option(
        "--resize-shorter",
        "shorter",
        type=click.IntRange(1),
        metavar="PIXELS",
        help="Bring the shorter side to this first, then take the middle of --size.",
    ),
    click.option("--channels", type=click.Choice(("RGB", "BGR")), help="Their order in the input. [default: RGB]"),
    click.option("--scale", type=float, help="What white is before --mean and --std: 1, or 255. [default: 1]"),
    click.option(
        "--preprocess",
        type=FILE_NAME,
        metavar="NAME|FILE",
        help=(
            "All of these at once: imagenet, inception, caffe, or a model's preprocessor_config.json; the others go "
            "before it."
        ),
    ),
)


def pictures(*, prepared: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options as a decorator; the command gets ``pictures``, a :class:`PictureOptions`.

    ``prepared``: those too that a page in a browser does not know.
    """
    shown = (*_SHOWN, *(_PREPARED if prepared else ()))
    further = ["fit", "shorter", "channels", "scale", "preprocess"] if prepared else []

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(*args: Any, **given: Any) -> Any:
            chosen = {name: given.pop(name) for name in ("mean", "std", "layout", "size", *further)}
            return command(*args, pictures=_parsed(**chosen), **given)

        decorated: Any = call
        for option in reversed(shown):
            decorated = option(decorated)
        return decorated

    return decorate


def _parsed(
    mean: str | None, std: str | None, size: str | None, preprocess: str | None = None, **words: Any
) -> PictureOptions:
    from dataclasses import replace

    from onnx_ig.data import PictureOptions, parse_numbers, parse_size, preprocessing

    given: dict[str, Any] = {name: value for name, value in words.items() if value is not None}
    if mean is not None:
        given["mean"] = parse_numbers(mean, "--mean")
    if std is not None:
        given["std"] = parse_numbers(std, "--std")
    if size is not None:
        given["size"] = parse_size(size)
    return replace(PictureOptions() if preprocess is None else preprocessing(preprocess), **given)
