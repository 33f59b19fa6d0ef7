"""Check and time the attribution models on an NVIDIA GPU, against torch and Captum on the same GPU.

    python -m tools.gpu_check [--models NAME ...] [--parts PART ...] [--precisions fp32 tf32 fp16] [--examples 1 64]
                              [--layouts contiguous channels_last] [--quick] [--write]

Five parts, each a table. correctness: attributions of two examples against torch in float64. placement: how many nodes
of the attribution model run on the GPU, and why the others do not. speed: Integrated Gradients against Captum, eager
and through torch.compile, in the same precision and layout; in turn, medians, each with its best internal batch; ours
takes its inputs from the host's memory and gives its results there, Captum's stay on the GPU. memory: peak of each in a
process of its own. graphs: one Run with CUDA graphs on and off. fp16 is ours from the .onnx file converted to float16.

A row is printed when it is measured; ``--write`` keeps it in tools/results/gpu_<device>.{md,json}, beside the rows of
earlier calls. A cell that cannot be measured says why, and the exit code is then 1; it is 5 where there is no GPU.
``--quick``: one example, one layout, three rounds, no torch.compile. ``--provider cpu`` tries the check itself.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import sys
import tempfile
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
from tools.gpu.subjects import CHECKED, Subject
from tools.gpu.tables import Row, attempt, has_failed, line, save, summary

PARTS = ("correctness", "placement", "speed", "memory", "graphs")
Case = dict[str, Any]


def main() -> int:
    """Run as a command; returns the exit code."""
    options = _options()
    warnings.simplefilter("ignore")
    try:
        device = Device(options.provider)
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
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS)
    parser.add_argument("--examples", nargs="+", type=int)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--provider", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--alone", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.precisions = options.precisions or [p for p in PRECISIONS if options.provider == "cuda" or p != "tf32"]
    options.layouts = options.layouts or list(LAYOUTS[:1] if options.quick else LAYOUTS)
    options.examples = options.examples or ([1] if options.quick else [1, 64])
    options.rounds = options.rounds or (3 if options.quick else 5)
    return options


def _rows(device: Device, options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """One row per model, part and case: its names, then what was measured, or the reason why it was not."""
    for name in options.models:
        subject = Subject(name, folder)
        for part in options.parts:
            for case in _cases(part, subject, options):
                measured = attempt(lambda: _measure(part, subject, _setting(device, options, **case), options))  # noqa: B023
                cells = measured if isinstance(measured, dict) else {"result": measured}
                yield {"part": part, "model": name, **case, **cells}
                gc.collect()
                torch.cuda.empty_cache()


def _cases(part: str, subject: Subject, options: argparse.Namespace) -> list[Case]:
    """The precisions, numbers of examples and layouts in which a part is measured."""
    examples = {"speed": options.examples, "memory": options.examples[-1:]}.get(part, [2])
    layouts = options.layouts if part == "speed" and subject.is_picture else options.layouts[:1]
    product = itertools.product(options.precisions, examples, layouts)
    return [{"precision": p, "examples": n, "layout": layout} for p, n, layout in product]


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
