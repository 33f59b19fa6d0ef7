"""Words on the command line that may name a file, completed as such by the shell.

The one idea: a file may stand behind a name (``NAME=FILE``) or a sign (``@FILE``), and is completed there too.
"""

from __future__ import annotations

import glob
import os
import re

import click
from click.shell_completion import CompletionItem

_BEFORE = re.compile(r"(?:[^=/]*=)?@?")


class FileName(click.types.StringParamType):
    """Text that is taken as it is."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Files that begin like what is written, by the shell itself where nothing stands before them."""
        found = _BEFORE.match(incomplete)
        before = found[0] if found else ""
        if not before:
            return [CompletionItem(incomplete, type="file")]
        paths = sorted(glob.glob(glob.escape(incomplete.removeprefix(before)) + "*"))
        return [CompletionItem(before + path + ("/" if os.path.isdir(path) else "")) for path in paths]


FILE_NAME = FileName()
