"""The benchmark's tables in Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from tools.benchmarking.peers import ONNX2TORCH
from tools.benchmarking.timing import BATCHES, Row

Columns = Mapping[str, Callable[[Row], str]]
_OURS = {"cpu": "ONNX Runtime", "openvino": "OpenVINO"}


def _number(key: str, form: str) -> Callable[[Row], str]:
    """The row's number, the text in its place, or a dash."""

    def cell(row: Row) -> str:
        value = row.get(key)
        return "–" if value is None else value if isinstance(value, str) else format(value, form)

    return cell


def _ratio(over: str, under: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        a, b = row.get(over), row.get(under)
        return f"{a / b:.2f}" if isinstance(a, float) and isinstance(b, float) else "–"

    return cell


_MODEL = {"model": _number("model", "")}

TIME: Columns = {
    **_MODEL,
    "ONNX Runtime s": _number("cpu", ".3g"),
    "OpenVINO s": _number("openvino", ".3g"),
    "Captum best s": _number("captum", ".3g"),
    "Captum default s": _number("captum default", ".3g"),
    "onnx2torch + Captum s": _number("onnx2torch", ".3g"),
    "limit s": _number("limit", ".3g"),
    "Captum / ONNX Runtime": _ratio("captum", "cpu"),
    "Captum / OpenVINO": _ratio("captum", "openvino"),
    "ONNX Runtime / limit": _ratio("cpu", "limit"),
    "cosine, ONNX Runtime": _number("cpu cosine", ".6f"),
    "cosine, OpenVINO": _number("openvino cosine", ".6f"),
    "cosine, Captum": _number("captum cosine", ".6f"),
}

START: Columns = {
    **_MODEL,
    "file MB": _number("file MB", ".0f"),
    "export s": _number("export s", ".3g"),
    "export MB": _number("export MB", ".0f"),
    "export MB / file MB": _ratio("export MB", "file MB"),
    **{f"open in {title} s": _number(f"open {key}", ".3g") for key, title in _OURS.items()},
    **{f"first call, {title} s": _number(f"{key} first", ".3g") for key, title in _OURS.items()},
    **{f"later calls, {title} s": _number(key, ".3g") for key, title in _OURS.items()},
}

MEMORY: Columns = {
    **_MODEL,
    "internal batch": _number("batch", ""),
    "ONNX Runtime MB": _number("cpu", ".0f"),
    "OpenVINO MB": _number("openvino", ".0f"),
    "Captum MB": _number("captum", ".0f"),
    "ONNX Runtime / Captum": _ratio("cpu", "captum"),
    "OpenVINO / Captum": _ratio("openvino", "captum"),
}

GROWTH: Columns = {
    **_MODEL,
    "grows": _number("grows", ""),
    "seconds": lambda row: ", ".join(f"{value}: {seconds:.3g}" for value, seconds in row["seconds"].items()),
    "cost of one more": lambda row: f"{1000 * row['slope']:.3g} ms per {row['unit']}",
    "largest deviation from a straight line": _number("deviation", ".0%"),
}


def rendered(columns: Columns, rows: Sequence[Row]) -> str:
    """The table."""
    lines = [list(columns), ["---"] * len(columns), *([cell(row) for cell in columns.values()] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def summarised(rows: Sequence[Row]) -> str:
    """Geometric means of Captum's best time over ours, and where we are slower."""
    rows = [row for row in rows if isinstance(row.get("captum"), float)]
    if not rows:
        return "No model that Captum explains."
    faster = {row["model"]: row["captum"] / min(row[key] for key in _OURS if _is_number(row.get(key))) for row in rows}
    slower = ", ".join(name for name, ratio in faster.items() if ratio < 1) or "none"
    return (
        f"Geometric mean of Captum's best time over ours: "
        f"{_geometric_mean([row['captum'] / row['cpu'] for row in rows]):.2f} in ONNX Runtime, "
        f"{_geometric_mean(list(faster.values())):.2f} in the faster of the two runtimes. "
        f"Slower than Captum in both: {slower}."
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, float)


def _geometric_mean(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))


def report(runs: Sequence[Sequence[Row]], steps: int, rounds: int, examples: int) -> str:
    """The whole of the results: each run's times and means, and what only the first run measures."""
    first = [row for row in runs[0] if "file MB" in row]
    parts = [
        f"# Integrated Gradients on CPU, {steps} steps, {examples} example(s), fp32",
        machine(),
        f"Medians of {rounds} rounds in turn (up to 25 where calls are short), after a first call. Captum best: of its "
        f"default and internal batches {', '.join(map(str, BATCHES))}; onnx2torch + Captum: of these batches "
        f"({ONNX2TORCH}, which the benchmark fetches from PyPI), in the first run. Limit: two ONNX Runtime forward "
        "passes per path point. Cosines are to torch in float64.",
    ]
    for number, rows in enumerate(runs, 1):
        parts += [f"## Run {number}", rendered(TIME, rows), summarised(rows)]
    parts += [
        "## Before the first explanation",
        "Opening is of the exported step model; OpenVINO compiles in its first call, whose numbers are checked.",
        rendered(START, first),
        "## Peak memory",
        "Each in a process of its own, above what it is after all imports. An internal batch is an upper bound: where "
        "more rows at once are no faster, ours takes fewer (in ONNX Runtime such that their tensors take 160 MB: three "
        "of ResNet-50 and of ViT-small, two of BERT-base).",
        rendered(MEMORY, [{"model": row["model"], **part} for row in first for part in row["memory"]]),
    ]
    return "\n\n".join(parts) + "\n"


def growth_report(rows: Sequence[Row], rounds: int) -> str:
    """How the cost grows."""
    heading = "# Growth of the cost of Integrated Gradients in ONNX Runtime on CPU, fp32"
    note = (
        f"`python -m tools.benchmark --growth`, medians of {rounds} rounds in turn; the line nearest in relative terms."
    )
    return "\n\n".join([heading, machine(), note, rendered(GROWTH, rows)]) + "\n"


def machine() -> str:
    """Date, machine and versions."""
    import captum
    import onnxruntime
    import torch

    return (
        f"{date.today()}, {os.cpu_count()} cores ({platform.machine()}), onnxruntime {onnxruntime.__version__}, "
        f"torch {torch.__version__}, captum {captum.__version__}."
    )
