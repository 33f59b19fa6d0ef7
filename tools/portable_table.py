"""The table of the portable form: every model in every runtime that it is for, right or refused by name beforehand.

    python -m tools.other_runtimes                             installs those that are no extras
    python -m tools.runtimes --portable --write
    python -m tools.runtimes --portable lstm --only tract,mnn

The one idea: runtimes exclude one another (two OpenCVs, each compiler's own NumPy) and some end the process that they
run in, so each cell is judged in a process of its own, which finds the packages of its runtime.
"""

from __future__ import annotations

import datetime
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from onnx_ig.checking.conformance import FOLDER, TOLERANCE
from onnx_ig.errors import OnnxIgError
from onnx_ig.exporting.portable.runtimes import NEEDS
from tools.other_runtimes import settings
from tools.runtime_subjects import LAYERS, SUBJECTS

RESULTS = Path(__file__).parent / "results"
CELLS = RESULTS / "runtimes_portable.json"
# the runtimes of the table as `export --for` names them, and as `conform --runtime` does where that is another name
COLUMNS: dict[str, str] = {
    "opencv": "opencv", "opencv4": "opencv", "tract": "tract", "mnn": "mnn", "litert": "litert", "tvm": "tvm",
    "iree": "iree", "tinygrad": "tinygrad", "c": "c", "webgpu": "webgpu",
}  # fmt: skip
RIGHT, WRONG, BEFOREHAND, REFUSED, ABSENT, LATE = "right", "wrong", "beforehand", "refused", "not installed", "too long"
_JUDGE = """
import sys
from tools.portable_table import judged_here
print("cell:" + judged_here(sys.argv[1], sys.argv[2]))
"""


@dataclass(frozen=True)
class PortableCell:
    """A model's portable form (``target``) in a runtime.

    ``result``: right, wrong (by ``error``, the worst output's), beforehand (refused by export), refused (by the runtime
    itself), not installed, or too long; ``reason`` of the last four.
    """

    model: str
    target: str
    runtime: str
    result: str
    error: float | None = None
    reason: str = ""
    version: str = ""
    measured: str = ""


def measure(models: Iterable[str], runtimes: Sequence[str], patience: float) -> list[PortableCell]:
    """The cells of ``models`` × ``runtimes``; ``patience``: seconds that one cell may take."""
    from tools.runtimes import PORTABLE_FORMS, make_portable

    cells = []
    for name in models:
        subject = (SUBJECTS | LAYERS)[name]()
        for target in PORTABLE_FORMS:
            with tempfile.TemporaryDirectory(prefix="onnx_ig_") as place:
                expected = make_portable(subject, target, Path(place), None).parent / f"{FOLDER}0"
                for runtime in runtimes:
                    with tempfile.TemporaryDirectory(prefix="onnx_ig_") as folder:
                        try:
                            path = make_portable(subject, target, Path(folder), runtime, test_data=False)
                        except OnnxIgError as error:
                            cell = PortableCell(name, target, runtime, BEFOREHAND, reason=str(error))
                        else:
                            shutil.copytree(expected, Path(folder) / expected.name)
                            cell = _judged(name, target, runtime, path, patience)
                    cells.append(cell)
                    print(cell, file=sys.stderr, flush=True)
    return cells


