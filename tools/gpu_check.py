"""Check and time the attribution models on an NVIDIA GPU, against torch and Captum on the same GPU.

    python -m tools.gpu_check [--minutes 9] [--models NAME ...] [--parts PART ...] [--precisions fp32 tf32 fp16]
                              [--examples 1 64] [--layouts contiguous channels_last] [--quick] [--write]

Five parts, each a table. correctness: attributions of two examples against torch in float64. placement: how many nodes
of the attribution model run on the GPU, and why the others do not. speed: Integrated Gradients against Captum, eager
and through torch.compile, in the same precision and layout; in turn, medians, each with its best internal batch; ours
takes its inputs from the host's memory and gives its results there, Captum's stay on the GPU. memory: peak of each in a
process of its own. graphs: one Run with CUDA graphs on and off. fp16 is ours from the .onnx file converted to float16.

Rows come in the order of what they are worth: what is right in float32, what is fast, where nodes run, then TF32,
float16, other layouts, memory. ``--minutes`` stops before a row that may end later; what was left out is said. A row
is printed when it is measured; ``--write`` keeps it in tools/results/gpu_<device>.{md,json}, beside the rows of
earlier calls. A cell that cannot be measured says why, and the exit code is then 1; it is 5 where there is no GPU.
``--quick``: one example, one layout, three rounds, no torch.compile. ``--provider cpu`` tries the check itself, and
``--provider pretended`` its parts placement and graphs on ONNX Runtime's CUDA without a GPU. tools/gpu/README.md has
the commands for a machine with a GPU and without internet.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch

from onnx_ig.errors import OnnxIgError
from tools.gpu.contenders import Setting
from tools.gpu.device import LAYOUTS, PRECISIONS, Device
from tools.gpu.graphs import graphs
from tools.gpu.parts import SIDES, correctness, memory, peak_alone, speed
from tools.gpu.placement import placement
from tools.gpu.pretended.running import is_pretended, run_over_it
from tools.gpu.subjects import CHECKED, Subject
from tools.gpu.tables import Row, attempt, has_failed, line, save, summary

PARTS = ("correctness", "speed", "placement", "graphs", "memory")
# what is said of float32 first; of TF32 and float16 whether they are right before how fast
_STAGES = (("fp32", PARTS[:4]), ("tf32", PARTS[:4]), ("fp16", PARTS[:4]), *((p, PARTS[4:]) for p in PRECISIONS))
_PRETENDED_PARTS = ("placement", "graphs")
Case = dict[str, Any]


def main() -> int:
    """Run as a command; returns the exit code."""
    options = _options()
    warnings.simplefilter("ignore")
    pretended = options.provider == "pretended"
    if pretended and not is_pretended():
        return run_over_it("tools.gpu_check", sys.argv[1:])
    try:
        device = Device("cuda" if pretended else options.provider, pretended)
    except OnnxIgError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if options.alone:
        setting = _setting(device, options, precision=options.precisions[0], examples=options.examples[0])
        print(json.dumps(peak_alone(options.alone, Subject(options.models[0], options.folder), setting)))
        return 0
    head = {"device": device.name, "date": str(date.today()), "versions": device.versions()}
    head["command"] = " ".join(["python -m tools.gpu_check", *sys.argv[1:]])
    print(json.dumps(head), flush=True)
    rows: list[Row] = []
    columns: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in _rows(device, options, Path(folder)):
            rows.append(row)
            if list(row) != columns:
                columns = list(row)
                print(f"\n{line(columns)}\n|{'---|' * len(columns)}")
            print(line(row.values()), flush=True)
            if options.write:
                save(head, [row])
    print(f"\n{summary(rows)}")
    return int(not rows or any(map(has_failed, rows)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(CHECKED), default=list(CHECKED))
    parser.add_argument("--parts", nargs="+", choices=PARTS)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS)
    parser.add_argument("--examples", nargs="+", type=int)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--provider", choices=("cuda", "cpu", "pretended"), default="cuda")
    parser.add_argument("--alone", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.parts = options.parts or list(_PRETENDED_PARTS if options.provider == "pretended" else PARTS)
    options.precisions = options.precisions or [p for p in PRECISIONS if options.provider == "cuda" or p != "tf32"]
    options.layouts = options.layouts or list(LAYOUTS[:1] if options.quick else LAYOUTS)
    options.examples = options.examples or ([1] if options.quick else [1, 64])
    options.rounds = options.rounds or (3 if options.quick else 5)
    return options


def _rows(device: Device, options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """One row per model, part and case: its names, then what was measured, or the reason why it was not."""
    begun, longest, left_out = time.monotonic(), dict.fromkeys(PARTS, 0.0), 0
    for part, name, case in _ordered(options):
        started = time.monotonic()
        if started + longest[part] - begun > 60 * options.minutes:
            left_out += 1
            continue
        subject, setting = Subject(name, folder), _setting(device, options, **case)
        measured = attempt(lambda: _measure(part, subject, setting, options))  # noqa: B023  (called at once)
        cells = measured if isinstance(measured, dict) else {"result": measured}
        longest[part] = max(longest[part], time.monotonic() - started)
        yield {"part": part, "model": name, **case, **cells}
        gc.collect()
        torch.cuda.empty_cache()
    if left_out:
        print(f"\n{left_out} rows were left out: they might have ended after {options.minutes:g} minutes", flush=True)


def _ordered(options: argparse.Namespace) -> Iterator[tuple[str, str, Case]]:
    """Part, model and case of every row, by what it is worth."""
    for precision, parts in _STAGES:
        for part, first in ((part, first) for part in parts for first in (True, False)):
            if part not in options.parts or precision not in options.precisions:
                continue
            for name in options.models:
                for case in _cases(part, name, precision, options):
                    if (case["layout"] == options.layouts[0]) == first:
                        yield part, name, case


def _cases(part: str, name: str, precision: str, options: argparse.Namespace) -> list[Case]:
    """The numbers of examples and the layouts in which a part is measured."""
    examples = {"speed": options.examples, "memory": options.examples[-1:]}.get(part, [2])
    picture = len(CHECKED[name].shape) == 3
    layouts = options.layouts if part == "speed" and picture else options.layouts[:1]
    return [{"precision": precision, "examples": n, "layout": layout} for n in examples for layout in layouts]


def _setting(device: Device, options: argparse.Namespace, **case: Any) -> Setting:
    return Setting(device, options.steps, **{"layout": options.layouts[0], **case})


def _measure(part: str, subject: Subject, setting: Setting, options: argparse.Namespace) -> Row:
    measures: dict[str, Callable[[], Row]] = {
        "correctness": lambda: correctness(subject, setting),
        "placement": lambda: placement(subject, setting),
        "speed": lambda: speed(subject, setting, options.rounds, not options.quick),
        "memory": lambda: memory(subject, setting),
        "graphs": lambda: graphs(subject, setting, options.rounds),
    }
    return measures[part]()


if __name__ == "__main__":
    sys.exit(main())
