"""Time and memory of Integrated Gradients: ours, Captum's, and the limit of two forward passes per path point.

    python tools/benchmark.py [NAME ...] [--steps N] [--rounds N] [--examples N] [--write]

Time: in one process, taking turns, medians. Captum runs with its default (all path points at once) and with the best
of several internal batch sizes; ours with its own choice, in ONNX Runtime and in OpenVINO (float32). The limit is two
ONNX Runtime forward passes per path point at the forward model's best batch. Memory: each in a process of its own, peak
resident size above what it is after the imports, at the same internal batch size. ``--write`` saves
tools/results/benchmark_cpu.{md,json}.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import subprocess
import sys
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
    parser.add_argument("--memory-of", choices=("ours", "captum"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(peak_memory(options.memory_of, MODELS[options.names[0]], options.steps))
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
    x, extra = tensors[0], tensors[1:] or None
    theirs = captum.attr.IntegratedGradients(module)
    start = time.perf_counter()
    ours = onnx_ig.IntegratedGradients(module, provider="cpu")
    attributions = ours.attribute(x, target=0, additional_forward_args=extra, n_steps=steps)
    ready = time.perf_counter() - start
    second = onnx_ig.IntegratedGradients(module, provider="openvino")
    by_captum = theirs.attribute(x, target=0, additional_forward_args=extra, n_steps=steps, internal_batch_size=8)
    by_openvino = second.attribute(x, target=0, additional_forward_args=extra, n_steps=steps)
    calls: dict[str, Callable[[], Any]] = {
        "ours": lambda: ours.attribute(x, target=0, additional_forward_args=extra, n_steps=steps),
        "openvino": lambda: second.attribute(x, target=0, additional_forward_args=extra, n_steps=steps),
        "captum": lambda: theirs.attribute(x, target=0, additional_forward_args=extra, n_steps=steps),
    }
    in_batches = functools.partial(theirs.attribute, x, target=0, additional_forward_args=extra, n_steps=steps)
    for batch in BATCHES:
        calls[f"captum {batch}"] = functools.partial(in_batches, internal_batch_size=batch * examples)
    calls |= {f"forward {batch}": forward_call(module, model, batch) for batch in BATCHES}
    seconds = take_turns(calls, rounds)
    in_doubles = captum.attr.IntegratedGradients(module.double()).attribute  # float32 flips kinks, torch's too
    reference = in_doubles(x.double(), target=0, additional_forward_args=extra, n_steps=steps, internal_batch_size=8)
    per_point = min(seconds[f"forward {batch}"] / batch for batch in BATCHES)
    return {
        "model": name,
        "ours": seconds["ours"],
        "captum default": seconds["captum"],
        "openvino": seconds["openvino"],
        "captum best": min(seconds["captum"], *(seconds[f"captum {batch}"] for batch in BATCHES)),
        "limit": 2 * per_point * steps * examples,
        "cosine": min(cosine(found, reference) for found in (attributions, by_openvino)),
        "captum cosine": cosine(by_captum, reference),
        "first call": ready,
        "ours MB": memory("ours", name, steps),
        "captum MB": memory("captum", name, steps),
    }


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of the angle between two attributions."""
    return float(torch.nn.functional.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0))


def forward_call(module: torch.nn.Module, model: FullSize, batch: int) -> Callable[[], Any]:
    """A Run of the model alone, ``batch`` rows."""
    tensors = model.inputs(batch)
    key = id(module)
    if key not in _FORWARD:
        loaded = onnx_ig.load(module, example_inputs=tensors[0][:2], additional_forward_args=tensors[1:] or None)
        plain = loaded.clone_ir()
        plain.ir_version = 8
        _FORWARD.clear()
        _FORWARD[key] = Session(plain, "cpu")
    session = _FORWARD[key]
    feeds = {name: t.numpy() for name, t in zip(session.input_names, tensors, strict=True)}
    return lambda: session.run(feeds)


_FORWARD: dict[int, Session] = {}


def memory(which: str, name: str, steps: int) -> float:
    """Peak megabytes of one attribution in a process of its own."""
    command = [sys.executable, __file__, name, "--memory-of", which, "--steps", str(steps)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"}
    )
    return float(done.stdout.split()[-1])


def peak_memory(which: str, model: FullSize, steps: int) -> float:
    """Megabytes above the resident size after imports, with the module loaded and exported beforehand."""
    import captum.attr

    warnings.simplefilter("ignore")
    before = _status_megabytes("VmRSS")
    if which == "captum":
        module, tensors = model.module(), model.inputs(1)
        method: Any = captum.attr.IntegratedGradients(module)
        keywords = {"additional_forward_args": tensors[1:] or None}
    else:
        folder = RESULTS.parent.parent / ".cache"
        folder.mkdir(exist_ok=True)
        file = folder / f"benchmark_{os.getpid()}.onnx"
        exporter = subprocess.run(
            [
                sys.executable,
                "-c",
                _EXPORT.format(root=str(RESULTS.parent.parent), name=_name_of(model), file=str(file)),
            ],
            check=True,
            capture_output=True,
        )
        assert exporter.returncode == 0
        tensors = model.inputs(1)
        method = onnx_ig.IntegratedGradients(file, provider="cpu")
        keywords = {"additional_forward_args": tuple(t.numpy() for t in tensors[1:]) or None}
        tensors = (tensors[0].numpy(),)
    method.attribute(tensors[0], target=0, n_steps=steps, internal_batch_size=MEMORY_BATCH, **keywords)
    peak = _status_megabytes("VmHWM")  # getrusage's maximum would be the parent's, inherited by fork
    if which == "ours":
        file.unlink()
    return peak - before


_EXPORT = """
import sys; sys.path.insert(0, {root!r})
import onnx_ig; from onnx_ig.exporting import write_model; from pathlib import Path; from tools.full_size import MODELS
m = MODELS[{name!r}]; t = m.inputs(2)
model = onnx_ig.load(m.module(), example_inputs=t[0], additional_forward_args=t[1:] or None)
write_model(model.ir_model, Path({file!r}))
"""


def _name_of(model: FullSize) -> str:
    return next(name for name, other in MODELS.items() if other is model)


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
        "first call s": lambda r: f"{r['first call']:.0f}",
    }
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(cell(r) for cell in columns.values()) + " |" for r in rows])


if __name__ == "__main__":
    main()
