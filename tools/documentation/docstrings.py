"""The docstrings of the Python reference, as Markdown: roles are names, examples are blocks of code."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):(?=`)")
_EXAMPLE = re.compile(r"(?:^>>> .*\n?(?:^(?!>>>)\S.*\n?|^(?:\.\.\.|   ).*\n?)*)+", re.MULTILINE)


class AsMarkdown(griffe.Extension):
    """Rewrites every docstring that griffe reads."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Griffe's event: ``obj`` was read."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """Without the roles of reStructuredText, and with fences around the examples of doctest."""
    return _EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", _ROLE.sub("", docstring))
