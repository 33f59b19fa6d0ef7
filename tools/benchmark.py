"""Time and memory of Integrated Gradients: ours, Captum's, and the limit of two forward passes per path point.

    python tools/benchmark.py [NAME ...] [--steps N] [--rounds N] [--examples N] [--write]

Time: in one process, taking turns, medians. Captum runs with its default (all path points at once) and with the best
of several internal batch sizes; ours with its own choice, in ONNX Runtime and in OpenVINO (float32). The limit is two
ONNX Runtime forward passes per path point at the forward model's best batch. Memory: each in a process of its own, peak
resident size above what it is after the imports, at the same internal batch size; export is from the model's file to
the attribution model's. ``--write`` saves tools/results/benchmark_cpu.{md,json}.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import onnx_ig
from onnx_ig.exporting import write_model
from onnx_ig.runtime.session import Session
from tools.full_size import MODELS, FullSize
from tools.gradient_table import take_turns

SIX = ("ResNet-50", "MobileNetV3", "ViT-small", "BERT-base", "MLP", "LSTM")
BATCHES = (4, 8, 16)
MEMORY_BATCH = 8
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(SIX))
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--examples", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--alone", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        report_alone(options.alone, options.names[0], options.file, options.steps)
        return
    rows = []
    for name in options.names:
        rows.append(measured(name, options.steps, options.rounds, options.examples))
        print(rendered(rows[-1:]).splitlines()[-1] if len(rows) > 1 else rendered(rows), flush=True)
    summary = summarised(rows)
    print(f"\n{summary}")
    if options.write:
        text = f"{heading(options)}\n\n{rendered(rows)}\n\n{summary}\n"
        (RESULTS / "benchmark_cpu.md").write_text(text)
        (RESULTS / "benchmark_cpu.json").write_text(json.dumps(rows, indent=1) + "\n")


def summarised(rows: list[dict[str, Any]]) -> str:
    """The geometric means of Captum's best time over ours."""

    def mean(time_of: Callable[[dict[str, Any]], float]) -> float:
        return float(np.exp(np.mean([np.log(row["captum best"] / time_of(row)) for row in rows])))

    return (
        f"Geometric mean of Captum's best time over ours: {mean(lambda r: r['ours']):.2f} in ONNX Runtime, "
        f"{mean(lambda r: min(r['ours'], r['openvino'])):.2f} in the faster of the two runtimes."
    )


def measured(name: str, steps: int, rounds: int, examples: int) -> dict[str, Any]:
    """One model's row: seconds, ratios, megabytes."""
    import captum.attr

    model = MODELS[name]
    module, tensors = model.module(), model.inputs(examples)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.onnx"
        alone("write", name, file)
        row = {
            "model": name,
            "file MB": file.stat().st_size / 2**20,
            **alone("export", name, file),
            "ours MB": alone("ours", name, file, steps)["MB"],
            "captum MB": alone("captum", name, file, steps)["MB"],
        }
        explain = functools.partial(_explain, tensors, steps)
        ours = {p: onnx_ig.IntegratedGradients(file, provider=p) for p in ("cpu", "openvino")}
        theirs = captum.attr.IntegratedGradients(module)
        calls: dict[str, Callable[[], Any]] = {p: functools.partial(explain, method) for p, method in ours.items()}
        calls["captum"] = functools.partial(explain, theirs)
        calls |= {f"captum {b}": functools.partial(explain, theirs, b * examples) for b in BATCHES}
        session = Session(file, "cpu")
        calls |= {f"forward {b}": functools.partial(session.run, _feeds(session, model, b)) for b in BATCHES}
        found = {name: calls[name]() for name in ("cpu", "openvino", "captum 8")}
        seconds = take_turns(calls, rounds)
    module.double()  # float32 flips kinks, torch's too
    reference = _explain(tuple(t.double() if t.is_floating_point() else t for t in tensors), steps, theirs, 8)
    per_point = min(seconds[f"forward {batch}"] / batch for batch in BATCHES)
    return row | {
        "ours": seconds["cpu"],
        "openvino": seconds["openvino"],
        "captum default": seconds["captum"],
        "captum best": min(value for name, value in seconds.items() if name.startswith("captum")),
        "limit": 2 * per_point * steps * examples,
        "cosine": min(cosine(found[name], reference) for name in ours),
        "captum cosine": cosine(found["captum 8"], reference),
    }


