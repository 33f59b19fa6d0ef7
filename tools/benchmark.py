"""Time and memory of Integrated Gradients: ours, Captum's, and the limit of two forward passes per path point.

    python -m tools.benchmark [NAME ...] [--steps N] [--rounds N] [--examples N] [--runs N] [--data FILE.npz] [--write]
    python -m tools.benchmark --growth [NAME ...] [--rounds N] [--write]

NAME is one of full_size.MODELS, or an .onnx file (of which Captum explains what onnx2torch makes). Time: in one
process, taking turns, medians; further rounds where calls are short. Captum runs with its default (all path points at
once) and with the best of several internal batch sizes; ours with its own choice, in ONNX Runtime and in OpenVINO
(float32). The limit is two ONNX Runtime forward passes per path point at the forward model's best batch. In the first
run alone: onnx2torch, and memory, export and opening, each in a process of its own. ``--write`` saves
tools/results/benchmark_cpu.{md,json} (with ``--growth``, benchmark_cpu_growth) after each model.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from tools.benchmarking.alone import memory, started, written
from tools.benchmarking.growth import SIZES, grown
from tools.benchmarking.subjects import subject
from tools.benchmarking.tables import GROWTH, TIME, growth_report, rendered, report, summarised
from tools.benchmarking.timing import Row, measured

SIX = ("ResNet-50", "MobileNetV3", "ViT-small", "BERT-base", "MLP", "LSTM")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--examples", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1, help="the times of all models, this many times in a row")
    parser.add_argument("--growth", action="store_true", help="instead: seconds against steps, examples and input size")
    parser.add_argument("--data", type=Path, metavar="FILE.npz", help="one example of an .onnx file's inputs, by name")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    (growth if options.growth else compare)(options)


def compare(options: argparse.Namespace) -> None:
    """Ours against Captum."""
    runs: list[list[Row]] = []
    for _ in range(options.runs):
        runs.append([])
        for name in options.names or SIX:
            runs[-1].append(_one(name, options, complete=len(runs) == 1))
            text = report(runs, options.steps, options.rounds, options.examples)
            print(rendered(TIME, runs[-1][-1:]), flush=True)
            if options.write:
                _save("benchmark_cpu", text, runs)
        print(f"\n{summarised(runs[-1])}\n", flush=True)
    print(text)


def growth(options: argparse.Namespace) -> None:
    """Seconds against steps, examples and input size."""
    rows: list[Row] = []
    for name in options.names or SIZES:
        for row in grown(name, options.data, options.rounds):
            rows.append(row)
            print(rendered(GROWTH, [row]), flush=True)
            if options.write:
                _save("benchmark_cpu_growth", growth_report(rows, options.rounds), rows)
    print(f"\n{growth_report(rows, options.rounds)}")


def _one(name: str, options: argparse.Namespace, complete: bool) -> Row:
    """One model's row; ``complete``: with onnx2torch, and what is measured in processes of their own."""
    model = subject(name, options.data)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        file = written(model, folder)
        row = {"model": model.name, **measured(model, file, options.steps, options.rounds, options.examples, complete)}
        return row | started(model, file, folder) | memory(model, file, folder) if complete else row


def _save(name: str, text: str, rows: object) -> None:
    (RESULTS / f"{name}.md").write_text(text)
    (RESULTS / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
