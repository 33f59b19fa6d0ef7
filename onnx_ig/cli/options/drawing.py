"""The options that say what is drawn, parsed into one value before a command sees them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from onnx_ig.report.style import Style

_OPTIONS = (
    click.option(
        "--draw",
        metavar="N|all|none",
        default="16",
        show_default=True,
        help="How many examples are drawn.",
    ),
    click.option(
        "--smooth",
        type=click.FloatRange(0),
        metavar="PIXELS",
        help="Smooth the attributions that are drawn over a picture. [default: a hundredth of a side above 64 pixels]",
    ),
    click.option(
        "--sign",
        type=click.Choice(("both", "positive", "negative", "absolute")),
        default="both",
        show_default=True,
        help="Which attributions are drawn over a picture.",
    ),
    click.option(
        "--clip",
        type=click.FloatRange(0, 100, min_open=True),
        default=99,
        show_default=True,
        help="The percentile of |attribution| at which the scale of a picture's colours ends.",
    ),
)


@dataclass(frozen=True)
class Drawn:
    """How many examples are drawn, and in which style."""

    count: int
    style: Style


def drawing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options as a decorator; the command gets ``drawn``, a :class:`Drawn`."""

    @functools.wraps(command)
    def call(*args: Any, draw: str, smooth: float | None, sign: Any, clip: float, **given: Any) -> Any:
        from onnx_ig.report.style import Style

        return command(*args, drawn=Drawn(_count(draw), Style(smooth, sign, clip)), **given)

    decorated: Any = call
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _count(text: str) -> int:
    from onnx_ig.errors import UsageError

    if text in ("all", "none"):
        return 0 if text == "none" else 2**31
    if not text.isdecimal():
        raise UsageError(f"--draw {text!r} is no number of examples, all or none")
    return int(text)
