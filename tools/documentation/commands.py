"""The command-line reference, from what click knows: a hook of mkdocs, which calls ``on_page_markdown`` for each page.

The one idea: a page says ``<!-- commands -->``, and every command stands there with the words of its ``--help``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from html import escape
from typing import Any

import click

from onnx_ig.cli import app

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with the commands in the place of the mark."""
    return markdown.replace(MARK, "\n\n".join(_commands())) if MARK in markdown else markdown


def _commands() -> Iterator[str]:
    context = click.Context(app, info_name="onnx-ig", **app.context_settings)
    yield from _described(app, context)
    for name in app.list_commands(context):
        command = app.commands[name]
        yield f"## {name}"
        yield from _described(command, click.Context(command, context, name, **command.context_settings))


def _described(command: click.Command, context: click.Context) -> Iterator[str]:
    """Usage, the paragraphs of the help, and a table of the options."""
    usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
    yield f"```text\n{usage}\n```"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        as_it_stands = paragraph.removeprefix("\b\n")
        if as_it_stands.startswith("Examples:\n"):
            examples = inspect.cleandoc(as_it_stands.removeprefix("Examples:\n"))
            yield f"```bash\n{examples}\n```"
        else:
            yield escape(as_it_stands, quote=False)
    options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
    records = [record for one in options if (record := one.get_help_record(context))]
    yield "\n".join(["| option | what it does |", "|---|---|", *map(_row, records)])


def _row(record: tuple[str, str]) -> str:
    option, said = (part.replace("|", "&#124;") for part in record)
    option = option.replace("[", "&#91;").replace("<", "&lt;").replace("&#124;", "&#124;<wbr>")
    return f"| <code>{option}</code> | {said.replace('<', '&lt;')} |"
