"""The pages of docs/ as programs: their fenced blocks are run in order, and the pictures that they make are theirs.

The one idea: a page is the only place where a command, what it prints and the picture it makes are written down.

* ``bash`` blocks are run line by line, `onnx-ig` in this process; they must end with exit code 0.
* ``python`` blocks share one namespace per page, as in a notebook.
* Each line of a ``text`` block behind one of them must be among what that printed; ``...`` stands for anything.
* A block that cannot be run has the attribute ``data-not-run`` with the reason, which the page shows.
* A picture with the attribute ``data-made`` is a copy of that file, as the page's blocks have made it; ``*`` stands for
  a part of its name.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from onnx_ig.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS)): path for path in sorted(DOCS.rglob("*.md"))}
_FENCE = re.compile(r"^```(?P<head>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_MADE = re.compile(r"!\[[^\]]*\]\((?P<shown>[^)]+)\)\{[^}]*data-made=\"(?P<made>[^\"]+)\"[^}]*\}")
_BESIDE = ("models", "tools")  # what a page finds in its folder, as in the root of the repository


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, its text, and why it is not run ("" where it is)."""

    page: str
    line: int
    language: str
    code: str
    not_run: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = PAGES[page].read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        head = match["head"].strip()
        language = re.match(r"\{?\s*\.?(\w*)", head)
        reason = re.search(r'data-not-run="([^"]+)"', head)
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(page, line, language[1] if language else "", match["code"], reason[1] if reason else ""))
    return found


def pictures(page: str) -> list[tuple[Path, str]]:
    """The pictures of a page that its blocks make: the file in docs/, and the pattern of what it is a copy of."""
    folder = PAGES[page].parent
    return [
        ((folder / match["shown"]).resolve(), match["made"]) for match in _MADE.finditer(PAGES[page].read_text("utf-8"))
    ]


def made(folder: Path, pattern: str) -> Path:
    """The one file that a page's blocks made in ``folder`` and that ``pattern`` means."""
    found = list(folder.glob(pattern))
    assert len(found) == 1, f"{pattern} means {len(found)} files: {found}"
    return found[0]


def run_page(page: str, folder: Path) -> None:
    """Run the blocks of a page in ``folder``.

    Raises:
        AssertionError: a command failed, or printed something else than the page says; what Python raises.
    """
    for name in _BESIDE:
        (folder / name).symlink_to(ROOT / name)
    namespace: dict[str, Any] = {"__name__": "__page__"}
    printed = ""
    with chdir(folder):
        for block in blocks(page):
            if block.not_run:
                printed = ""
            elif block.language == "bash":
                printed = "".join(_commands(block))
            elif block.language == "python":
                printed = _snippet(block, namespace)
            elif block.language == "text":
                _require_said(block, printed)


def _commands(block: Block) -> Iterator[str]:
    for line in block.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["onnx-ig"]:
            result = CliRunner().invoke(app, words[1:])
            code, output = result.exit_code, result.output
        elif words:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            run = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", line],
                env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            code, output = run.returncode, run.stdout
        else:
            continue
        assert code == 0, f"{block.page}, line {block.line}: {line}\n{output}"
        yield output


def _snippet(block: Block, namespace: dict[str, Any]) -> str:
    """What the snippet printed; an error names the page and the line in it."""
    source = "\n" * (block.line - 1) + block.code
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(source, str(DOCS / block.page), "exec"), namespace)
    return printed.getvalue()


def _require_said(block: Block, printed: str) -> None:
    """Blanks count as one; ``...`` stands for anything within a line."""
    said = [" ".join(line.split()) for line in printed.splitlines()]
    for line in filter(None, (" ".join(line.split()) for line in block.code.splitlines())):
        pattern = ".*".join(re.escape(part.strip()) for part in line.split("..."))
        assert any(re.search(pattern, one) for one in said), (
            f"{block.page}, line {block.line}: not printed: {line}\n{printed}"
        )
