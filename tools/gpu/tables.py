"""Rows of results: printed as they come, kept in one JSON file per device, and written as Markdown tables.

The one idea: a row is known by its part, model and case, so a later run replaces what it measures again and nothing
else; a cell that could not be measured is a text that begins with FAILED.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Row: TypeAlias = dict[str, Any]
FAILED = "failed: "
CASE = ("part", "model", "precision", "examples", "layout")
RESULTS = Path(__file__).parent.parent / "results"


def attempt(call: Callable[[], Any]) -> Any:
    """What ``call`` gives, or the reason why it gives nothing."""
    try:
        return call()
    except Exception as error:  # a driver, a compiler or a runtime may raise anything: it is the cell's content
        lines = str(error).strip().splitlines() or [""]
        return f"{FAILED}{type(error).__name__}: {lines[0][:300]}"


def has_failed(row: Row) -> bool:
    """Whether any cell of the row says so."""
    return any(isinstance(cell, str) and cell.startswith(FAILED) for cell in row.values())


def ratio(a: Any, b: Any) -> Any:
    """a / b where both were measured."""
    return a / b if isinstance(a, float) and isinstance(b, float) else "not measured"


def line(cells: Iterable[Any]) -> str:
    """One line of a Markdown table."""
    texts = (f"{cell:.4g}" if isinstance(cell, float) else str(cell).replace("|", "/") for cell in cells)
    return "| " + " | ".join(texts) + " |"


def document(head: dict[str, Any], rows: list[Row]) -> str:
    """The Markdown page: one table per part."""
    said = ", ".join(f"{name} {value}" for name, value in head["versions"].items() if value is not None)
    parts = [f"# Integrated Gradients on {head['device']}", f"{head['date']}; {said}; `{head['command']}`."]
    for part in dict.fromkeys(row["part"] for row in rows):
        own = [row for row in rows if row["part"] == part]
        columns = list(dict.fromkeys(name for row in own for name in row if name != "part"))
        table = [line(columns), "|" + "---|" * len(columns)]
        parts += [f"## {part}", "\n".join(table + [line(row.get(name, "") for name in columns) for row in own])]
    return "\n\n".join([*parts, summary(rows)]) + "\n"


def summary(rows: list[Row]) -> str:
    """Geometric means of Captum's time over ours, and how many rows hold a failure."""
    lines = []
    for precision in dict.fromkeys(row["precision"] for row in rows if row["part"] == "speed"):
        own = [row for row in rows if row["part"] == "speed" and row["precision"] == precision]
        for column in ("eager / ours", "compiled / ours"):
            ratios = [row[column] for row in own if isinstance(row.get(column), float)]
            mean = f"{np.exp(np.mean(np.log(ratios))):.2f}, least {min(ratios):.2f}" if ratios else "not measured"
            lines.append(f"* {precision}, {column}: geometric mean {mean} ({len(ratios)} of {len(own)} rows)")
    failed = sum(map(has_failed, rows))
    return "\n".join([*lines, f"* {len(rows)} rows, {failed} with a failure"])


def save(head: dict[str, Any], rows: list[Row]) -> None:
    """Replace these rows in the device's files, and keep its others."""
    stem = "gpu_" + re.sub(r"[^a-z0-9]+", "_", head["device"].lower()).strip("_")
    path = RESULTS / f"{stem}.json"
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    merged = {tuple(row.get(key) for key in CASE): row for row in [*earlier, *rows]}
    kept = list(merged.values())
    path.write_text(json.dumps({**head, "rows": kept}, indent=1) + "\n")
    path.with_suffix(".md").write_text(document(head, kept))
