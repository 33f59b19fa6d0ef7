"""``--config FILE``: options in a TOML file, for what is called again and again.

The one idea: an option has the name and the meaning that it has on the command line, which wins where both give it, or
where an option there and one in the file exclude each other.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from onnx_ig.common.suggestions import nearest
from onnx_ig.errors import UsageError

_OF_A_PATH = ("method", "n_steps", "tolerance", "max_steps", "path_as_input", "steps_per_run", "baselines")
# Options that exclude each other, by the names of their parameters; the first where it has this value (None: any), and
# then on the command line alone: in the file it decides what is computed, and to leave it out would be silent.
_EXCLUSIVE: tuple[tuple[str, str | None, tuple[str, ...]], ...] = (
    ("target", None, ("targets",)),
    ("tolerance", None, ("method", "n_steps", "path_as_input", "portable", "for_runtime")),
    ("max_steps", None, ("method", "n_steps")),
    ("path_as_input", None, ("method", "n_steps")),
    ("form", "step", ("method", "n_steps", "steps_per_run")),
    ("out", None, ("triton",)),
    ("shorter", None, ("fit",)),
    ("algorithm", "input-x-gradient", _OF_A_PATH),
    ("algorithm", "grad-cam", _OF_A_PATH),
    ("algorithm", "hirescam", _OF_A_PATH),
)


class _Config(click.Option):
    """The option that is read before all others, and knows which of them the command line has."""

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """Read the file, then leave out what the command line excludes."""
        found = super().handle_parse_result(ctx, opts, args)
        in_file = ctx.default_map or {}
        for name in [name for name in in_file if any(_exclude(name, other, opts) for other in opts)]:
            del ctx.default_map[name]  # type: ignore[union-attr]
        return found


def _exclude(one: str, other: str, others: Mapping[str, Any]) -> bool:
    """Whether option ``one`` of the file gives way to the ``other``, which the command line has among ``others``."""
    return one != other and any(
        (name in (one, other) and {one, other} - {name} <= {*excluded})
        and (value is None or (name == other and others[name] == value))
        for name, value, excluded in _EXCLUSIVE
    )


def _read(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Take the options in the file as defaults of the command.

    Raises:
        UsageError: no such file, no TOML, an option that the command does not have, or a value that it cannot take.
    """
    if path is None:
        return
    where = f"--config {path}"
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror or error}") from error
    except ValueError as error:  # of TOML or of UTF-8
        raise UsageError(f"{where}: not a TOML file ({error})") from error
    known = {
        name.lstrip("-"): one for one in context.command.params for name in one.opts if one.expose_value
    }  # --n-steps is n-steps, MODEL model
    group = context.parent.command if context.parent is not None else None
    commands = group.commands if isinstance(group, click.Group) else {}
    options = {name: value for name, value in content.items() if name in known or name not in commands}
    own = content.get(str(context.command.name))
    context.default_map = {}
    for name, value in (options | own if isinstance(own, dict) else options).items():
        option = known.get(name.replace("_", "-"), known.get(name))
        if option is None:
            close = nearest(name, known)
            raise UsageError(f"{where}: {context.command_path} has no option {name!r}{close}; --help lists them")
        context.default_map[str(option.name)] = _value(option, value, f"{where}: {name}")


def _value(option: click.Parameter, value: Any, where: str) -> Any:
    """``value`` as click takes it from a program: text of what is no switch, a list where an option is repeatable."""
    is_switch = isinstance(option, click.Option) and option.is_flag
    if is_switch != isinstance(value, bool):
        raise UsageError(f"{where} is {value!r}; " + ("true or false is meant" if is_switch else "true means nothing"))
    if is_switch:
        return value
    if isinstance(option, click.Option) and option.multiple:
        return [_text(one, where) for one in _entries(value)]
    return _text(value, where)


def _entries(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [f"{name}={_text(one, name)}" for name, one in value.items()]
    return value if isinstance(value, list) else [value]


def _text(value: Any, where: str) -> str:
    if isinstance(value, list):
        return ",".join(_text(one, where) for one in value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UsageError(f"{where} holds {value!r}; text or a number is meant")
    return str(value)


config = click.option(
    "--config",
    cls=_Config,
    type=click.Path(path_type=Path),
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=_read,
    help=(
        "TOML with options by their names without dashes (n-steps = 20), MODEL among them; a table called like the "
        "command ([attribute]) holds its own. The command line wins where it has the same option, or one that excludes "
        "it: --targets a target, --tolerance n-steps."
    ),
)
