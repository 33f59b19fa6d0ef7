"""How many nodes the attribution models of today and of an earlier commit have, and how long a run takes.

    python -m tools.node_counts --before 9a339be
    python -m tools.node_counts --before 9a339be --times lstm bert

The one idea: the earlier package is taken out of git into a folder, and each file is exported by a process that imports
it from there; both files are then run in turn in one process, so that the machine's moods fall on both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from onnx_ig.exporting.model_writer import write_model
from tools.runtime_subjects import SUBJECTS

ROOT = Path(__file__).parents[1]
FORMS: dict[str, dict[str, Any]] = {
    "complete, predicted": {"n_steps": 9, "steps_per_run": 4, "target": "predicted"},
    "complete, baked": {"n_steps": 9, "steps_per_run": 4, "target": 1},
    "no loop, target as input": {"n_steps": 9, "steps_per_run": 0},
    "step": {"form": "step"},
}
_EXPORT = """
import json, sys, warnings
warnings.simplefilter("ignore")
import onnx, onnx_ig
source, out, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
onnx_ig.export(source, out, **options)
def count(graph):
    bodies = (a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)
    return len(graph.node) + sum(map(count, bodies))
print("nodes:", count(onnx.load(out, load_external_data=False).graph))
"""


def exported(source: Path, out: Path, package: Path, options: dict[str, Any]) -> int:
    """The number of nodes, bodies included, of what the package in folder ``package`` writes."""
    done = subprocess.run(
        [sys.executable, "-c", _EXPORT, str(source), str(out), json.dumps(options)],
        env={**os.environ, "PYTHONPATH": str(package)},
        cwd=package,
        capture_output=True,
        text=True,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("nodes: ")]
    if not found:
        raise SystemExit(f"{package} could not export {source}: {done.stderr[-600:]}")
    return int(found[-1].removeprefix("nodes: "))


def seconds(files: list[Path], arguments: dict[str, np.ndarray], rounds: int) -> list[float]:
    """The median time of one run of each file, taken in turn."""
    sessions = [onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]) for file in files]
    names = [{x.name for x in session.get_inputs()} for session in sessions]
    rows = len(next(iter(arguments.values())))
    given = {**arguments, "target": np.ones(rows, np.int64)}
    given |= {"path_nodes": np.full(4, 0.5, np.float32), "path_weights": np.full(4, 0.25, np.float32)}
    taken: list[list[float]] = [[] for _ in files]
    for _ in range(rounds):
        for session, wanted, times in zip(sessions, names, taken, strict=True):
            began = time.perf_counter()
            session.run(None, {name: value for name, value in given.items() if name in wanted})
            times.append(time.perf_counter() - began)
    return [float(np.median(times)) for times in taken]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", choices=[[], *SUBJECTS], help="default: all")
    parser.add_argument("--before", required=True, metavar="COMMIT", help="the earlier one")
    parser.add_argument("--times", action="store_true", help="also run the files, in turn")
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    times = " time before | time now | ratio |" if options.times else ""
    print(f"| model | form | nodes before | nodes now |{times}\n|---|---|---|---|{'---|' * times.count('|')}")
    with tempfile.TemporaryDirectory(prefix="onnx_ig_") as folder:
        place = Path(folder)
        package = place / "before"
        package.mkdir()
        archive = subprocess.run(
            ["git", "archive", options.before, "onnx_ig"], cwd=ROOT, capture_output=True, check=True
        )
        subprocess.run(["tar", "-x", "-C", str(package)], input=archive.stdout, check=True)
        for name in options.models or SUBJECTS:
            subject = SUBJECTS[name]()
            source = place / f"{name}.onnx"
            write_model(subject.model.ir_model, source)
            for form, keywords in FORMS.items():
                files = [place / f"{name}_{when}.onnx" for when in ("before", "now")]
                chosen = {"inputs": subject.attributed, "overwrite": True, **keywords}
                counts = [exported(source, f, p, chosen) for f, p in zip(files, (package, ROOT), strict=True)]
                line = f"| {name} | {form} | {counts[0]} | {counts[1]} |"
                if options.times:
                    before, now = seconds(files, subject.arguments, options.rounds)
                    line += f" {1e3 * before:.3g} ms | {1e3 * now:.3g} ms | {now / before:.2f} |"
                print(line, flush=True)


if __name__ == "__main__":
    main()