def _judged(name: str, target: str, runtime: str, path: Path, patience: float) -> PortableCell:
    """By :func:`judged_here` in another process."""
    words = [sys.executable, "-c", _JUDGE, str(path), runtime]
    today = datetime.date.today().isoformat()
    try:
        done = subprocess.run(words, env=settings(runtime), capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        return PortableCell(name, target, runtime, LATE, reason=f"no result after {patience:.0f} s", measured=today)
    found = [line.removeprefix("cell:") for line in done.stdout.splitlines() if line.startswith("cell:")]
    if not found:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        reason = f"it ended the process with status {done.returncode}: {last}"
        return PortableCell(name, target, runtime, REFUSED, reason=reason, measured=today)
    return PortableCell(name, target, runtime, measured=today, **json.loads(found[-1]))


def judged_here(path: str, runtime: str) -> str:
    """The result, error, reason and version of a :class:`PortableCell` as JSON, by the packages of this process."""
    from onnx_ig.checking.conformance import conform
    from onnx_ig.checking.runtimes import runtime_named
    from onnx_ig.errors import MissingDependencyError, ModelError

    version = ""
    try:
        version = runtime_named(COLUMNS[runtime]).version()
        wanted = NEEDS[runtime].title.removeprefix("OpenCV ")
        if wanted.isdigit() and not version.startswith(wanted):
            raise MissingDependencyError(f"OpenCV {version} is, not {wanted}: python -m tools.other_runtimes")
        worst = conform(Path(path), COLUMNS[runtime]).worst
    except ModelError as error:
        return json.dumps({"result": REFUSED, "reason": str(error), "version": version})
    except MissingDependencyError as error:
        return json.dumps({"result": ABSENT, "reason": str(error), "version": ""})
    return json.dumps({"result": RIGHT if worst <= TOLERANCE else WRONG, "error": worst, "version": version})


def kept() -> list[PortableCell]:
    """The cells as they were measured last."""
    return [PortableCell(**cell) for cell in json.loads(CELLS.read_text("utf-8"))] if CELLS.is_file() else []


def merged(old: Iterable[PortableCell], new: Iterable[PortableCell]) -> list[PortableCell]:
    """``old`` with ``new`` in the place of the same model, target and runtime, in the order of the table."""
    from tools.runtimes import PORTABLE_FORMS

    found = {(cell.model, cell.target, cell.runtime): cell for cell in (*old, *new)}
    order = [
        (model, target, runtime) for model in (*SUBJECTS, *LAYERS) for target in PORTABLE_FORMS for runtime in COLUMNS
    ]
    return [found[key] for key in order if key in found]


def keep(new: Iterable[PortableCell]) -> list[PortableCell]:
    """All that are :func:`kept` from now on."""
    cells = merged(kept(), new)
    CELLS.write_text(json.dumps([asdict(cell) for cell in cells], indent=1) + "\n", "utf-8")
    return cells


def markdown(cells: Sequence[PortableCell]) -> str:
    """The table, with every reason below it."""
    shown = [runtime for runtime in COLUMNS if any(cell.runtime == runtime for cell in cells)]
    dates = sorted({cell.measured for cell in cells if cell.measured})
    lines = [
        f"Made by `python -m tools.runtimes --portable --write` on {dates[-1] if dates else 'no day'}, "
        f"{platform.system()} {platform.machine()}, CPU: files of `onnx-ig export --for RUNTIME`, one example, 9 path "
        "points in chunks of 4.",
        "",
        "A number: right, the largest relative error of any output against torch in float64 "
        f"(beyond {TOLERANCE:.0e}: **wrong**). *beforehand*: export refuses by name and writes no file.",
        "",
        "| model | target | " + " | ".join(_heading(runtime, cells) for runtime in shown) + " |",
        "|---|---|" + "---|" * len(shown),
    ]
    notes: dict[str, int] = {}
    for model, target in dict.fromkeys((cell.model, cell.target) for cell in cells):
        row = {cell.runtime: cell for cell in cells if (cell.model, cell.target) == (model, target)}
        lines.append(f"| {model} | {target} | " + " | ".join(_shown(row.get(r), notes) for r in shown) + " |")
    return "\n".join([*lines, "", *(f"{number}. {reason}" for reason, number in notes.items())]).rstrip() + "\n"


def _heading(runtime: str, cells: Iterable[PortableCell]) -> str:
    versions = [cell.version for cell in cells if cell.runtime == runtime and cell.version]
    return f"{NEEDS[runtime].title} {versions[-1]}" if versions else NEEDS[runtime].title


def _shown(cell: PortableCell | None, notes: dict[str, int]) -> str:
    if cell is None:
        return "not measured"
    if cell.error is not None:
        return f"{cell.error:.1e}" + ("" if cell.result == RIGHT else " **wrong**")
    words = f"*{cell.result}*" if cell.result == BEFOREHAND else cell.result
    return f"{words} ({notes.setdefault(cell.reason, len(notes) + 1)})"