def _explain(tensors: tuple[torch.Tensor, ...], steps: int, method: Any, batch: int | None = None) -> torch.Tensor:
    keywords = {"target": 0, "n_steps": steps, "internal_batch_size": batch}
    return torch.as_tensor(method.attribute(tensors[0], additional_forward_args=tensors[1:] or None, **keywords))


def _feeds(session: Session, model: FullSize, batch: int) -> dict[str, Any]:
    return {name: t.numpy() for name, t in zip(session.input_names, model.inputs(batch), strict=True)}


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of the angle between two attributions."""
    return float(torch.nn.functional.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0))


def alone(what: str, name: str, file: Path, steps: int = 0) -> dict[str, float]:
    """One of PARTS in a process of its own: its seconds, and its peak megabytes above what the imports take."""
    command = [sys.executable, __file__, name, "--alone", what, "--file", str(file), "--steps", str(steps)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _write(model: FullSize, file: Path, steps: int) -> None:
    """The forward model as a file."""
    tensors = model.inputs(2)
    loaded = onnx_ig.load(model.module(), example_inputs=tensors[0], additional_forward_args=tensors[1:] or None)
    write_model(loaded.ir_model, file)


def _export(model: FullSize, file: Path, steps: int) -> None:
    """The attribution model of a file."""
    onnx_ig.export(file, file.with_name("attribution.onnx"), target=0)


def _ours(model: FullSize, file: Path, steps: int) -> None:
    _explain(model.inputs(1), steps, onnx_ig.IntegratedGradients(file, provider="cpu"), MEMORY_BATCH)


def _captum(model: FullSize, file: Path, steps: int) -> None:
    import captum.attr

    _explain(model.inputs(1), steps, captum.attr.IntegratedGradients(model.module()), MEMORY_BATCH)


PARTS = {"write": _write, "export": _export, "ours": _ours, "captum": _captum}


def report_alone(what: str, name: str, file: Path, steps: int) -> None:
    """Run one of PARTS and print what it took."""
    import captum.attr  # noqa: F401  (both sides pay for all imports beforehand)
    import onnxruntime  # noqa: F401

    warnings.simplefilter("ignore")
    before, start = _status_megabytes("VmRSS"), time.perf_counter()
    PARTS[what](MODELS[name], file, steps)
    seconds = time.perf_counter() - start
    peak = _status_megabytes("VmHWM")  # getrusage's maximum would be the parent's, inherited by fork
    found = {"MB": peak - before} if what != "export" else {"export s": seconds, "export MB": peak - before}
    print(json.dumps(found))


def _status_megabytes(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def heading(options: argparse.Namespace) -> str:
    """Date, machine and versions."""
    import captum
    import onnxruntime

    return (
        f"# Integrated Gradients on CPU, {options.steps} steps, {options.examples} example(s), fp32\n\n"
        f"{date.today()}, {os.cpu_count()} cores ({platform.machine()}), onnxruntime {onnxruntime.__version__}, "
        f"torch {torch.__version__}, captum {captum.__version__}; medians of {options.rounds} rounds in turn; "
        f"`python tools/benchmark.py --write`. Memory at internal batch {MEMORY_BATCH}, above the imported process."
    )


def rendered(rows: list[dict[str, Any]]) -> str:
    """The table."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "model": lambda r: r["model"],
        "ONNX Runtime s": lambda r: f"{r['ours']:.2f}",
        "OpenVINO s": lambda r: f"{r['openvino']:.2f}",
        "Captum best s": lambda r: f"{r['captum best']:.2f}",
        "Captum default s": lambda r: f"{r['captum default']:.2f}",
        "limit s": lambda r: f"{r['limit']:.2f}",
        "Captum / ONNX Runtime": lambda r: f"{r['captum best'] / r['ours']:.2f}",
        "Captum / OpenVINO": lambda r: f"{r['captum best'] / r['openvino']:.2f}",
        "ONNX Runtime / limit": lambda r: f"{r['ours'] / r['limit']:.2f}",
        "cosine to float64": lambda r: f"{r['cosine']:.6f}",
        "Captum's": lambda r: f"{r['captum cosine']:.6f}",
        "ours MB": lambda r: f"{r['ours MB']:.0f}",
        "Captum MB": lambda r: f"{r['captum MB']:.0f}",
        "memory ratio": lambda r: f"{r['ours MB'] / r['captum MB']:.2f}",
        "file MB": lambda r: f"{r['file MB']:.0f}",
        "export s": lambda r: f"{r['export s']:.1f}",
        "export MB": lambda r: f"{r['export MB']:.0f}",
    }
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(cell(r) for cell in columns.values()) + " |" for r in rows])


if __name__ == "__main__":
    main()
