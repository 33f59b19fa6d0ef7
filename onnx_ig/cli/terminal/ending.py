"""How a command ends: an exception becomes one message on stderr and an exit code; a warning becomes one line."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from onnx_ig.cli.terminal.wording import in_options
from onnx_ig.errors import OnnxIgError, OnnxIgWarning, OutOfMemoryError

INTERRUPTED = 130


class Ending:
    """The state of one run: whether tracebacks are wanted, and the warnings given so far."""

    def __init__(self) -> None:
        self.debug = os.environ.get("ONNX_IG_DEBUG", "") not in ("", "0")
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
            click.echo(f"warning: {line}", err=True)

    @contextmanager
    def warnings_shown(self) -> Iterator[None]:
        """Show onnx_ig's warnings as lines; those of libraries are for developers and appear with ``--debug`` only."""

        def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any) -> None:
            if issubclass(category, OnnxIgWarning):
                self.warn(str(message))
            elif self.debug:
                click.echo(warnings.formatwarning(message, category, filename, lineno), err=True, nl=False)

        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.simplefilter("always", OnnxIgWarning)
            warnings.showwarning = show  # type: ignore[assignment]
            yield


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
