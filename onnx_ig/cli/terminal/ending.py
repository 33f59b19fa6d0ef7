"""How a command ends: an exception becomes one message on stderr and an exit code; a warning becomes one line."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import click

from onnx_ig.cli.terminal.wording import in_options
from onnx_ig.errors import OnnxIgError, OnnxIgWarning, OutOfMemoryError

INTERRUPTED = 130
Level = Literal["error", "warning", "info", "debug"]  # each says what those before it say, and more


class Ending:
    """The state of one run: what is said of it, and the warnings given so far."""

    def __init__(self) -> None:
        self.debug = os.environ.get("ONNX_IG_DEBUG", "") not in ("", "0")
        self.level: Level = "info"
        self.warnings: list[str] = []

    def report(self, error: BaseException) -> int:
        """Say on stderr what went wrong; returns the exit code."""
        if isinstance(error, click.exceptions.Exit):
            return int(error.exit_code)
        if isinstance(error, SystemExit):
            return error.code if isinstance(error.code, int) else 1
        if isinstance(error, BrokenPipeError):  # who reads stdout has seen enough, as `| head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's last flush complains
            return 1
        if self.debug:
            traceback.print_exception(error, file=sys.stderr)
        message, code = _message(error)
        click.echo(message, err=True)
        return code

    def warn(self, message: str) -> None:
        """Show one line now, and keep it for the report."""
        line = in_options(" ".join(message.split()))
        if line not in self.warnings:
            self.warnings.append(line)
            if self.level != "error":
                click.echo(f"warning: {line}", err=True)

    @contextmanager
    def warnings_shown(self) -> Iterator[None]:
        """Show onnx_ig's warnings as lines; what libraries say is for developers, and appears with ``--debug`` only."""

        def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any) -> None:
            if issubclass(category, OnnxIgWarning):
                self.warn(str(message))
            elif self.debug:
                click.echo(warnings.formatwarning(message, category, filename, lineno), err=True, nl=False)

        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.simplefilter("always", OnnxIgWarning)
            warnings.showwarning = show  # type: ignore[assignment]
            with self._logs_shown():
                yield

    @contextmanager
    def _logs_shown(self) -> Iterator[None]:
        """Show what libraries log, once ``--log-level debug`` is read."""
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        handler.addFilter(lambda record: self.level == "debug")
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)


def informed() -> bool:
    """Whether notes and progress are to be shown by the command that runs."""
    context = click.get_current_context(silent=True)
    ending = None if context is None else context.find_object(Ending)
    return ending is None or ending.level in ("info", "debug")


def note(text: str) -> None:
    """Say what is no warning, and what nobody needs who knows the data, on stderr."""
    if informed():
        click.echo(f"note: {text}", err=True)


def _message(error: BaseException) -> tuple[str, int]:
    if isinstance(error, OnnxIgError):
        return f"error: {in_options(str(error))}", error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.exceptions.Abort)):
        return "interrupted", INTERRUPTED
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "onnx-ig"
        return f"error: {error.format_message()} (see {path} --help)", error.exit_code
    if isinstance(error, click.ClickException):
        return f"error: {error.format_message()}", error.exit_code
    if isinstance(error, MemoryError):
        return f"error: out of memory: {error}".rstrip(": "), OutOfMemoryError.exit_code
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename is not None else ""
        return f"error: {place}{error.strerror or error}", 1
    first = next(iter(str(error).strip().splitlines()), "")
    kind = type(error).__name__
    return f"internal error: {kind}: {first} (please report it; --debug shows where)".replace(":  (", " ("), 1
