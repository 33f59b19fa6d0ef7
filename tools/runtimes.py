"""The table of runtimes and model forms: does each runtime compute what torch says in float64, and how fast?

    python -m tools.runtimes                                     all of it
    python -m tools.runtimes lstm bert                           these models
    python -m tools.runtimes --portable                          the portable form in the runtimes that it is for
    python -m tools.runtimes --write                             into tools/results/runtimes.md

The one idea: every cell is a file that was exported, its test data and ``onnx-ig conform``, as users have them.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ig
from onnx_ig.checking.conformance import TOLERANCE, conform, read_data_sets
from onnx_ig.checking.runtimes import RUNTIMES, Timed, runtime_named
from onnx_ig.errors import MissingDependencyError, ModelError
from tests.helpers.node_runtime import node_path
from tools import portable_table
from tools.runtime_subjects import LAYERS, SUBJECTS, Subject

_STEPS = 9
RESULTS = Path(__file__).parent / "results" / "runtimes.md"
_PORTABLE = "## The portable form"

# what is exported of each model; keyword arguments of onnx_ig.export
FORMS: dict[str, dict[str, Any]] = {
    "complete, loop": {"n_steps": _STEPS, "steps_per_run": 4, "target": "predicted"},
    "complete, no loop": {"n_steps": _STEPS, "steps_per_run": 0, "target": "predicted"},
    "complete, tolerance": {"tolerance": 0.02, "target": "predicted"},
    "complete, all open": {"baselines": "input", "path_as_input": True, "steps_per_run": 4},
    "step": {"form": "step", "baselines": "input"},
    "input-x-gradient": {"algorithm": "input-x-gradient"},
}
# of the portable form, in each runtime that it is for
PORTABLE_FORMS: dict[str, dict[str, Any]] = {
    "predicted": {"n_steps": _STEPS, "steps_per_run": 4, "target": "predicted"},
    "baked": {"n_steps": _STEPS, "steps_per_run": 4, "target": 1},
}


@dataclass(frozen=True)
class Cell:
    """``error``: of the worst output, None where the runtime refused, for ``reason``; ``seconds`` of one run."""

    model: str
    form: str
    runtime: str
    error: float | None
    reason: str = ""
    seconds: float | None = None


def make(subject: Subject, form: str, folder: Path) -> Path:
    """Export one form with its test data; returns the model's path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return onnx_ig.export(
            subject.model,
            folder / "model.onnx",
            inputs=subject.attributed,
            with_test_data=subject.arguments,
            reference=subject.module,
            **FORMS[form],
        )


def make_portable(subject: Subject, form: str, folder: Path, for_runtime: str | None, test_data: bool = True) -> Path:
    """Export one of the portable forms; returns the model's path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return onnx_ig.export(
            subject.model,
            folder / "model.onnx",
            inputs=subject.attributed,
            at=subject.at,
            example_inputs=subject.arguments,
            with_test_data=subject.arguments if test_data else False,
            reference=subject.module,
            portable=True,
            for_runtime=for_runtime,
            **PORTABLE_FORMS[form],
        )


def judge(name: str, form: str, path: Path, runtime: str, times: bool = False) -> Cell:
    """Run the test data of ``path`` in ``runtime``."""
    try:
        report = conform(path, runtime)
    except ModelError as error:
        return Cell(name, form, runtime, None, str(error))
    except MissingDependencyError as error:
        return Cell(name, form, runtime, None, f"not installed here: {error}")
    return Cell(name, form, runtime, report.worst, "", _seconds(path, runtime) if times else None)


def _seconds(path: Path, runtime: str, runs: int = 5) -> float:
    opened, feeds = RUNTIMES[runtime].open(path), read_data_sets(path)[0].inputs
    if isinstance(opened, Timed):
        return opened.seconds(feeds, runs)
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        opened.run(feeds)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[runs // 2]


def table(models: Iterable[str]) -> list[Cell]:
    """Every cell, in order."""
    cells = []
    for name in models:
        subject = SUBJECTS[name]()
        for form in FORMS:
            with tempfile.TemporaryDirectory(prefix="onnx_ig_") as folder:
                path = make(subject, form, Path(folder))
                cells += [judge(name, form, path, runtime, times=True) for runtime in RUNTIMES]
    return cells


def markdown(cells: list[Cell]) -> str:
    """The table as Markdown, every refusal explained below it."""
    lines = [
        f"Made by `python -m tools.runtimes` on {datetime.date.today().isoformat()}, "
        f"{platform.system()} {platform.machine()}, CPU, float32.",
        "",
        "Largest relative error of any output against torch in float64, targets out of range (which must give NaN) "
        f"included; a cell beyond {TOLERANCE:.0e} is marked **wrong**. Then the time of one run, tensors in place, the "
        "median of five: in ONNX Runtime's Python package, in the others over that one. onnxruntime-web has one "
        "thread, the others as many as they choose.",
        "",
        "A tolerance takes up to 97 points here, and at each of them resnet18 has tens of thousands of ReLUs: float32 "
        "puts one or the other of them on another side of its kink, which shows at about 1e-04.",
        "",
        "| model | form | " + " | ".join(f"{e.title} {_version(e.name)}" for e in RUNTIMES.values()) + " |",
        "|---|---|" + "---|" * len(RUNTIMES),
    ]
    notes: dict[str, int] = {}
    for name, form in dict.fromkeys((c.model, c.form) for c in cells):
        row = {c.runtime: c for c in cells if (c.model, c.form) == (name, form)}
        base = row["onnxruntime"]
        lines.append(f"| {name} | {form} | " + " | ".join(_shown(row[r], base, notes) for r in RUNTIMES) + " |")
    return "\n".join([*lines, "", *(f"{number}. {reason}" for reason, number in notes.items())]).rstrip() + "\n"


def _shown(cell: Cell, base: Cell, notes: dict[str, int]) -> str:
    if cell.error is None:
        return f"refused ({notes.setdefault(cell.reason, len(notes) + 1)})"
    text = f"{cell.error:.1e}" + ("" if cell.error <= TOLERANCE else " **wrong**")
    if cell.seconds is None or base.seconds is None:
        return text
    time_taken = f"{1000 * cell.seconds:.3g} ms" if cell is base else f"× {cell.seconds / base.seconds:.3g}"
    return f"{text}, {time_taken}"


def _version(runtime: str) -> str:
    try:
        return runtime_named(runtime).version()
    except MissingDependencyError:
        return "(not installed)"


def main() -> int:
    """Print the table; exit status 1 if a cell is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", choices=[[], *SUBJECTS, *LAYERS], help="default: all")
    parser.add_argument("--portable", action="store_true", help="the portable form, in the runtimes that it is for")
    parser.add_argument("--only", default=",".join(portable_table.COLUMNS), help="of the portable form: r1,r2,...")
    parser.add_argument("--patience", type=float, default=900, help="seconds that one cell of these may take")
    parser.add_argument("--write", action="store_true", help=f"into {RESULTS}, whose other part stays")
    options = parser.parse_args()
    os.environ["NODE_PATH"] = node_path()
    models = options.models or list(SUBJECTS)
    if options.portable:
        return _portable(options.models or [*SUBJECTS, *LAYERS], options.only.split(","), options)
    cells = table(models)
    text = markdown(cells)
    print(text)
    if options.write:
        write_part(0, text)
    return int(any(c.error is not None and not c.error <= TOLERANCE for c in cells))


def _portable(models: list[str], runtimes: list[str], options: argparse.Namespace) -> int:
    """Model by model, so that what was measured stays measured when it is ended."""
    measured: list[portable_table.PortableCell] = []
    text = ""
    for model in models:
        new = portable_table.measure([model], runtimes, options.patience)
        measured += new
        text = portable_table.markdown(
            portable_table.keep(new) if options.write else portable_table.merged([], measured)
        )
        if options.write:
            write_part(1, text)
    print(text)
    return int(any(cell.result == portable_table.WRONG for cell in measured))


def write_part(part: int, text: str) -> None:
    """Into the file of results: 0, the five runtimes of the full standard; 1, the portable form."""
    parts = RESULTS.read_text("utf-8").split(_PORTABLE) if RESULTS.is_file() else ["# Runtimes\n\n"]
    parts = [*parts, ""][:2]
    parts[part] = "\n\n" + text if part else f"# Runtimes\n\n{text}\n"
    RESULTS.write_text(parts[0].rstrip() + "\n\n" + _PORTABLE + parts[1] if parts[1] else parts[0], "utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
